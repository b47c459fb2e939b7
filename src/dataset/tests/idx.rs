//! IDX files by other names than MNIST's.

use std::fs;
use std::path::Path;

use super::{idx_file, idx_set};
use crate::dataset::{Kind, Reading, describe};

/// The set of [`idx_set`] with other names before its splits, without its list of classes.
fn named_idx(dir: &Path, set: &str) {
    let plain = idx_set();
    for entry in fs::read_dir(plain.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name != "classes.txt" {
            let name = format!("{set}-{}", name.replace("t10k", "test"));
            fs::copy(&path, dir.join(name)).unwrap();
        }
    }
}

#[test]
fn idx_files_may_be_called_after_their_set() {
    let digest = |path: &Path| {
        let set = describe(path, &Reading::default()).unwrap();
        assert_eq!(
            (set.kind, set.splits["test"], set.splits["train"]),
            (Kind::Idx, 4, 6)
        );
        set.digest
    };
    let expected = digest(idx_set().path());
    let dir = tempfile::tempdir().unwrap();
    let raw = dir.path().join("EMNIST/raw");
    fs::create_dir_all(&raw).unwrap();
    named_idx(&raw, "emnist-letters");
    assert_eq!(digest(dir.path()), expected);
    assert_eq!(digest(&raw), expected);
    named_idx(&raw, "emnist-digits");
    let said = Kind::guess(dir.path()).unwrap_err().to_string();
    let digits = "EMNIST/raw/emnist-digits-train-images-idx3-ubyte.gz";
    let letters = "EMNIST/raw/emnist-letters-train-images-idx3-ubyte.gz";
    assert!(said.contains(&format!("{digits} and {letters}")), "{said}");
    assert_eq!(digest(&dir.path().join(letters)), expected);
    let said = describe(&raw, &Reading::of(Some(Kind::Idx))).unwrap_err();
    assert!(said.to_string().contains("name one of these"), "{said}");
}

#[test]
fn labels_of_qmnist_are_the_first_of_eight_numbers() {
    let dir = tempfile::tempdir().unwrap();
    named_idx(dir.path(), "qmnist");
    let expected = describe(dir.path(), &Reading::default()).unwrap();
    let old = dir.path().join("qmnist-test-labels-idx1-ubyte");
    let labels = fs::read(&old).unwrap().split_off(8);
    fs::remove_file(old).unwrap();
    let put = |of: &dyn Fn(u8) -> i32| {
        let numbers = labels.iter().flat_map(|label| [of(*label), 4, 7, 1, 2, 3, 0, 0]);
        let bytes: Vec<u8> = numbers.flat_map(i32::to_be_bytes).collect();
        let file = idx_file(0xc02, &[4, 8], &bytes);
        fs::write(dir.path().join("qmnist-test-labels-idx2-int"), file).unwrap();
        describe(dir.path(), &Reading::default())
    };
    let read = put(&i32::from).unwrap();
    assert_eq!(
        (read.digest, read.class_sizes),
        (expected.digest, expected.class_sizes)
    );
    let said = put(&|label| -i32::from(label) - 1).unwrap_err().to_string();
    assert!(said.contains("is no label"), "{said}");
}
