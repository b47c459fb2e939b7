//! Arrow files, as Hugging Face's datasets and pyarrow wrote them
//! (tests/fixtures/dataset/make_more_doors.py).

use super::layouts::read;
use super::*;

/// Copies files of the fixture `arrow` to where they are said to be.
fn copied(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (from, to) in files {
        let to = dir.path().join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(fixture("arrow").join(from), to).unwrap();
    }
    dir
}

const TRAIN: [&str; 2] = [
    "dict/train/data-00000-of-00002.arrow",
    "dict/train/data-00001-of-00002.arrow",
];
const TEST: &str = "dict/test/data-00000-of-00001.arrow";

#[test]
fn what_save_to_disk_wrote_is_the_set_that_was_saved() {
    let wanted = describe(&fixture("shapes"), &Reading::default()).unwrap();
    let found = describe(&fixture("arrow/dict"), &Reading::default()).unwrap();
    assert_eq!(found.kind, Kind::Arrow);
    assert_eq!(found.digest, wanted.digest);
    assert_eq!((found.splits, found.classes), (wanted.splits, wanted.classes));
    assert_eq!(
        read(&fixture("arrow/dict/train")).unwrap(),
        "train 6 [circle square star]"
    );
    // One of its shards.
    assert_eq!(
        read(&fixture("arrow").join(TRAIN[0])).unwrap(),
        "train 3 [circle square star]"
    );
}

#[test]
fn the_cache_is_read_as_the_set_that_was_loaded() {
    let cache = "repo/default/0.0.0/56220a5f86e299f1";
    let in_cache = |name: &str| format!("{cache}/{name}");
    let [one, two, test, other] = [
        "repo-train-00000-of-00002.arrow",
        "repo-train-00001-of-00002.arrow",
        "repo-brightness.arrow",
        "cache-c89361793b8c51d6.arrow",
    ]
    .map(in_cache);
    let dir = copied(&[(TRAIN[0], &one), (TRAIN[1], &two), (TEST, &test), (TEST, &other)]);
    fs::write(dir.path().join(in_cache("../56220a5f86e299f1_builder.lock")), "").unwrap();
    let wanted = "repo-brightness 4 [circle square star], train 6 [circle square star]";
    assert_eq!(read(&dir.path().join("repo")).unwrap(), wanted);
    // A split of any name, where the set says it.
    fs::write(
        dir.path().join(in_cache("dataset_info.json")),
        r#"{"splits": {"train": {}, "brightness": {}}}"#,
    )
    .unwrap();
    assert_eq!(
        read(&dir.path().join(cache)).unwrap(),
        wanted.replace("repo-", "")
    );
    fs::remove_file(dir.path().join(&two)).unwrap();
    let error = read(&dir.path().join("repo")).unwrap_err().to_string();
    assert!(error.contains("repo-train-00001-of-00002.arrow"), "{error}");
}

#[test]
fn arrow_in_both_forms_with_names_and_columns_of_other_shapes() {
    let names = fixture("arrow/names.arrow");
    assert_eq!(read(&names).unwrap(), "all 4 [circle square star]");
    let images = Images::open(&names, &Reading::default(), "all", &[]).unwrap();
    assert_eq!(images.labels(), Some(&[0, 1, 2, 0][..]));
    // The pictures of the set that it was made of.
    let whole = Images::open(&fixture("shapes"), &Reading::default(), "test", &[]).unwrap();
    for number in 0..4 {
        assert_eq!(images.decode(number).unwrap(), whole.decode(number).unwrap());
    }
    // Its third row has no picture.
    let large = fixture("arrow/large.arrow");
    let error = read(&large).unwrap_err();
    assert!(
        matches!(&error, DatasetError::Image { name, .. } if name == "2"),
        "{error}"
    );
    let skipping = Reading {
        skip_bad: true,
        ..Reading::default()
    };
    let found = describe(&large, &skipping).unwrap();
    assert_eq!((found.splits["all"], found.skipped["all"][0].index), (3, 2));
    let unread = found.unread.join("; ");
    assert!(unread.contains("caption") && unread.contains("tags"), "{unread}");
    let images = Images::open(&large, &skipping, "all", &[]).unwrap();
    assert_eq!(images.decode(1).unwrap(), whole.decode(1).unwrap());
}

#[test]
fn arrow_that_is_not_whole_or_not_read_says_so() {
    let packed = read(&fixture("arrow/packed.feather")).unwrap_err().to_string();
    assert!(packed.contains("uncompressed"), "{packed}");
    // As Polars begins a file: with a schema that no length stands before.
    let dir = tempfile::tempdir().unwrap();
    let polars = dir.path().join("set.arrow");
    fs::write(&polars, b"ARROW1\0\0\x04\0\0\0\xf2\xff\xff\xff\x14\0\0\0").unwrap();
    let said = read(&polars).unwrap_err().to_string();
    assert!(
        said.contains("as in files of Polars: write it as Parquet"),
        "{said}"
    );
    let dict = |without: &str| {
        let files: Vec<&str> = [
            "dict/dataset_dict.json",
            "dict/train/state.json",
            "dict/test/state.json",
            TEST,
            TRAIN[0],
            TRAIN[1],
        ]
        .into_iter()
        .filter(|file| *file != without)
        .collect();
        copied(&files.iter().map(|file| (*file, *file)).collect::<Vec<_>>())
    };
    // A folder around the set is passed through.
    assert!(read(dict("").path()).is_ok());
    for (without, said) in [
        (TRAIN[1], "data-00001-of-00002.arrow"),
        ("dict/test/state.json", "test/state.json"),
    ] {
        let error = read(dict(without).path()).unwrap_err();
        assert!(matches!(error, DatasetError::Missing { .. }), "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
    let dir = dict("");
    let state = dir.path().join("dict/test/state.json");
    for (files, said) in [
        (r#"{"_data_files": [{"filename": "../x.arrow"}]}"#, "../x.arrow"),
        (r#"{"_data_files": []}"#, "names no file"),
        (
            r#"{"_indices_data_files": [{"filename": "indices.arrow"}]}"#,
            "flatten_indices",
        ),
    ] {
        fs::write(&state, files).unwrap();
        let error = read(dir.path()).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    // Cut anywhere, it is damaged: its end is marked.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.arrow");
    let whole = fs::read(fixture("arrow").join(TEST)).unwrap();
    for end in (1..whole.len()).step_by(7) {
        fs::write(&path, &whole[..end]).unwrap();
        let error = read(&path).unwrap_err();
        assert!(matches!(error, DatasetError::Corrupt { .. }), "{end}: {error}");
    }
}

/// Lengths that no file has: of a message's head, of its body, of a batch, of a column and of a buffer; also
/// those that end within a number.
#[test]
fn lengths_beyond_the_file_are_refused() {
    let whole = fs::read(fixture("arrow").join(TEST)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.arrow");
    for at in (0..whole.len() - 8).step_by(4) {
        let own = i64::from_le_bytes(whole[at..at + 8].try_into().unwrap());
        let near = [-3, -1, 1].map(|more| own.wrapping_add(more));
        for number in [i64::MAX, i64::from(i32::MAX), -1].into_iter().chain(near) {
            let mut bytes = whole.clone();
            bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
            fs::write(&path, &bytes).unwrap();
            // What is not asked for may be anything: some of these files can be read.
            let _ = read(&path);
        }
    }
}
