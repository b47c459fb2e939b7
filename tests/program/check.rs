//! What is refused before any work: all of it at once, in the whole pipeline; and `--check`, which stops
//! there.

use std::path::Path;

use dream_ood::stage::training::Backbone;

use crate::support::{copy, data, demo, dream, folder, good, preset, store};

/// Runs `dream`, which must refuse, and returns what it says line by line.
fn refused(path: &Path, args: &[&str]) -> Vec<String> {
    let output = dream(path, args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
    said.lines().map(str::to_owned).collect()
}

#[test]
fn a_pipeline_is_refused_as_a_whole_before_its_first_stage() {
    let folder = folder();
    let path = folder.path();
    let faults = [
        ("temperature = 0.1", "temperature = -0.1"),
        ("rounds = 1", "rounds = 0"),
        ("steps = 8", "steps = 2000"),
        ("beta = 1.0", "beta = 0.0"),
        ("ood_split = \"all\"", "ood_split = \"al\""),
    ];
    preset(path, &faults);
    for extra in [&["--check"][..], &[]] {
        let said = refused(path, &[&["run", "-q", "mine.toml"], extra].concat()).join("\n");
        for words in [
            "encode: temperature: -0.1",
            "sample: sampling: ",
            "imagine: steps: ",
            "detect: outlier.beta: 0",
            "observe-plain-digits-al: split: `digits` has no split `al`; expected all; did you mean `all`?",
        ] {
            assert!(said.contains(words), "{words}: {said}");
        }
    }
    // Nothing was registered or begun.
    assert!(!path.join("dream.redb").exists());
    preset(path, &[]);
    assert_eq!(
        good(path, &["run", "-q", "mine.toml", "--check"]),
        "all is well\n"
    );
    assert_eq!(good(path, &["demo", "-q", "--quick", "--check"]), "all is well\n");
    assert!(!path.join("dream.redb").exists());
    let said = refused(
        path,
        &["demo", "-q", "--quick", "--report", "nowhere/report.html"],
    );
    assert!(said[0].contains("nowhere/report.html"), "{said:?}");
}

/// The check said that all was well: the set by its path had no digest yet, and was another one for that.
#[test]
fn the_id_set_by_its_registered_name_is_no_ood_set() {
    let folder = store();
    let path = folder.path();
    copy(&data().join("fashion-mini"), &path.join("copy"));
    let garments = data().join("fashion-mini").display().to_string();
    let shirts = data().join("ood/shirt.parquet").display().to_string();
    let shirts = format!("{{ name = \"shirt\", path = \"{shirts}\" }}");
    for (split, words) in [
        ("test", "these are the images of the ID set once more"),
        ("train", "these are the images that the classifier was trained on"),
    ] {
        let set = format!("{{ name = \"fashion-mini\", split = \"{split}\" }}");
        preset(path, &[(&shirts, &set), (&garments, "copy")]);
        for extra in [&["--check"][..], &[]] {
            let said = refused(path, &[&["run", "-q", "mine.toml"], extra].concat()).join("\n");
            assert!(said.contains(words), "{said}");
        }
    }
}

#[test]
fn a_stage_is_checked_without_being_run() {
    let folder = store();
    let path = folder.path();
    let runs = good(path, &["ls"]);
    let quick = ["-q", "--preset", "quick", "--check"];
    let stages: [&[&str]; 6] = [
        &["embed"],
        &["encode", "--embeddings", "quick-0-embed", "--seed", "5"],
        &["sample", "--features", "quick-0-encode", "--seed", "5"],
        &["imagine", "--outliers", "quick-0-sample", "--seed", "5"],
        &["detect", "--outliers", "quick-0-imagine", "--seed", "5"],
        &["evaluate", "quick-0-detect", "quick-0-detect-plain"],
    ];
    for stage in stages {
        assert_eq!(
            good(path, &[stage, &quick].concat()),
            "all is well\n",
            "{stage:?}"
        );
    }
    let faults: [(&[&str], &[&str]); 4] = [
        (
            &[
                "encode",
                "--embeddings",
                "quick-0-embed",
                "--set",
                "training.depth=11",
                "--set",
                "training.split=trian",
            ],
            &["depth", "did you mean `train`?"],
        ),
        (
            &[
                "detect",
                "--outliers",
                "quick-0-sample",
                "--set",
                "outlier.beta=-1",
            ],
            &["outlier.beta", "`imagine`"],
        ),
        (
            &[
                "evaluate",
                "quick-0-detect",
                "--set",
                "split=tset",
                "--scores",
                "mspp,knn:k=3",
            ],
            &["did you mean `test`?", "did you mean `msp`?"],
        ),
        (
            &[
                "sample",
                "--features",
                "quick-0-encode",
                "-k",
                "0",
                "--alias",
                "a b",
            ],
            &["alias", "k"],
        ),
    ];
    for (stage, words) in faults {
        let said = refused(path, &[stage, &quick].concat()).join("\n");
        assert!(said.contains("2 things are refused"), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
    }
    let said = refused(path, &[&["evaluate", "quick-0-encode"][..], &quick].concat());
    assert!(said[0].contains("`detect`"), "{said:?}");
    assert_eq!(good(path, &["ls"]), runs);
}

#[test]
fn a_refused_command_leaves_no_store() {
    let folder = folder();
    let path = folder.path();
    std::fs::write(path.join("notes.npy"), "notes").unwrap();
    for args in [
        &["embed", "-q", "--words", "no such word in any tokenizer"][..],
        &["embed", "-q", "--alias", "no good"],
        &["import", "scores", "notes.npy", "--dataset", "a", "--score", "b"],
        &["dataset", "add", "set", "notes.npy"],
    ] {
        let output = dream(path, args);
        assert_ne!(output.status.code(), Some(0), "{args:?}");
        assert!(!path.join("dream.redb").exists(), "{args:?}");
    }
    // One that was there stays.
    good(path, &["embed", "-q", "--preset", "quick"]);
    refused(path, &["embed", "-q", "--words", "no such word in any tokenizer"]);
    assert!(path.join("dream.redb").exists());
}

#[test]
fn a_model_follows_from_the_embeddings_it_made() {
    let folder = folder();
    let path = folder.path();
    copy(&data().join("tiny-sd"), &path.join("model"));
    let config = path.join("model/scheduler/scheduler_config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("0.012", "0.011")).unwrap();
    good(path, &["dataset", "add", "other", "model"]);
    good(
        path,
        &[
            "embed", "-q", "--preset", "quick", "--model", "other", "--alias", "emb",
        ],
    );
    let plain = [
        "imagine",
        "-q",
        "--preset",
        "quick",
        "--embeddings",
        "emb",
        "--plain",
        "--check",
    ];
    assert_eq!(good(path, &plain), "all is well\n");
    // Another one is refused: it is not the embeddings'.
    let tiny = data().join("tiny-sd").display().to_string();
    good(path, &["dataset", "add", "tiny", &tiny]);
    let said = refused(path, &[&plain[..], &["--model", "tiny"]].concat());
    assert!(said[0].contains("comes from the model"), "{said:?}");
}

#[test]
fn a_preset_is_wrong_in_a_line_that_says_where() {
    let folder = folder();
    let path = folder.path();
    for (from, to, words) in [
        ("lr = 0.1", "lr = nan", "training.lr: expected a finite number"),
        (
            "sigma = 0.2",
            "sigma = nan",
            "sampling.sigma: expected a finite number",
        ),
        (
            "sigma = 0.2",
            "sigma = 1e300",
            "sampling.sigma: expected a finite number",
        ),
        ("mean = [0.5, 0.5", "mean = [inf, 0.5", "training.mean[0]"),
        ("epochs = 2", "epoch = 2", "did you mean `epochs`?"),
        (
            "scheduler = \"plms\"",
            "scheduler = \"plm\"",
            "did you mean `plms`?",
        ),
        (
            "suffixes = {}",
            "suffixes = { sandel = \" shoe\" }",
            "did you mean `sandal`?",
        ),
        ("name = \"quick\"", "name = \"my preset\"", "only letters"),
        ("plain_per_class = 4", "plain_per_class = 0", "per_class 0"),
        ("k = 200", "k = 700", "600 images a class"),
        ("momentum = 0.9", "momentum = 2.0", "training.momentum: 2"),
        (
            "scores = [\"msp\", \"energy\", \"dream\"]",
            "scores = []",
            "scores",
        ),
        (
            "scores = [\"msp\", \"energy\", \"dream\"]",
            "scores = [\"dream\"]",
            "needs phi",
        ),
    ] {
        preset(path, &[(from, to)]);
        let store = demo().join("dream.redb").display().to_string();
        let said = refused(path, &["--store", &store, "run", "-q", "mine.toml", "--check"]).join("\n");
        assert!(said.contains(words), "{to}: {said}");
    }
    // All sets that are missing are told at once.
    let said = refused(path, &["run", "-q", "cifar100", "--check"]).join("\n");
    for name in ["cifar100", "svhn", "isun", "dtd", "stable-diffusion"] {
        assert!(said.contains(&format!("`{name}`")), "{name}: {said}");
    }
    assert!(!path.join("dream.redb").exists());
}

#[test]
fn a_set_that_has_moved_is_told_before_any_work() {
    let folder = store();
    let path = folder.path();
    good(
        path,
        &["export", "images", "--run", "quick-0-imagine", "-o", "pictures"],
    );
    good(path, &["dataset", "add", "moving", "pictures"]);
    let observe = [
        "observe",
        "quick-0-detect-plain",
        "--preset",
        "quick",
        "--dataset",
        "moving",
        "--check",
    ];
    good(path, &observe);
    // A pipeline that names it by the name that it was registered under.
    let from = format!(
        "{{ name = \"textures\", path = \"{}/ood/textures.parquet\" }}",
        data().display()
    );
    let whole = ["run", "-q", "mine.toml", "--seed", "9", "--check"];
    preset(path, &[(&from, "{ name = \"moving\" }")]);
    good(path, &whole);
    std::fs::rename(path.join("pictures"), path.join("moved")).unwrap();
    for args in [&observe[..], &whole] {
        let said = refused(path, args).join("\n");
        assert!(
            said.contains("`moving` was registered from") && said.contains("dataset add moving PATH"),
            "{said}"
        );
    }
    good(path, &["dataset", "add", "moving", "moved"]);
    good(path, &observe);
    good(path, &whole);
}

#[test]
fn an_alias_names_one_run() {
    let folder = store();
    let path = folder.path();
    let sample = [
        "sample",
        "-q",
        "--preset",
        "quick",
        "--features",
        "quick-0-encode",
    ];
    for (more, words) in [
        (&["--seed", "3", "--alias", "quick-0-embed"][..], "quick-0-embed"),
        (
            &["--seed", "3", "--alias", "quick-0-sample", "--check"],
            "names run",
        ),
    ] {
        let said = refused(path, &[&sample[..], more].concat()).join("\n");
        assert!(said.contains(words) && said.contains("already"), "{said}");
    }
    good(path, &[&sample[..], &["--alias", "quick-0-sample"]].concat());
    good(path, &[&sample[..], &["--alias", "another"]].concat());
    let two = [
        "evaluate",
        "-q",
        "--preset",
        "quick",
        "quick-0-detect",
        "quick-0-detect-plain",
    ];
    let said = refused(path, &[&two[..], &["--alias", "both"]].concat()).join("\n");
    assert!(said.contains("names one run"), "{said}");
}

#[test]
fn every_backbone_that_is_listed_can_be_asked_for() {
    let folder = folder();
    for backbone in Backbone::ALL {
        let args = [
            "detect",
            "-q",
            "--preset",
            "quick",
            "--epochs",
            "1",
            "--check",
            "--backbone",
        ];
        let said = good(folder.path(), &[&args[..], &[backbone.name()]].concat());
        assert_eq!(said, "all is well\n", "{}", backbone.name());
    }
}

#[test]
fn options_that_would_do_nothing_are_refused() {
    let path = demo();
    let quick = ["-q", "--preset", "quick", "--check"];
    let encode = ["encode", "--embeddings", "quick-0-embed"];
    let imagine = ["imagine", "--outliers", "quick-0-sample"];
    let cases: [(&[&str], &[&str], &str); 10] = [
        (
            &["detect"],
            &["--inliers", "quick-0-imagine"],
            "vectors of the kind `outlier`",
        ),
        (&encode, &["--batch-size", "64"], "training.batch_size=N"),
        (&encode, &["--set", "training.new_head=true"], "training.new_head"),
        (&["detect"], &["--beta", "2"], "--outliers"),
        (&["detect"], &["--set", "outlier.beta=2"], "--outliers"),
        (&imagine, &["--guidance", "0.5"], "guidance_scale 0.5"),
        (
            &imagine,
            &["--guidance", "1", "--negative", "x"],
            "without guidance",
        ),
        (
            &imagine,
            &["--set", "suffixes.sandel=x"],
            "did you mean `sandal`?",
        ),
        (&["imagine", "--outliers", "quick-0-embed"], &[], "--embeddings"),
        (
            &["evaluate", "quick-0-detect", "quick-0-detect"],
            &[],
            "named twice",
        ),
    ];
    for (command, option, words) in cases {
        let said = refused(path, &[command, &quick, option].concat()).join("\n");
        assert!(said.contains(words), "{command:?} {option:?}: {said}");
    }
    let digits = [
        "--train-activations",
        "quick-0-observe-plain-digits-all",
        "--check",
    ];
    let seen = "quick-0-observe-plain-fashion-mini-test";
    let shirts = "quick-0-observe-plain-shirt-all";
    for args in [
        &[
            "evaluate",
            "--activations",
            seen,
            "--ood-activations",
            shirts,
            "--scores",
            "knn",
        ][..],
        &["select", "quick-0-imagine"],
    ] {
        let said = refused(path, &[args, &digits].concat()).join("\n");
        assert!(
            said.contains("activations of another image set"),
            "{args:?}: {said}"
        );
    }
    let numbered = [
        "observe",
        "quick-0-detect",
        "--dataset",
        "shirt",
        "--split",
        "all",
        "--numbered",
    ];
    let said = refused(path, &[&numbered[..], &["--check"]].concat()).join("\n");
    assert!(said.contains("not those of the classifier"), "{said}");
    for args in [
        &["ls", "--device", "cuda"][..],
        &["--memory", "1G", "ls"],
        &["export", "metrics", "--format", "csv", "-o", "x.csv"],
        &["completions", "bash", "--store", "x.redb"],
    ] {
        let said = refused(path, args).join("\n");
        assert!(said.contains("is of no use to `dream"), "{args:?}: {said}");
    }
}

#[test]
fn what_there_is_no_room_for_is_refused_before_it_is_asked_for() {
    let path = demo();
    let quick = ["-q", "--preset", "quick", "--check"];
    let plain = ["imagine", "--embeddings", "quick-0-embed", "--plain"];
    let encode = ["encode", "--embeddings", "quick-0-embed"];
    let cases: [(&[&str], &[&str], &str); 5] = [
        (&plain, &["--per-class", "1000000000"], "per_class 1000000000"),
        (
            &plain,
            &["--size", "8192", "--per-class", "9999", "--batch-size", "65536"],
            "batch size: it takes at least",
        ),
        (
            &plain,
            &["--per-class", "9999999", "--size", "1024"],
            "of the store's disk",
        ),
        (
            &encode,
            &["--set", "training.width=4096", "--set", "training.size=1024"],
            "of memory",
        ),
        (
            &["sample", "--features", "quick-0-encode", "--rounds", "20000000"],
            &[],
            "of memory",
        ),
    ];
    for (command, option, words) in cases {
        let said = refused(path, &[command, &quick, option].concat()).join("\n");
        assert!(said.contains(words), "{command:?} {option:?}: {said}");
    }
}
