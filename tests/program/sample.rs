//! `dream sample`: its methods, and options that do not belong together.

use crate::support::{bad, demo, good, json, store};

#[test]
fn every_method_from_the_command_line() {
    let folder = store();
    let path = folder.path();
    let sample = |method: &str, extra: &[&str]| {
        let args = [
            "sample",
            "-q",
            "--features",
            "quick-0-encode",
            "-k",
            "20",
            "--method",
            method,
            "--alias",
            method,
        ];
        good(path, &[&args[..], extra].concat());
        json(path, &["query", "outliers", "--run", method, "--limit", "100000"])
    };
    for (method, extra, kind, per_class) in [
        (
            "gaussian",
            &["--sigma", "0.1", "--per-class", "3"][..],
            "gaussian",
            3,
        ),
        ("beyond", &["--overshoot", "0.8", "--per-class", "3"], "beyond", 3),
        (
            "boundary",
            &["--step", "0.03", "--extra-steps", "1", "--per-class", "2"],
            "boundary",
            2,
        ),
        (
            "knn",
            &[
                "--kind", "inlier", "--keep", "1", "--rounds", "1", "--knn", "upstream",
            ],
            "inlier",
            0,
        ),
    ] {
        let rows = sample(method, extra);
        assert!(!rows.is_empty());
        assert!(rows.iter().all(|r| r["kind"] == kind), "{:?}", rows[0]);
        if per_class > 0 {
            let first = rows.iter().filter(|r| r["class_name"] == rows[0]["class_name"]);
            assert_eq!(first.count(), per_class);
        }
        assert!(good(path, &["show", method]).contains(match method {
            "knn" => "sampling",
            other => other,
        }));
    }
    // The encoder's temperature is written down, so that the run says where its boundary was.
    assert!(good(path, &["show", "boundary"]).contains("\"temperature\""));
}

#[test]
fn options_of_another_method_are_refused() {
    let said = |code, extra: &[&str]| {
        let args = ["sample", "-q", "--features", "quick-0-encode"];
        bad(demo(), code, &[&args[..], extra].concat())
    };
    let line = said(2, &["--method", "gaussian", "--select", "5"]);
    assert!(
        line.contains("--select does not belong to --method gaussian"),
        "{line}"
    );
    let line = said(2, &["--overshoot", "1.5"]);
    assert!(
        line.contains("--overshoot does not belong to --method knn"),
        "{line}"
    );
    let line = said(2, &["--method", "beyond", "--set", "sampling.k=3"]);
    assert!(line.contains("beyond.KEY"), "{line}");
    let line = said(2, &["--method", "nothing"]);
    assert!(line.contains("knn, gaussian, beyond, boundary"), "{line}");
    let line = said(2, &["--kind", "sideways"]);
    assert!(line.contains("sideways"), "{line}");
}

#[test]
fn values_out_of_range_are_refused() {
    let said = |extra: &[&str]| {
        let args = ["sample", "-q", "--features", "quick-0-encode"];
        bad(demo(), 2, &[&args[..], extra].concat())
    };
    for (extra, word) in [
        (&["--rounds", "0"][..], "rounds"),
        (&["--keep", "2000"], "keep"),
        (&["--anchors-per-round", "51"], "anchors_per_round"),
        (&["--noise-per-round", "0"], "noise_per_round"),
        (&["--sigma", "0"], "sigma"),
        (&["--method", "boundary", "--step", "-1"], "step"),
        (&["--method", "beyond", "--overshoot", "0"], "overshoot"),
        (&["--method", "gaussian", "--sigma", "-1"], "sigma"),
    ] {
        let line = said(extra);
        assert!(line.contains(word), "{extra:?}: {line}");
    }
}

#[test]
fn files_that_are_not_features_of_these_classes() {
    let folder = store();
    let path = folder.path();
    good(
        path,
        &[
            "export",
            "features",
            "--run",
            "quick-0-encode",
            "-o",
            "features.parquet",
        ],
    );
    // An .npy header by hand: [2 classes, 3 features, 5 wide], where the embeddings are wider and more.
    let npy = |shape: &str, values: &[f32]| {
        let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
        header += &" ".repeat(63 - (10 + header.len()) % 64);
        header.push('\n');
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.bytes());
        bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        bytes
    };
    let said = |bytes: Vec<u8>| {
        std::fs::write(path.join("bad.npy"), bytes).unwrap();
        bad(
            path,
            2,
            &["import", "features", "bad.npy", "--embeddings", "quick-0-embed"],
        )
    };
    let line = said(npy("(2, 3, 5)", &[1.0; 30]));
    assert!(line.contains("bad.npy") && line.contains("2 classes"), "{line}");
    let classes = json(path, &["query", "class_embeddings", "--run", "quick-0-embed"]).len();
    let line = said(npy(&format!("({classes}, 1, 5)"), &vec![1.0; classes * 5]));
    assert!(line.contains("5 wide"), "{line}");
    for table in ["latents", "metrics"] {
        let line = bad(
            path,
            2,
            &["import", table, "bad.npy", "--embeddings", "quick-0-embed"],
        );
        assert!(line.contains(&format!("cannot be imported as {table}")), "{line}");
    }
    // Good features, of classes that these embeddings do not have.
    good(path, &["embed", "-q", "--words", "bag", "--alias", "one"]);
    let args = ["import", "features", "features.parquet", "--embeddings", "one"];
    let line = bad(path, 2, &args);
    assert!(line.contains("which the embeddings do not have"), "{line}");
}
