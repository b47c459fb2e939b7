//! Questions as a user asks them: SQL, queries and exports, and what is refused.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{bad, data, demo, dream, folder, good, json, store};

/// Runs `dream` and returns what it says beside the result.
fn said(folder: &Path, args: &[&str]) -> String {
    let output = dream(folder, args);
    assert!(output.status.success(), "{args:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn machine_formats_give_all_rows_and_a_cut_table_says_so() {
    let path = demo();
    let csv = good(path, &["query", "outliers", "--format", "csv"]);
    let rows = json(path, &["sql", "SELECT count(*) AS n FROM outliers"]).remove(0);
    assert_eq!(csv.lines().count() as u64, rows["n"].as_u64().unwrap() + 1);
    assert_eq!(json(path, &["query", "outliers"]).len(), csv.lines().count() - 1);
    assert_eq!(json(path, &["query", "outliers", "--limit", "3"]).len(), 3);
    assert_eq!(good(path, &["query", "outliers"]).lines().count(), 21);
    assert!(said(path, &["query", "outliers"]).contains("the first 20 rows of more"));
    assert_eq!(said(path, &["query", "datasets"]), "");
    assert_eq!(said(path, &["query", "outliers", "--limit", "20"]), "");
}

#[test]
fn names_that_there_are_not_are_no_empty_answers() {
    let path = demo();
    for (args, words) in [
        (&["query", "outlier"][..], "did you mean outliers?"),
        (
            &["query", "outliers", "--class", "sandel"],
            "did you mean sandal?",
        ),
        (
            &["query", "outliers", "--class", "5000"],
            "there is no class 5000 among 8",
        ),
        // The smallest number beyond the classes, and one that another set of the store has a class of.
        (
            &["query", "outliers", "--run", "quick-0-sample", "--class", "8"],
            "there is no class 8 among 8",
        ),
        (
            &["query", "outliers", "--class", "9"],
            "there is no class 9 among 8",
        ),
        (
            &["export", "outliers", "--class", "8", "-o", "x.csv"],
            "there is no class 8 among 8",
        ),
        (
            &["regenerate", "--run", "quick-0-imagine", "--class", "8"],
            "has no class 8; it has 8: ",
        ),
        (
            &["query", "outliers", "--run", "quick-0-smaple"],
            "did you mean quick-0-sample",
        ),
        (
            &["query", "outliers", "--where", "knn_distanc > 1"],
            "did you mean knn_distance?",
        ),
        (&["sql", "SELECT * FROM outlires"], "did you mean outliers?"),
        (&["sql", "SELECT knn FROM outliers"], "or knn_distance?"),
        (&["sql", "SELECT aurok(value, true) FROM scores"], "auroc"),
        (&["export", "outlier", "-o", "x.csv"], "did you mean outliers?"),
        (
            &["export", "outliers", "--class", "sandel", "-o", "x.csv"],
            "did you mean sandal?",
        ),
    ] {
        let line = bad(path, 2, args).replace('`', "");
        assert!(line.contains(words), "{args:?}: {line}");
    }
    let last = [
        "query",
        "outliers",
        "--run",
        "quick-0-sample",
        "--class",
        "7",
        "--limit",
        "3",
    ];
    assert_eq!(json(path, &last).len(), 3);
}

#[test]
fn what_has_no_meaning_is_refused_before_any_work() {
    let path = demo();
    for (args, words) in [
        (
            &["query", "datasets", "--class", "sandal"][..],
            "datasets has no classes",
        ),
        (
            &["query", "datasets", "--run", "quick-0-sample"],
            "datasets has no runs",
        ),
        (&["export", "metrics", "-o", "x.npy"], "metrics has no vectors"),
        (
            &["export", "activations", "-o", "x.npy"],
            "has logits and features, and such a file",
        ),
        (
            &["export", "images", "-o", "x.npy"],
            "as .parquet, or to a folder",
        ),
        (
            &["export", "latents", "-o", "x.csv"],
            "Parquet can; `dream export TABLE -o FILE.parquet`",
        ),
        (
            &["query", "images", "--format", "csv"],
            "`dream sql` selects the other columns",
        ),
        (
            &[
                "export",
                "checkpoint",
                "quick-0-observe-plain-fashion-mini-test",
                "-o",
                "x.safetensors",
            ],
            "has the last layer alone, beside activations, and no network",
        ),
        (&["export", "metrics", "--epoch", "3", "-o", "x.csv"], "--epoch"),
        (
            &["export", "features", "--stage", "final", "-o", "x.csv"],
            "latents",
        ),
        (
            &["export", "checkpoint", "quick-0-detect", "-o", "x.pth"],
            ".safetensors",
        ),
        (
            &[
                "export",
                "checkpoint",
                "quick-0-detect",
                "--class",
                "bag",
                "-o",
                "x.safetensors",
            ],
            "--class",
        ),
        (&["export", "images", "-o", "mixed"], "2 runs"),
        (
            &["compare", "quick-0-evaluate", "--scores", "energy,energy"],
            "named twice",
        ),
        (
            &[
                "compare",
                "quick-0-evaluate",
                "--layout",
                "openood",
                "--metric",
                "auroc",
            ],
            "leave --metric out",
        ),
        (&["sql", "--spill", "no/such", "SELECT 1"], "no such folder"),
        (&["dataset", "rm", "digits", "--format", "csv"], "is for tables"),
        (
            &[
                "nearest",
                "outliers",
                "-k",
                "0",
                "--to",
                "outliers:quick-0-sample:bag:0",
            ],
            "0",
        ),
        (
            &[
                "--memory",
                "1G",
                "nearest",
                "outliers",
                "--to",
                "outliers:quick-0-sample:bag:0",
            ],
            "--memory",
        ),
    ] {
        let output = dream(path, args);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {errors}");
        assert!(errors.contains(words), "{args:?}: {errors}");
    }
    for args in [
        &["query", "outliers", "--run", "quick-0-detect"][..],
        &["export", "outliers", "--run", "quick-0-detect", "-o", "x.csv"],
        &[
            "nearest",
            "outliers",
            "--run",
            "quick-0-detect",
            "--to",
            "outliers:quick-0-sample:bag:0",
        ],
    ] {
        let line = bad(path, 2, args);
        assert!(
            line.contains("has no outliers: it is a run of `detect`"),
            "{args:?}: {line}"
        );
    }
    let line = bad(path, 2, &["export", "outliers", "-o", "no/such/x.parquet"]);
    assert!(line.contains("no folder no/such"), "{line}");
    assert!(!path.join("x.csv").exists() && !path.join("mixed").exists());
}

/// What one option needs may be ruled out by another: clap then says nothing of it.
#[test]
fn an_option_is_used_or_refused() {
    let path = demo();
    for (line, words) in [
        (
            "evaluate quick-0-detect --ood-activations quick-0-observe-shirt-all",
            "cannot be used with",
        ),
        (
            "evaluate quick-0-detect --train-activations quick-0-observe-shirt-all",
            "cannot be used with",
        ),
        (
            "evaluate --activations a --ood-activations b --ood-validation shirt --validation-split test",
            "cannot be used with",
        ),
        (
            "evaluate --activations a --ood-activations b --validation-split test",
            "cannot be used with",
        ),
        (
            "evaluate --activations a --ood-activations b --validation-split v \
             --ood-validation-activations c",
            "cannot be used with",
        ),
        (
            "evaluate quick-0-detect --preset quick --scores knn:k=5:k=6",
            "k is given twice, as 5 and 6",
        ),
        (
            "compare quick-0-evaluate --paired --plot f.svg",
            "cannot be used with",
        ),
        (
            "compare quick-0-evaluate --layout markdown --plot f.svg",
            "cannot be used with",
        ),
        (
            "compare quick-0-evaluate --over --draws 500",
            "cannot be used with",
        ),
        ("compare quick-0-evaluate --over --seed 5", "cannot be used with"),
        (
            "imagine --embeddings quick-0-embed --plain --fraction 0.3",
            "cannot be used with",
        ),
        (
            "imagine --outliers quick-0-sample --fraction 0.3",
            "cannot be used with",
        ),
        ("observe quick-0-detect --id digits", "cannot be used with"),
        (
            "import features f.npy --embeddings quick-0-embed --run quick-0-embed",
            "cannot be used with",
        ),
        (
            "detect --preset quick --epochs 3 --set training.epochs=1",
            "`training.epochs` is given twice",
        ),
        (
            "detect --preset quick --set training.lr=0.1 --set training.lr=0.2",
            "`training.lr` is given twice",
        ),
        (
            "detect --preset quick --set training.augment.kind=\"augmix\" --set training.augment=null",
            "is given twice",
        ),
        (
            "detect --preset quick --backbone resnet50 --set training.depth=18",
            "`training.depth` is given twice",
        ),
        (
            "sample --preset quick --features quick-0-encode --sigma 0.1 --set sampling.sigma=0.3",
            "`sampling.sigma` is given twice",
        ),
        (
            "sample --preset quick --features quick-0-encode --sigma 1e300",
            "sampling.sigma: expected a number of 3.4e38 at most",
        ),
        ("demo --quick --seeds 99999999 --check", "1000000"),
    ] {
        let args: Vec<&str> = line.split(' ').collect();
        let output = dream(path, &args);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{line}: {errors}");
        assert!(errors.contains(words), "{line}: {errors}");
    }
}

#[test]
fn a_second_name_of_a_run_is_seen_in_sql() {
    let folder = store();
    let path = folder.path();
    good(path, &["alias", "set", "again", "quick-0-sample"]);
    let ask = |alias: &str| {
        let sql = format!(
            "SELECT count(*) AS n FROM runs JOIN run_aliases a USING (run) WHERE a.alias = '{alias}'"
        );
        json(path, &["sql", &sql])[0]["n"].as_u64()
    };
    assert_eq!([ask("again"), ask("quick-0-sample")], [Some(1), Some(1)]);
    let joined = dream(path, &["sql", "SELECT run FROM runs WHERE alias = 'again'"]);
    let said = String::from_utf8_lossy(&joined.stderr).into_owned();
    assert!(said.contains("`runs.alias` is 'again,quick-0-sample'"), "{said}");
    assert!(said.contains("run_aliases"), "{said}");
    assert!(good(path, &["show", "again"]).contains("again, quick-0-sample"));
}

#[test]
fn a_run_is_told_that_a_query_means_by_less_than_its_id() {
    let path = demo();
    let sql = "SELECT run FROM run_aliases WHERE alias = 'quick-0-sample'";
    let id = json(path, &["sql", sql])[0]["run"].as_str().unwrap().to_owned();
    let (digits, capitals) = (&id[..12], id.to_uppercase());
    for (word, words) in [
        ("quick-0-sample", &["is a name of run", &id, "run_aliases"][..]),
        (digits, &["begins the id of run", &id]),
        (&capitals, &["in capitals", &id]),
        (
            "quick-0-smaple",
            &["is no id of a run", "quick-0-sample", "names one"],
        ),
        (
            "00000000000000000000000000000000",
            &["there is no run with the id 0000"],
        ),
    ] {
        let condition = format!("'{word}' = run OR run IN ('{id}', '{word}')");
        let sql = format!("SELECT count(*) FROM outliers WHERE {condition}");
        for args in [&["sql", &sql][..], &["query", "outliers", "--where", &condition]] {
            let said = said(path, args);
            // Of a table that is cut, that is told as well.
            let notes = said.lines().filter(|line| !line.starts_with("the first 20 rows"));
            assert_eq!(notes.count(), 1, "{args:?}: {said}");
            assert!(words.iter().all(|words| said.contains(words)), "{args:?}: {said}");
        }
    }
    let whole = format!("SELECT count(*) FROM outliers WHERE run = '{id}'");
    assert_eq!(said(path, &["sql", &whole]), "");
    assert_eq!(
        said(path, &["--quiet", "sql", "SELECT run FROM runs WHERE run = 'x'"]),
        ""
    );
}

#[test]
fn a_condition_is_one_expression_and_a_store_is_not_asked_beside_files() {
    let path = demo();
    for (condition, words) in [
        ("1=1) or (1=1", "`)` follows it at line 1, column 4"),
        ("1=1 LIMIT 3", "`LIMIT` follows it"),
        ("1=1; SELECT 1", "`;` follows it"),
        ("", "it is empty"),
        ("/* nothing */", "it is empty"),
        ("knn_distance > limit 3", "`3` follows it at line 1, column 22"),
        ("knn_distance > ", "found EOF"),
    ] {
        let line = bad(path, 2, &["query", "outliers", "--where", condition]);
        assert!(
            line.contains(words) && !line.contains("ParserError"),
            "{condition}: {line}"
        );
    }
    let files = folder();
    let file = files.path().join("Upper.parquet").display().to_string();
    good(path, &["export", "datasets", "-o", &file]);
    let files = files.path().display().to_string();
    let ask = |args: &[&str]| dream(path, &[&["sql", "--parquet", &files, "SELECT 1"], args].concat());
    assert_eq!(ask(&[]).status.code(), Some(0));
    let refused = ask(&["--store", "dream.redb"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--store is of no use beside --parquet"));
}

#[test]
fn metrics_in_sql_are_the_stored_ones() {
    let help = good(demo(), &["sql", "--help"]);
    let example = help.find("SELECT m.run").expect("an example in the help");
    let sql = help[example..].replace(
        "auroc(s.value, s.dataset = m.dataset)",
        "auroc(s.value, s.dataset = m.dataset) AS auroc, fpr95(s.value, s.dataset = m.dataset) AS fpr95,
         aupr(s.value, s.dataset = m.dataset) AS aupr_in",
    );
    let sql = sql.as_str();
    let stored = json(demo(), &["query", "metrics"]);
    let mut compared = 0;
    for row in json(demo(), &["sql", sql]) {
        for name in ["auroc", "fpr95", "aupr_in"] {
            let same = |metric: &&serde_json::Value| {
                metric["name"] == name
                    && ["run", "score", "dataset"]
                        .iter()
                        .all(|key| metric[*key] == row[*key])
            };
            let metric = stored
                .iter()
                .find(same)
                .unwrap_or_else(|| panic!("{name} of {row}"));
            let (found, expected) = (row[name].as_f64().unwrap(), metric["value"].as_f64().unwrap());
            assert!((found - expected).abs() < 1e-12, "{name}: {row}");
            compared += 1;
        }
    }
    assert!(compared >= 12, "{compared}");
}

#[test]
fn sql_asks_exported_files_and_reads_standard_input() {
    let (path, folder) = (demo(), folder());
    let file = |name: &str| folder.path().join(name).display().to_string();
    for table in ["outliers", "runs", "run_params"] {
        good(path, &["export", table, "-o", &file(&format!("{table}.parquet"))]);
    }
    let files = folder.path().display().to_string();
    for sql in [
        "SELECT class_name, count(*) AS n, max(knn_distance) AS m FROM outliers GROUP BY 1 ORDER BY 1",
        "SELECT r.stage, p.value FROM run_params p JOIN runs r ON p.run = r.run WHERE key = 'sampling.sigma'",
    ] {
        let rows = json(path, &["sql", sql]);
        assert!(!rows.is_empty());
        assert_eq!(
            rows,
            json(folder.path(), &["sql", "--parquet", &files, sql]),
            "{sql}"
        );
    }
    assert!(bad(path, 2, &["sql", "--parquet", &files, "SELECT * FROM outlier"]).contains("did you mean"));

    let mut program = Command::new(env!("CARGO_BIN_EXE_dream"))
        .args(["--format", "csv", "sql", "-"])
        .current_dir(path)
        .env("DREAM_DATA", data())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let ors: Vec<_> = (0..9000).map(|i| format!("index = {i}")).collect();
    let sql = format!(
        "SELECT count(*) AS n FROM outliers WHERE class_id = 3 AND ({})",
        ors.join(" OR ")
    );
    program.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
    let output = program.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "n\n100\n");
}

#[cfg(unix)]
#[test]
fn interrupted_questions_end_at_once_and_exports_leave_nothing() {
    let (path, folder) = (demo(), folder());
    let endless = "SELECT count(*) FROM scores a, scores b, scores c WHERE a.value + b.value < c.value";
    let started = std::time::Instant::now();
    let mut program = Command::new(env!("CARGO_BIN_EXE_dream"))
        .args(["sql", endless])
        .current_dir(path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    let id = program.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(program.wait().unwrap().code(), Some(130));
    assert!(started.elapsed().as_secs() < 20);

    // A query that fails in the middle of an export.
    let target = folder.path().join("x.csv").display().to_string();
    bad(path, 2, &["export", "images", "-o", &target]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
