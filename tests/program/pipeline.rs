//! The pipeline on real pictures, and the questions that the store answers afterwards.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::{bad, data, demo, dream, folder, good, json};

fn digests(folder: &Path) -> BTreeMap<String, String> {
    let text = |v: &serde_json::Value, key: &str| v[key].as_str().unwrap_or_default().to_owned();
    json(folder, &["query", "runs", "--limit", "100"])
        .iter()
        .map(|r| (text(r, "run"), text(r, "digest")))
        .collect()
}

#[test]
fn demo_fills_every_table_and_writes_the_report() {
    let folder = demo();
    for table in [
        "runs",
        "run_inputs",
        "datasets",
        "class_embeddings",
        "features",
        "outliers",
        "latents",
        "images",
        "checkpoints",
        "activations",
        "ratings",
        "scores",
        "metrics",
    ] {
        let rows = json(folder, &["query", table, "--limit", "1"]);
        assert_eq!(rows.len(), 1, "{table} is empty");
    }
    let page = std::fs::read_to_string(folder.join("dream-report.html")).unwrap();
    assert!(page.contains("sandal") && page.contains("data:image/png;base64,"));
    assert!(page.contains("digits") && page.contains("</html>"));
    // The plain network has rated the pictures: they stand beside each of the six OOD sets.
    let measured = "features of the plain network: minus the distance to the 50-th nearest ID training image";
    assert!(page.contains(measured) && page.contains("imagined pictures: quick-0-imagine 7c3ac0f0b98f"));
    assert_eq!(page.matches("<path class=\"area imagined\"").count(), 6);
}

#[test]
fn asking_again_is_answered_at_once_with_the_same_digests() {
    let folder = demo();
    let before = digests(folder);
    assert_eq!(before.len(), 25);
    let output = dream(folder, &["demo", "--quick", "--report", "again.html"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said.matches("in the store already").count(), 25, "{said}");
    assert_eq!(before, digests(folder));
}

#[test]
fn results_do_not_depend_on_threads_or_batch_size() {
    let other = folder();
    good(
        other.path(),
        &["demo", "--quick", "-q", "--threads", "1", "--batch-size", "3"],
    );
    assert_eq!(digests(demo()), digests(other.path()));
}

#[test]
fn stored_latents_give_the_stored_pictures_again() {
    let folder = demo();
    let said = good(
        folder,
        &["regenerate", "--run", "quick-0-imagine", "-o", "pictures"],
    );
    assert!(
        said.contains("64 of 64 pictures are the stored ones, bit for bit"),
        "{said}"
    );
    assert!(folder.join("pictures/sandal/00000.png").is_file());
    let one = good(
        folder,
        &[
            "regenerate",
            "--run",
            "quick-0-imagine",
            "--class",
            "bag",
            "--index",
            "3",
        ],
    );
    assert!(one.starts_with("1 of 1 "), "{one}");
}

#[test]
fn every_stage_reproduces_its_digest() {
    for stage in [
        "embed",
        "sample",
        "imagine",
        "detect",
        "observe-digits-all",
        "evaluate",
    ] {
        let said = good(demo(), &["reproduce", &format!("quick-0-{stage}")]);
        assert!(said.contains("reproduced"), "{stage}: {said}");
    }
}

#[test]
fn outliers_of_a_class_by_query_sql_and_nearest() {
    let folder = demo();
    let rows = json(
        folder,
        &[
            "query",
            "outliers",
            "--class",
            "sandal",
            "--where",
            "knn_distance > 0.1",
            "--limit",
            "500",
        ],
    );
    assert_eq!(rows.len(), 100);
    assert!(
        rows.iter()
            .all(|r| r["class_name"] == "sandal" && r["kind"] == "outlier")
    );
    let counts = json(
        folder,
        &[
            "sql",
            "SELECT class_name, count(*) AS n FROM outliers GROUP BY class_name ORDER BY class_name",
        ],
    );
    assert_eq!(counts.len(), 8);
    assert!(counts.iter().all(|r| r["n"] == 100));
    // The nearest ID feature of the class has a cosine distance of at most what the k-NN distance allows.
    let near = json(
        folder,
        &[
            "nearest",
            "outliers",
            "--to",
            "outliers:quick-0-sample:sandal:7",
            "-k",
            "3",
        ],
    );
    assert_eq!(near[0]["index"], 7);
    assert!(near[0]["distance"].as_f64().unwrap().abs() < 1e-6);
    // A vector is looked up in the table that is named.
    for (table, run) in [
        ("class_embeddings", "quick-0-embed"),
        ("features", "quick-0-encode"),
    ] {
        let near = json(
            folder,
            &["nearest", table, "--to", &format!("{table}:{run}:sandal:0")],
        );
        assert_eq!(
            (near[0]["class_name"].as_str(), near[0]["index"].as_u64()),
            (Some("sandal"), Some(0))
        );
        assert!(near[0]["distance"].as_f64().unwrap().abs() < 1e-6, "{table}");
    }
    let line = bad(
        folder,
        2,
        &["nearest", "outliers", "--to", "images:quick-0-imagine:sandal:0"],
    );
    assert!(
        line.contains("there are class_embeddings, features, outliers"),
        "{line}"
    );
}

#[test]
fn exports_and_provenance() {
    let folder = demo();
    good(
        folder,
        &[
            "export",
            "outliers",
            "--run",
            "quick-0-sample",
            "-o",
            "outliers.parquet",
        ],
    );
    good(
        folder,
        &[
            "export",
            "outliers",
            "--run",
            "quick-0-sample",
            "-o",
            "outliers.npy",
        ],
    );
    good(folder, &["export", "scores", "-o", "scores.csv"]);
    good(
        folder,
        &["export", "images", "--run", "quick-0-imagine", "-o", "imagined"],
    );
    good(
        folder,
        &[
            "export",
            "checkpoint",
            "quick-0-detect",
            "-o",
            "detect.safetensors",
        ],
    );
    for (file, least) in [
        ("outliers.parquet", 100_000),
        ("outliers.npy", 300_000),
        ("scores.csv", 100_000),
        ("detect.safetensors", 50_000),
    ] {
        let size = folder.join(file).metadata().unwrap().len();
        assert!(size > least, "{file}: {size}");
    }
    let picture = std::fs::read_dir(folder.join("imagined/bag"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let said = good(folder, &["show", picture.to_str().unwrap()]);
    assert!(said.contains("imagine") && said.contains("bag"), "{said}");
}

#[test]
fn lineage_diff_and_show() {
    let folder = demo();
    let lineage = good(folder, &["lineage", "quick-0-evaluate"]);
    for stage in [
        "embed",
        "encode",
        "sample",
        "imagine",
        "detect",
        "tiny-sd",
        "fashion-mini",
    ] {
        assert!(lineage.contains(stage), "{stage}: {lineage}");
    }
    let output = dream(folder, &["diff", "quick-0-detect", "quick-0-detect-plain"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("params.outlier"));
    assert!(good(folder, &["show", "quick-0-sample"]).contains("\"sigma\""));
}

#[test]
fn an_interrupted_run_is_resumed_to_the_same_digest() {
    let other = folder();
    let preset = data().join("presets/quick.toml");
    let preset = preset.to_str().unwrap();
    let embeddings = good(other.path(), &["embed", "--preset", preset, "-q"]);
    let encode = [
        "encode",
        "--preset",
        preset,
        "--embeddings",
        embeddings.trim(),
        "-q",
    ];
    // Killed again and again, each time after twice as long, until one comes through.
    let mut killed = 0;
    for wait in (0..10).map(|i| 500 << i) {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_dream"))
            .args(encode)
            .current_dir(other.path())
            .env("DREAM_DATA", data())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let started = std::time::Instant::now();
        let finished = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if started.elapsed().as_millis() > wait {
                break None;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        };
        match finished {
            Some(status) => {
                assert!(status.success());
                break;
            }
            None => {
                child.kill().unwrap();
                child.wait().unwrap();
                killed += 1;
                // What the killed one committed can be read.
                assert!(good(other.path(), &["ls"]).contains("embed"));
            }
        }
    }
    assert!(killed > 0);
    let runs = digests(other.path());
    let known = digests(demo());
    assert_eq!(runs.len(), 2);
    assert!(
        runs.iter().all(|(run, digest)| known.get(run) == Some(digest)),
        "{runs:?}\n{known:?}"
    );
}

#[test]
fn verify_du_and_gc() {
    let folder = demo();
    assert!(good(folder, &["verify"]).starts_with("25 runs, "));
    assert!(good(folder, &["du"]).contains("blobs"));
    assert!(good(folder, &["gc"]).contains("would be removed"));
}
