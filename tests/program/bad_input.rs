//! Bad input: one clear line that says what, where and what to do, exit code 1 or 2, and nothing stored is
//! lost.

use crate::support::{bad, copy, data, demo, folder, good, store};

#[test]
fn stores_that_are_missing_or_not_ours() {
    let folder = folder();
    let path = folder.path();
    assert!(bad(path, 2, &["ls"]).contains("dream.redb"));
    std::fs::write(
        path.join("other.redb"),
        b"not a store, but long enough to look at",
    )
    .unwrap();
    assert!(bad(path, 1, &["--store", "other.redb", "ls"]).contains("other.redb"));
    std::fs::write(path.join("empty.redb"), b"").unwrap();
    assert!(bad(path, 1, &["--store", "empty.redb", "ls"]).contains("empty.redb"));
    assert_eq!(
        std::fs::read(path.join("other.redb")).unwrap(),
        b"not a store, but long enough to look at"
    );
}

#[test]
fn a_store_held_by_another_writer() {
    let folder = folder();
    let path = folder.path();
    good(path, &["embed", "-q"]);
    let _held = dream_ood::store::Store::open(path.join("dream.redb")).unwrap();
    let said = bad(path, 1, &["embed", "-q"]);
    assert!(said.contains("is held by process"), "{said}");
    // Reading goes on.
    good(path, &["ls"]);
}

#[test]
fn words_the_program_does_not_understand() {
    let folder = folder();
    let path = folder.path();
    assert!(bad(path, 2, &["--device", "tpu", "embed"]).contains("tpu"));
    assert!(bad(path, 2, &["embed", "--preset", "nothing"]).contains("fashion-mini"));
    assert!(bad(path, 2, &["embed", "--set", "classes"]).contains("KEY=VALUE"));
    // Parameters of one of several methods are named too.
    for value in ["1e2", "\"x\"", "true", "-5", "1.5"] {
        let given = format!("sampling.k={value}");
        let said = bad(
            path,
            2,
            &[
                "sample",
                "--features",
                "x",
                "--set",
                "sampling.select=9",
                "--set",
                &given,
                "--check",
            ],
        );
        assert!(
            said.contains("parameters: sampling.k: ") && said.contains("expected a whole number from 0"),
            "{said}"
        );
    }
    assert!(bad(demo(), 2, &["show", "no-such-run"]).contains("no-such-run"));
    assert!(bad(demo(), 2, &["query", "nothing"]).contains("outliers"));
    assert!(bad(demo(), 2, &["sql", "SELECT nothing FROM outliers"]).contains("knn_distance"));
    assert!(bad(demo(), 2, &["sql", "DROP TABLE outliers"]).contains("SELECT"));
}

#[test]
fn a_precision_that_the_device_does_not_compute_in() {
    let imagine = [
        "imagine",
        "-q",
        "--preset",
        "quick",
        "--outliers",
        "quick-0-sample",
    ];
    let with = |precision| [imagine.as_slice(), &["--check", "--precision", precision]].concat();
    let said = bad(demo(), 2, &with("f16"));
    assert!(said.contains("`cpu`") && said.contains("expected f32"), "{said}");
    good(demo(), &with("f32"));
    let detect = [
        "detect",
        "-q",
        "--preset",
        "quick",
        "--check",
        "--precision",
        "tf32",
    ];
    let said = bad(demo(), 2, &detect);
    assert!(said.contains("training.precision"), "{said}");
    let observe = [
        "observe",
        "-q",
        "--preset",
        "quick",
        "quick-0-detect",
        "--check",
        "--precision",
        "bf16",
    ];
    assert!(bad(demo(), 2, &observe).contains("expected f32"));
    assert!(bad(demo(), 2, &with("f8")).contains("bf16"));
}

#[test]
fn class_words_that_are_not_one_token() {
    let folder = folder();
    let said = bad(folder.path(), 2, &["embed", "-q", "--words", "sandal", "zyzzyva"]);
    assert!(said.contains("zyzzyva"), "{said}");
    assert!(bad(folder.path(), 2, &["embed", "-q", "--words", "bag", "bag"]).contains("bag"));
}

#[test]
fn models_with_missing_or_truncated_files() {
    let folder = folder();
    let path = folder.path();
    let model = path.join("model");
    copy(&data().join("tiny-sd"), &model);
    let weights = model.join("unet/diffusion_pytorch_model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
    assert!(
        bad(path, 1, &["dataset", "add", "cut", "model"]).contains("diffusion_pytorch_model.safetensors")
    );
    std::fs::remove_file(&weights).unwrap();
    assert!(
        bad(path, 2, &["dataset", "add", "gone", "model"]).contains("diffusion_pytorch_model.safetensors")
    );
    std::fs::write(&weights, &bytes).unwrap();
    std::fs::remove_file(model.join("tokenizer/vocab.json")).unwrap();
    assert!(bad(path, 2, &["dataset", "add", "mute", "model"]).contains("vocab.json"));
}

#[test]
fn image_sets_that_cannot_be_read() {
    let folder = folder();
    let path = folder.path();
    assert!(bad(path, 2, &["dataset", "add", "none", "nowhere"]).contains("nowhere"));
    let bytes = std::fs::read(data().join("fashion-mini/test.parquet")).unwrap();
    std::fs::write(path.join("cut.parquet"), &bytes[..bytes.len() / 2]).unwrap();
    assert!(bad(path, 1, &["dataset", "add", "cut", "cut.parquet"]).contains("cut.parquet"));
    std::fs::create_dir(path.join("idx")).unwrap();
    std::fs::write(path.join("idx/train-images-idx3-ubyte"), [0, 0, 8, 9, 0, 0, 0, 0]).unwrap();
    assert!(bad(path, 1, &["dataset", "add", "magic", "idx"]).contains("idx"));
}

#[test]
fn data_that_changed_since_it_was_registered() {
    let folder = folder();
    let path = folder.path();
    copy(&data().join("fashion-mini"), &path.join("set"));
    good(path, &["dataset", "add", "set", "set"]);
    std::fs::copy(data().join("ood/digits.parquet"), path.join("set/test.parquet")).unwrap();
    let embeddings = good(path, &["embed", "-q"]);
    let said = bad(
        path,
        1,
        &[
            "encode",
            "-q",
            "--embeddings",
            embeddings.trim(),
            "--dataset",
            "set",
        ],
    );
    assert!(said.contains("has changed") || said.contains("class"), "{said}");
}

#[test]
fn sampling_that_cannot_be_done() {
    let folder = store();
    let sample = |extra: &[&str]| {
        bad(
            folder.path(),
            2,
            &[&["sample", "-q", "--features", "quick-0-encode"], extra].concat(),
        )
    };
    let none = good(folder.path(), &["ls", "--status", "failed"]).lines().count();
    let said = sample(&["-k", "5000"]);
    assert!(said.contains("5000") && said.contains("600"), "{said}");
    assert!(sample(&["--select", "601"]).contains("select"));
    assert!(sample(&["--sigma", "-1"]).contains("sigma"));
    assert_eq!(
        good(folder.path(), &["ls", "--status", "failed"]).lines().count(),
        none
    );
    // What only the numbers tell is found at work: the failed run is on record and costs nothing that was
    // stored.
    let far = [
        "sample",
        "-q",
        "--features",
        "quick-0-encode",
        "--method",
        "beyond",
        "--overshoot",
        "1000000",
    ];
    assert!(bad(folder.path(), 1, &far).contains("overshoot"));
    assert!(good(folder.path(), &["ls", "--status", "failed"]).contains("sample"));
    assert!(good(folder.path(), &["verify"]).contains("runs"));
    let wrong = bad(folder.path(), 2, &["sample", "-q", "--features", "quick-0-embed"]);
    assert!(wrong.contains("encode"), "{wrong}");
    let few = [
        "imagine",
        "-q",
        "--outliers",
        "quick-0-sample",
        "--per-class",
        "101",
    ];
    assert!(bad(folder.path(), 2, &few).contains("101"));
}

#[test]
fn exports_do_not_overwrite() {
    let path = demo();
    good(path, &["export", "metrics", "-o", "metrics.csv"]);
    assert!(bad(path, 2, &["export", "metrics", "-o", "metrics.csv"]).contains("metrics.csv"));
    good(path, &["export", "metrics", "-o", "metrics.csv", "--force"]);
    assert!(bad(path, 2, &["export", "metrics", "-o", "metrics.xyz"]).contains("parquet"));
}
