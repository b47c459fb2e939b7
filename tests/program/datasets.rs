//! Data sets by name: checked, shown before they are read, renamed, forgotten.

use crate::support::{bad, data, dream, folder, good};

#[test]
fn names_of_data_sets_are_checked() {
    let folder = folder();
    let path = folder.path();
    let set = data().join("ood/digits.parquet");
    let set = set.to_str().unwrap();
    for name in ["two words", "caf\u{e9}", "average", "-x"] {
        let said = bad(path, 2, &["dataset", "add", "--", name, set]);
        assert!(said.contains(name), "{said}");
    }
    good(path, &["-q", "dataset", "add", "digits", set]);
    assert!(bad(path, 2, &["dataset", "rename", "digits", "two words"]).contains("two words"));
    // Where sets are named no run is: it may look like an id.
    good(path, &["-q", "dataset", "rename", "digits", "c100"]);
}

/// A split is named on the command line and in files that are called by it, as a set is.
#[test]
fn names_of_splits_are_checked() {
    let folder = folder();
    let path = folder.path();
    std::fs::write(path.join("train_a.txt"), "a.png 0\n").unwrap();
    for list in ["=train_a.txt", "a b=train_a.txt", "average=train_a.txt"] {
        for extra in [&["--dry-run"][..], &[]] {
            let add = ["dataset", "add", "garments", ".", "--list", list];
            let said = bad(path, 2, &[&add[..], extra].concat());
            assert!(said.contains(list) && said.contains("a split"), "{said}");
        }
    }
    assert!(!path.join("dream.redb").exists());
}

#[test]
fn a_dry_run_shows_and_registers_nothing() {
    let folder = folder();
    let path = folder.path();
    let set = data().join("fashion-mini");
    let shown = good(
        path,
        &["dataset", "add", "fashion", set.to_str().unwrap(), "--dry-run"],
    );
    assert!(
        shown.contains("parquet") && shown.contains("train") && shown.contains("4800"),
        "{shown}"
    );
    let json = good(
        path,
        &[
            "dataset",
            "add",
            "fashion",
            set.to_str().unwrap(),
            "--dry-run",
            "--format",
            "json",
        ],
    );
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["splits"][1]["images"], 4800);
    assert!(!path.join("dream.redb").exists());
}

#[test]
fn sets_are_renamed_and_forgotten() {
    let folder = folder();
    let path = folder.path();
    let set = data().join("ood/digits.parquet");
    let set = set.to_str().unwrap();
    good(path, &["-q", "dataset", "add", "digits", set]);
    good(
        path,
        &[
            "-q",
            "dataset",
            "add",
            "letters",
            data().join("ood/letters.parquet").to_str().unwrap(),
        ],
    );
    assert!(bad(path, 2, &["dataset", "rename", "digits", "letters"]).contains("letters"));
    good(path, &["dataset", "rename", "digits", "numbers"]);
    assert!(bad(path, 2, &["dataset", "show", "digits"]).contains("digits"));
    let shown = dream(path, &["dataset", "rm", "numbers"]);
    let said = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.status.code() == Some(1) && said.contains("--yes"), "{said}");
    assert!(good(path, &["dataset", "ls"]).contains("numbers"));
    good(path, &["dataset", "rm", "numbers", "--yes"]);
    assert!(!good(path, &["dataset", "ls"]).contains("numbers"));
    assert!(std::path::Path::new(set).exists());
}

#[test]
fn splits_of_different_classes_are_refused() {
    let folder = folder();
    let path = folder.path();
    let set = data().join("ood/digits.parquet");
    let bytes = std::fs::read(set).unwrap();
    let start = bytes.windows(8).position(|w| w == b"\x89PNG\r\n\x1a\n").unwrap();
    let end = bytes.windows(8).position(|w| w == b"IEND\xaeB`\x82").unwrap() + 8;
    for file in ["train/a", "train/b", "test/a"] {
        std::fs::create_dir_all(path.join("set").join(file)).unwrap();
        std::fs::write(path.join("set").join(file).join("x.png"), &bytes[start..end]).unwrap();
    }
    let said = bad(path, 2, &["dataset", "add", "set", "set"]);
    assert!(
        said.contains("test has no b") && said.contains("--classes"),
        "{said}"
    );
    std::fs::write(path.join("classes.csv"), "name,token_word\na,a\nb,b\n").unwrap();
    good(
        path,
        &["-q", "dataset", "add", "set", "set", "--classes", "classes.csv"],
    );
}
