//! What other programs made becomes runs, and the pipeline goes on from them.

use crate::support::{bad, data, demo, dream, folder, good, json, store};

#[test]
fn the_pipeline_goes_on_from_imported_vectors_without_a_model() {
    let folder = folder();
    let path = folder.path();
    let export = |table: &str, run: &str, file: &str| {
        let target = path.join(file);
        let target = target.to_str().unwrap();
        good(demo(), &["export", table, "--run", run, "-o", target]);
    };
    export("class_embeddings", "quick-0-embed", "space.npy");
    export("features", "quick-0-encode", "features.npy");
    export("outliers", "quick-0-sample", "outliers.parquet");
    let classes = data().join("classes/fashion-mini.tsv");
    let classes = classes.to_str().unwrap();
    let space = ["import", "class_embeddings", "space.npy", "-q"];
    let said = bad(path, 2, &space);
    assert!(said.contains("table of the classes"), "{said}");
    let run = good(
        path,
        &[&space[..], &["--classes", classes, "--alias", "space"]].concat(),
    );
    let rows = json(path, &["query", "class_embeddings", "--run", run.trim()]);
    let own = json(demo(), &["query", "class_embeddings", "--run", "quick-0-embed"]);
    assert_eq!(rows.len(), own.len());
    for (row, own) in rows.iter().zip(&own) {
        for column in ["class_id", "class_name", "word", "norm", "vector"] {
            assert_eq!(row[column], own[column], "{column}");
        }
        assert_eq!(row["token_id"], -1);
    }
    let features = [
        "import",
        "features",
        "features.npy",
        "--embeddings",
        "space",
        "-q",
    ];
    let run = good(path, &features);
    // A name that another import has is told before anything is stored.
    let said = bad(path, 2, &[&features[..], &["--alias", "space"]].concat());
    assert!(said.contains("`space` names run"), "{said}");
    good(path, &[&features[..], &["--alias", "features"]].concat());
    good(path, &[&features[..], &["--alias", "features"]].concat());
    let sample = ["sample", "-q", "--preset", "quick", "--features", run.trim()];
    let sampled = good(path, &sample);
    let rows = json(
        path,
        &["query", "outliers", "--run", sampled.trim(), "--limit", "1"],
    );
    assert!(rows[0]["knn_distance"].is_number());
    let outliers = [
        "import",
        "outliers",
        "outliers.parquet",
        "--embeddings",
        "space",
        "-q",
    ];
    let digest = |folder, run: &str| json(folder, &["show", run])[0]["digest"].clone();
    let run = good(path, &outliers);
    assert_eq!(digest(path, run.trim()), digest(demo(), "quick-0-sample"));
    let imagine = [
        "imagine",
        "-q",
        "--preset",
        "quick",
        "--per-class",
        "1",
        "--check",
        "--outliers",
    ];
    good(path, &[&imagine[..], &[run.trim()]].concat());
    let vectors = good(
        path,
        &[
            "import",
            "outliers",
            "features.npy",
            "--embeddings",
            "space",
            "-q",
        ],
    );
    let rows = json(
        path,
        &["query", "outliers", "--run", vectors.trim(), "--limit", "1"],
    );
    assert!(rows[0]["knn_distance"].is_null(), "{}", rows[0]);
}

#[test]
fn options_and_files_that_cannot_be_imported_are_named() {
    let folder = folder();
    let path = folder.path();
    assert!(
        bad(path, 2, &["import", "latents", "a.npy"])
            .contains("cannot be imported as latents; class_embeddings, features")
    );
    assert!(bad(path, 2, &["import", "features", "a.npy", "--score", "msp"]).contains("--score"));
    let said = bad(path, 2, &["import", "scores", "a.npz"]);
    assert!(said.contains("a.npz") && !said.contains("--dataset"), "{said}");
    std::fs::write(path.join("a.csv"), "conf\n1\n").unwrap();
    assert!(bad(path, 2, &["import", "scores", "a.csv"]).contains("--dataset"));
    let table = "name\ttoken_word\na\tbag\nb\tbag\n";
    std::fs::write(path.join("c.tsv"), table).unwrap();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 307328\n";
    std::fs::write(path.join("a.npy"), pointer).unwrap();
    let import = ["import", "class_embeddings", "a.npy", "--classes", "c.tsv"];
    let said = bad(path, 2, &import);
    assert!(
        said.contains("Git LFS pointer") && said.contains("307328"),
        "{said}"
    );
    for (name, kind) in [("x.pth", "Git LFS"), ("x.safetensors", "Git LFS")] {
        std::fs::write(path.join(name), pointer).unwrap();
        let said = bad(path, 1, &["dataset", "add", "x", name]);
        assert!(said.contains(kind) && said.contains(name), "{said}");
    }
    std::fs::write(path.join("two.csv"), "class_name,0,1\na,1,2\nb,3,4\n").unwrap();
    good(
        path,
        &[
            "import",
            "class_embeddings",
            "two.csv",
            "--classes",
            "c.tsv",
            "-q",
        ],
    );
}

#[test]
fn activations_of_another_program_are_evaluated_as_our_own() {
    let folder = folder();
    let path = folder.path();
    for (set, split, alias) in [("fashion-mini", "test", "garments"), ("digits", "all", "digits")] {
        let run = format!("quick-0-observe-plain-{set}-{split}");
        let file = format!("{set}.parquet");
        let target = path.join(&file);
        good(
            demo(),
            &[
                "export",
                "activations",
                "--run",
                &run,
                "-o",
                target.to_str().unwrap(),
            ],
        );
        let import = ["import", "activations", &file, "--alias", alias, "--dataset"];
        // What the file says of itself is not passed over.
        let said = bad(path, 2, &[&import[..], &["other", "--split", split]].concat());
        let words =
            format!("{file}: its column `dataset` says `{set}`, and `other` was asked for; `dream import");
        assert!(said.contains(&words), "{said}");
        good(path, &[&import[..], &[set, "--split", split]].concat());
    }
    let evaluate = [
        "evaluate",
        "--activations",
        "garments",
        "--ood-activations",
        "digits",
    ];
    // Neither phi nor training images are there: what needs them is no part of all scores.
    let metrics = json(path, &[&evaluate[..], &["--scores", "all"]].concat());
    let auroc = |rows: &[serde_json::Value], of: &str| {
        let is_it = |row: &&serde_json::Value| {
            row["score"] == of && row["dataset"] == "digits" && row["metric"] == "auroc"
        };
        rows.iter().find(is_it).map(|row| row["mean"].as_f64().unwrap())
    };
    let own = json(demo(), &["evaluate", "quick-0-detect-plain", "--preset", "quick"]);
    for score in ["energy", "msp"] {
        assert_eq!(auroc(&metrics, score), auroc(&own, score), "{score}");
    }
    assert!(auroc(&metrics, "gen").is_some());
    assert_eq!(auroc(&metrics, "dream").or(auroc(&metrics, "mds")), None);
    let said = bad(path, 2, &[&evaluate[..], &["--scores", "mds"]].concat());
    assert!(said.contains("--train-activations"), "{said}");
    let said = bad(path, 2, &[&evaluate[..], &["--scores", "dream"]].concat());
    assert!(said.contains("phi"), "{said}");
}

#[test]
fn runs_go_to_a_folder_and_come_back_with_their_digests() {
    let place = store();
    let path = place.path();
    good(path, &["export", "--to", "lake", "--run", "quick-0-imagine"]);
    let all = ["--store", "new.redb", "import", "--from", "lake"];
    assert_eq!(
        good(path, &all).lines().count(),
        4,
        "imagine and what it came from"
    );
    good(path, &["export", "--to", "lake"]);
    let again = good(path, &all);
    let runs = |store: &str| {
        let query = "SELECT run, digest, alias, started_at FROM runs ORDER BY run";
        json(path, &["--store", store, "sql", query])
    };
    assert_eq!(runs("new.redb"), runs("dream.redb"));
    assert_eq!(again.lines().count(), runs("dream.redb").len() - 4);
    assert_eq!(good(path, &all), "", "all are there");
    let count = "SELECT count(*) AS n, count(DISTINCT stage) AS stages FROM runs";
    let asked = || json(path, &["sql", "--parquet", "lake", count]);
    assert_eq!(asked(), json(path, &["sql", count]));
    // What an interrupted export leaves is no run yet.
    let sample = good(path, &["-q", "--format", "json", "show", "quick-0-sample"]);
    let sample: serde_json::Value = serde_json::from_str(&sample).unwrap();
    let record = format!("lake/_runs/{}.json", sample["run"].as_str().unwrap());
    std::fs::rename(path.join(&record), path.join("record.json")).unwrap();
    assert_ne!(asked(), json(path, &["sql", count]));
    std::fs::rename(path.join("record.json"), path.join(&record)).unwrap();
    for (args, said) in [
        (&["export", "--to", "ftp://bucket/a"][..], "expected a folder"),
        (&["export", "--to", "lake", "--class", "bag"], "--class"),
        (&["export", "outliers"], "--output"),
        (&["import", "--from", "lake", "--alias", "a"], "--alias"),
        (&["import"], "TABLE"),
    ] {
        let output = crate::support::dream(path, args);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {errors}");
        assert!(errors.contains(said), "{args:?}: {errors}");
    }
    let error = bad(path, 2, &["import", "--from", "lake", "--run", "quick-0-imagin"]);
    assert!(error.contains("no run quick-0-imagin"), "{error}");
    assert!(bad(path, 2, &["import", "--from", "nowhere"]).contains("no such folder"));
}

#[test]
fn a_folder_of_scores_becomes_a_row_of_the_table() {
    let place = store();
    let path = place.path();
    let write = |file: &str, text: &str| std::fs::write(path.join(file), text).unwrap();
    std::fs::create_dir(path.join("scores")).unwrap();
    write(
        "scores/fashion-mini.csv",
        "conf,pred,label\n3,0,0\n2,1,0\n1,1,1\n0.5,1,1\n",
    );
    write("scores/shirt.csv", "conf,pred,label\n2.5,0,-1\n0,0,-1\n");
    write("scores/digits.csv", "conf,pred,label\n0.25,0,-1\n0.75,0,-1\n");
    write("scores/.hidden", "");
    let import = [
        "import",
        "scores",
        "scores",
        "--score",
        "mine",
        "--network",
        "theirs",
        "--seed",
        "7",
    ];
    let said = bad(path, 2, &[&import[..], &["--dataset", "digits"]].concat());
    assert!(said.contains("leave --dataset out"), "{said}");
    // A file that cannot be taken in leaves the others out, too.
    write("scores/notes.txt", "hello\n");
    bad(path, 2, &import);
    std::fs::remove_file(path.join("scores/notes.txt")).unwrap();
    let imports = "SELECT run FROM runs WHERE stage = 'import'";
    assert!(json(path, &["sql", imports]).is_empty());
    let runs = good(path, &[&import[..], &["--alias", "t"]].concat());
    assert_eq!(runs.lines().count(), 3);
    assert_eq!(good(path, &[&import[..], &["--alias", "t"]].concat()), runs);

    let evaluate = [
        "evaluate",
        "--preset",
        "quick",
        "--id-scores",
        "t-fashion-mini",
        "--ood-scores",
    ];
    let sets = ["near=t-shirt", "far=t-digits", "--alias", "t"];
    good(path, &[&evaluate[..], &sets, &["--check"]].concat());
    let rows = json(path, &[&evaluate[..], &sets].concat());
    let mean = |group: &str| {
        let is_it = |row: &&serde_json::Value| {
            row["metric"] == "auroc" && row["group"] == group && row["dataset"].is_null()
        };
        rows.iter().find(is_it).unwrap()["mean"].as_f64().unwrap()
    };
    assert_eq!((mean("near"), mean("far")), (0.625, 0.875));
    assert_eq!(rows[0]["id_accuracy"], 0.75);
    let said = bad(
        path,
        2,
        &[&evaluate[..], &["t-shirt", "--scores", "msp"]].concat(),
    );
    assert!(said.contains("cannot be used with"), "{said}");
    let said = bad(path, 2, &[&evaluate[..], &["quick-0-evaluate"]].concat());
    assert!(said.contains("is no import of scores"), "{said}");
    let activations = [
        "evaluate",
        "--activations",
        "t-fashion-mini",
        "--ood-activations",
        "t-shirt",
    ];
    let said = bad(path, 2, &activations);
    assert!(said.contains("--id-scores"), "{said}");

    // The demo's sets have no groups.
    good(
        path,
        &[&evaluate[..], &["t-shirt", "t-digits", "--alias", "u"]].concat(),
    );
    let table = good(
        path,
        &["compare", "quick-0-evaluate", "u", "--layout", "markdown"],
    );
    assert!(table.contains("theirs"), "{table}");
    good(path, &["report", "t", "-o", "t.html"]);
    assert!(good(path, &["lineage", "t"]).contains("import"));
    good(path, &["reproduce", "t"]);
    good(path, &["export", "--to", "lake", "--run", "t"]);
    let new = ["--store", "new.redb"];
    good(path, &[&new[..], &["import", "--from", "lake"]].concat());
    good(path, &[&new[..], &["compare", "t"]].concat());
    good(path, &["rm", "t-shirt", "--cascade", "--yes"]);
    bad(path, 2, &["show", "t"]);
    good(path, &["verify"]);
}

#[test]
fn the_sets_of_a_pickle_of_openood_become_runs() {
    let folder = folder();
    let path = folder.path();
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/ood");
    std::fs::copy(fixtures.join("saved_scores.pkl"), path.join("msp.pkl")).unwrap();
    let import = [
        "import",
        "scores",
        "msp.pkl",
        "--network",
        "theirs",
        "--alias",
        "m",
    ];
    let said = bad(path, 2, &import);
    assert!(said.contains("--dataset NAME is needed"), "{said}");
    let said = bad(path, 2, &[&import[..], &["--dataset", "tin"]].concat());
    assert!(said.contains("tin is a set beside"), "{said}");
    let all = [&import[..], &["--dataset", "cifar10"]].concat();
    let output = dream(path, &all);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 6);
    for said in [
        "`cifar10` (in-distribution) is in run",
        "`tin` (near) is in run",
        "passed over",
    ] {
        assert!(told.contains(said), "{told}");
    }
    // The command that is told measures them.
    let command = told
        .lines()
        .find_map(|line| line.split_once("measured by: dream "));
    let command = command.unwrap().1.split(';').next().unwrap();
    let evaluate: Vec<&str> = command.split_whitespace().collect();
    let rows = json(path, &evaluate);
    let expected = std::fs::read_to_string(fixtures.join("saved_scores.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_str(&expected).unwrap();
    for group in ["near", "far"] {
        let is_it = |row: &&serde_json::Value| {
            row["metric"] == "auroc" && row["group"] == group && row["dataset"].is_null()
        };
        let found = rows.iter().find(is_it).unwrap()["mean"].as_f64().unwrap();
        let off = (found - expected["id"][group]["mean"]["auroc"].as_f64().unwrap()).abs();
        assert!(off < 1e-12, "{group}: {found}");
    }
    assert_eq!(rows[0]["score"], "msp");
    let swapped = ["evaluate", "--id-scores", "m-mnist", "--ood-scores", "m-cifar10"];
    let said = bad(path, 2, &swapped);
    assert!(said.contains("seem to be swapped"), "{said}");
}
