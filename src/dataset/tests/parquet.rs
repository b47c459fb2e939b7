//! Parquet files of images.

use super::layouts::{read, tree, words};
use super::*;

#[test]
fn parquet_in_every_compression() {
    let digest = |name: &str| {
        let found = describe(
            &fixture(&format!("compressed/{name}.parquet")),
            &Reading::default(),
        );
        found.unwrap_or_else(|e| panic!("{name}: {e}")).digest
    };
    let wanted = digest("none");
    for codec in ["gzip", "brotli", "lz4", "snappy", "zstd"] {
        assert_eq!(digest(codec), wanted, "{codec}");
    }
}

#[test]
fn labels_that_are_none_or_too_large() {
    for name in ["minus", "null"] {
        let found = describe(
            &fixture(&format!("compressed/label_{name}.parquet")),
            &Reading::default(),
        )
        .unwrap();
        assert_eq!(
            (words(&found), found.classes.len()),
            ("all 4".to_owned(), 0),
            "{name}"
        );
    }
    let error = describe(&fixture("compressed/label_far.parquet"), &Reading::default()).unwrap_err();
    assert!(
        matches!(
            error,
            DatasetError::FarLabel {
                label: 2_000_000_000,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn the_column_that_a_parquet_files_metadata_declares_is_that_of_its_classes() {
    use std::sync::Arc;

    use ::arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch};
    use ::parquet::file::metadata::KeyValue;

    let dir = tree(&["x.png"]);
    let picture = fs::read(dir.path().join("x.png")).unwrap();
    let path = dir.path().join("train.parquet");
    let read = |labels: &[&str], declared: &[&str]| {
        let image: ArrayRef = Arc::new(BinaryArray::from(vec![&picture[..]; 2]));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 0]));
        let columns = labels.iter().map(|name| (*name, numbers.clone()));
        let batch = RecordBatch::try_from_iter(std::iter::once(("image", image)).chain(columns)).unwrap();
        let label = serde_json::json!({ "_type": "ClassLabel", "names": ["cat", "dog"] });
        let features: serde_json::Map<_, _> = declared
            .iter()
            .map(|name| ((*name).to_owned(), label.clone()))
            .collect();
        let text = serde_json::json!({ "info": { "features": features } }).to_string();
        let properties = ::parquet::file::properties::WriterProperties::builder();
        let properties =
            properties.set_key_value_metadata(Some(vec![KeyValue::new("huggingface".to_owned(), text)]));
        let file = fs::File::create(&path).unwrap();
        let mut writer =
            ::parquet::arrow::ArrowWriter::try_new(file, batch.schema(), Some(properties.build())).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        self::read(&path).map_err(|error| error.to_string())
    };
    assert_eq!(read(&["kind"], &["kind"]).unwrap(), "train 2 [cat dog]");
    assert_eq!(read(&["Label"], &[]).unwrap(), "train 2 [0 1]");
    assert_eq!(read(&["target"], &[]).unwrap(), "train 2 [0 1]");
    assert_eq!(read(&["number"], &[]).unwrap(), "train 2");
    let two = read(&["coarse", "fine"], &["coarse", "fine"]).unwrap_err();
    assert!(two.contains("coarse, fine"), "{two}");
}

#[test]
fn labels_of_parquet_are_numbers_or_names() {
    use std::sync::Arc;

    use ::arrow::array::{ArrayRef, BinaryArray, Float64Array, RecordBatch, StringArray};

    let dir = tree(&["x.png"]);
    let picture = fs::read(dir.path().join("x.png")).unwrap();
    fs::remove_file(dir.path().join("x.png")).unwrap();
    let write = |file: &str, labels: ArrayRef| {
        let image: ArrayRef = Arc::new(BinaryArray::from(vec![&picture[..]; labels.len()]));
        let batch = RecordBatch::try_from_iter([("image", image), ("label", labels)]).unwrap();
        let file = fs::File::create(dir.path().join(file)).unwrap();
        let mut writer = ::parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    };
    let names = |names: &[&str]| -> ArrayRef { Arc::new(StringArray::from(names.to_vec())) };
    let labels = |split: &str| {
        let images = Images::open(dir.path(), &Reading::default(), split, &[]).unwrap();
        images.labels().unwrap().to_vec()
    };
    // The names of both files, in order.
    write("train.parquet", names(&["dog", "ant"]));
    write("test.parquet", names(&["cat", "dog"]));
    assert_eq!(read(dir.path()).unwrap(), "test 2 [cat dog], train 2 [ant dog]");
    assert_eq!(labels("train"), [2, 0]);
    assert_eq!(labels("test"), [1, 2]);
    // As pandas writes integers once one was missing.
    write("test.parquet", Arc::new(Float64Array::from(vec![1.0, 0.0])));
    let mixed = read(dir.path()).unwrap_err().to_string();
    assert!(mixed.contains("numbers in some of its files"), "{mixed}");
    write("train.parquet", Arc::new(Float64Array::from(vec![0.0, 2.0])));
    assert_eq!(labels("test"), [1, 0]);
    write("train.parquet", Arc::new(Float64Array::from(vec![0.5, 2.0])));
    let half = read(dir.path()).unwrap_err().to_string();
    assert!(
        half.contains("0.5") && half.contains("numbers or names of classes"),
        "{half}"
    );
}
