//! Diffusion models in their several forms, and class words of several tokens, as a user meets them.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{bad, copy, dream, folder, good, json};

fn fixture(name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/diffusion");
    fixtures.join(name).canonicalize().unwrap()
}

#[test]
fn a_checkpoint_file_needs_its_tokenizer() {
    let folder = folder();
    let path = folder.path();
    let model = fixture("mini/model.ckpt").display().to_string();
    let add = ["dataset", "add", "mini", &model];
    let said = bad(path, 2, &add);
    assert!(
        said.contains("--tokenizer DIR") && said.contains("tokenizer.json"),
        "{said}"
    );
    let tokenizer = fixture("tiny/tokenizer").display().to_string();
    good(path, &[&add[..], &["--tokenizer", &tokenizer]].concat());
    let run = good(
        path,
        &["embed", "-q", "--model", "mini", "--words", "shoe", "dog"],
    );
    let rows = json(path, &["query", "class_embeddings", "--run", run.trim()]);
    assert_eq!(rows.len(), 2);
    let shown = json(path, &["dataset", "show", "mini"]);
    assert_eq!(rows[0]["model"], shown[0]["digest"]);
    assert_eq!(
        (&shown[0]["path"], &shown[0]["tokenizer"]),
        (&model.clone().into(), &tokenizer.clone().into())
    );
    // By its path it is the one that is registered, with its tokenizer.
    let by_path = ["embed", "-q", "--model", &model, "--words", "shoe", "dog"];
    assert_eq!(good(path, &by_path), run);
    assert_eq!(json(path, &["dataset", "ls"]).len(), 1);
    // A folder of pictures has no tokenizer.
    let pictures = fixture("..").join("dataset/shapes").display().to_string();
    let said = bad(
        path,
        2,
        &["dataset", "add", "x", &pictures, "--tokenizer", &tokenizer],
    );
    assert!(said.contains("only a diffusion model"), "{said}");
}

#[test]
fn a_word_of_several_tokens_is_embedded_as_asked() {
    let folder = folder();
    let path = folder.path();
    let embed = |extra: &[&str]| {
        let args = [&["embed", "-q", "--words", "sandal", "sandalboot"], extra].concat();
        let run = good(path, &args).trim().to_owned();
        let rows = json(path, &["query", "class_embeddings", "--run", &run]);
        assert_eq!(rows.len(), 2);
        (run, rows)
    };
    let said = bad(path, 2, &["embed", "-q", "--words", "sandal", "sandalboot"]);
    assert!(
        said.contains("sandalboot") && said.contains("--tokens first"),
        "{said}"
    );
    let ((first_run, first), (mean_run, mean)) =
        (embed(&["--tokens", "first"]), embed(&["--tokens", "mean"]));
    assert_ne!(first_run, mean_run);
    let vector = |row: &Value| -> Vec<f64> {
        row["vector"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_f64().unwrap())
            .collect()
    };
    // One token: the same row in any case. Several: the first token is on record, the vector is what was
    // asked for.
    for key in ["token_id", "vector", "norm"] {
        assert_eq!(first[0][key], mean[0][key]);
    }
    assert_eq!(first[1]["token_id"], mean[1]["token_id"]);
    assert_ne!(vector(&first[1]), vector(&mean[1]));
    // What a class needs is asked for before the first picture of any.
    let runs = good(path, &["ls"]);
    let pictures = [
        "imagine",
        "-q",
        "--plain",
        "--per-class",
        "1",
        "--embeddings",
        &first_run,
    ];
    let said = bad(path, 2, &pictures);
    assert!(
        said.contains("sandalboot") && said.contains("--tokens first"),
        "{said}"
    );
    assert_eq!(good(path, &["ls"]), runs);
    // A class table without rare words gives the run it always gave.
    let plain = good(path, &["embed", "-q", "--words", "sandal"]);
    assert_eq!(
        plain,
        good(path, &["embed", "-q", "--words", "sandal", "--tokens", "one"])
    );
    let said = bad(path, 2, &["embed", "-q", "--words", "sandal", "--tokens", "last"]);
    assert!(said.contains("last"), "{said}");
}

#[test]
fn a_model_is_named_by_its_path_and_found_where_it_is() {
    let folder = folder();
    let path = folder.path();
    let moved = path.join("moved");
    let model = path.join("here/tiny-model");
    copy(&fixture("tiny"), &model);
    let embed = [
        "embed", "-q", "--words", "shoe", "dog", "--alias", "emb", "--model",
    ];
    let run = good(path, &[&embed[..], &["here/tiny-model"]].concat());
    let names = || -> Vec<String> {
        let rows = json(path, &["dataset", "ls"]);
        rows.iter()
            .map(|row| row["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(), ["tiny-model"]);
    // Again by another spelling, and by the name that it got: the same run, nothing registered.
    for name in ["./here/../here/tiny-model", "tiny-model"] {
        assert_eq!(good(path, &[&embed[..], &[name]].concat()), run);
    }
    assert_eq!(names(), ["tiny-model"]);
    let said = bad(path, 2, &[&embed[..], &["nowhere/tiny"]].concat());
    assert!(said.contains("nowhere/tiny"), "{said}");

    // Moved and registered again under another name: that one is taken, whichever comes first.
    std::fs::rename(&model, &moved).unwrap();
    let pictures = [
        "imagine",
        "-q",
        "--embeddings",
        "emb",
        "--plain",
        "--per-class",
        "1",
        "--steps",
        "2",
        "--prompt",
        "a photo of the <class>",
        "--model",
    ];
    let by_old = [&pictures[..], &["tiny-model"]].concat();
    assert!(bad(path, 2, &by_old).contains("tiny-model"));
    good(path, &["dataset", "add", "z", "moved"]);
    let run = good(path, &[&pictures[..], &["z"]].concat());
    good(path, &["regenerate", "--run", run.trim(), "--from-noise"]);
    // Finished, it is answered without any model.
    std::fs::remove_dir_all(&moved).unwrap();
    let out = dream(path, &[&pictures[..], &["z"]].concat());
    assert!(out.status.success() && String::from_utf8_lossy(&out.stdout) == run);
}
