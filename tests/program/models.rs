//! Diffusion models in their several forms, and class words of several tokens, as a user meets them.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{bad, folder, good, json};

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
    let said = bad(path, 1, &add);
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
    assert!(
        shown[0]["path"].as_str().unwrap().contains(&tokenizer),
        "{shown:?}"
    );
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
    let said = bad(path, 1, &["embed", "-q", "--words", "sandal", "sandalboot"]);
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
    // One token: the same row in any case. Several: the first token is on record, the vector is what was asked for.
    for key in ["token_id", "vector", "norm"] {
        assert_eq!(first[0][key], mean[0][key]);
    }
    assert_eq!(first[1]["token_id"], mean[1]["token_id"]);
    assert_ne!(vector(&first[1]), vector(&mean[1]));
    // A class table without rare words gives the run it always gave.
    let plain = good(path, &["embed", "-q", "--words", "sandal"]);
    assert_eq!(
        plain,
        good(path, &["embed", "-q", "--words", "sandal", "--tokens", "one"])
    );
    let said = bad(path, 2, &["embed", "-q", "--words", "sandal", "--tokens", "last"]);
    assert!(said.contains("last"), "{said}");
}
