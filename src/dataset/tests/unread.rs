//! What lies beside pictures and is not read is told, and names that lead astray are refused.

use std::fs;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch};

use super::archives::tar;
use super::layouts::{read, tree};
use super::png;
use crate::dataset::{ClassFolder, DatasetError, Kind, Reading, preview};

fn unread(path: &std::path::Path) -> Vec<String> {
    preview(path, &Reading::default()).unwrap().unread
}

#[test]
fn tables_beside_pictures_without_labels_are_told() {
    let kaggle = tree(&["train/1.png", "train/2.png", "trainLabels.csv", "README.md"]);
    assert_eq!(unread(kaggle.path()), ["the file trainLabels.csv"]);
    // Of classes that directories say, a table may say the splits.
    let labelled = tree(&["cat/1.png", "dog/2.png", "train.txt", "README.txt"]);
    assert_eq!(unread(labelled.path()), ["the file train.txt"]);
    let table = tree(&["0.png", "1.png"]);
    fs::write(
        table.path().join("metadata.csv"),
        "filename,class\n0.png,cat\n1.png,dog\n",
    )
    .unwrap();
    assert_eq!(read(table.path()).unwrap(), "all 2 [cat dog]");
    assert_eq!(unread(table.path()), [""; 0]);
    fs::write(
        table.path().join("metadata.csv"),
        "file_name,text\n0.png,a cat\n1.png,a dog\n",
    )
    .unwrap();
    assert_eq!(unread(table.path()), ["the file metadata.csv"]);
}

#[test]
fn columns_of_a_table_of_labels_that_are_not_read_are_told() {
    let dir = tree(&["0.png", "1.png"]);
    let csv = dir.path().join("metadata.csv");
    let told = |columns: &[&str], table: &str| {
        let column = |name: &&str| format!("the column {name} in {table}");
        assert_eq!(
            unread(dir.path()),
            columns.iter().map(column).collect::<Vec<_>>(),
            "{table}"
        );
    };
    fs::write(
        &csv,
        "file_name,label,class,caption\n0.png,cat,a,x\n1.png,dog,b,y\n",
    )
    .unwrap();
    told(&["caption", "class"], "metadata.csv");
    // Names of the classes are read beside numbers, and are not beside names.
    fs::write(&csv, "file_name,label,class_name\n0.png,0,cat\n1.png,1,dog\n").unwrap();
    told(&[], "metadata.csv");
    fs::write(&csv, "file_name,label,class_name\n0.png,a,cat\n1.png,b,dog\n").unwrap();
    told(&["class_name"], "metadata.csv");
    fs::write(&csv, ",file_name,label\n0,0.png,a\n1,1.png,b\n").unwrap();
    assert_eq!(unread(dir.path()), ["a column without a name in metadata.csv"]);
    fs::remove_file(&csv).unwrap();
    let lines = "{\"file_name\": \"0.png\", \"label\": 1, \"text\": \"x\"}
        {\"file_name\": \"1.png\", \"label\": 0, \"class\": 5}";
    fs::write(dir.path().join("metadata.jsonl"), lines).unwrap();
    told(&["class", "text"], "metadata.jsonl");
}

#[test]
fn a_table_beside_folders_and_other_tables_says_what_it_overrules() {
    let dir = tree(&["a/0.png", "a/1.png", "b/2.png", "b/3.png"]);
    let csv = dir.path().join("metadata.csv");
    let says = |labels: [&str; 4]| {
        let [w, x, y, z] = labels;
        let text = format!("file_name,label\na/0.png,{w}\na/1.png,{x}\nb/2.png,{y}\nb/3.png,{z}\n");
        fs::write(&csv, text).unwrap();
        unread(dir.path())
    };
    assert_eq!(says(["x", "x", "y", "y"]), [""; 0]);
    let told = says(["x", "y", "x", "y"]);
    assert!(
        told[0].starts_with("the names of folders") && told[0].contains("`a`"),
        "{told:?}"
    );
    // Whole numbers, also as fractions, stand in the order of numbers.
    assert_eq!(says(["10.0", "2.0", "0.0", "10.0"]).len(), 1);
    assert_eq!(read(dir.path()).unwrap(), "all 4 [0 2 10]");
    fs::write(
        dir.path().join("metadata.jsonl"),
        "{\"file_name\": \"a/0.png\", \"label\": 1}",
    )
    .unwrap();
    let said = preview(dir.path(), &Reading::default()).unwrap_err().to_string();
    assert!(said.contains("metadata.csv and metadata.jsonl"), "{said}");
}

#[test]
fn columns_beside_pictures_are_labels_or_told() {
    let dir = tempfile::tempdir().unwrap();
    let with = |column: &str, end: &str| {
        let pictures = [png(2, 1, &[1, 7]), png(2, 1, &[2, 7])];
        let images: ArrayRef = Arc::new(BinaryArray::from_iter_values(&pictures));
        let labels: ArrayRef = Arc::new(Int64Array::from(vec![1, 0]));
        let batch = RecordBatch::try_from_iter([("image", images), (column, labels)]).unwrap();
        let path = dir.path().join(format!("set.{end}"));
        let file = fs::File::create(&path).unwrap();
        let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        path
    };
    for column in ["y", "label_id", "class_name", "gt"] {
        let path = with(column, "parquet");
        assert_eq!(read(&path).unwrap(), "all 2 [0 1]", "{column}");
        assert_eq!(unread(&path), [""; 0], "{column}");
    }
    let path = with("diagnosis", "PARQUET");
    assert_eq!(unread(&path), ["the column diagnosis (Int64)"]);
    assert_eq!(Kind::guess(dir.path()).unwrap(), Kind::Parquet);
}

#[test]
fn a_dry_run_refuses_what_is_refused_and_counts_all_classes() {
    let uneven = tree(&["train/cat/1.png", "train/dog/2.png", "test/cat/3.png"]);
    let refused = preview(uneven.path(), &Reading::default());
    assert!(
        matches!(refused, Err(DatasetError::ClassSets { .. })),
        "{refused:?}"
    );
    let dir = tree(&["1.png", "2.png"]);
    let list = dir.path().join("train.txt");
    fs::write(&list, "1.png 0\n2.png 10\n").unwrap();
    let reading = Reading {
        lists: [("train".to_owned(), list)].into(),
        ..Reading::default()
    };
    let found = preview(dir.path(), &reading).unwrap();
    assert_eq!((found.count, found.splits[0].classes), (11, Some(2)));
}

#[test]
fn a_folder_called_almost_as_a_class_of_the_list_is_not_passed_over() {
    let class = |name: &str| ClassFolder {
        folder: name.to_owned(),
        name: name.to_owned(),
    };
    let reading = Reading {
        classes: vec![class("cat"), class("dog")],
        ..Reading::default()
    };
    let cased = tree(&[
        "train/cat/1.png",
        "train/dog/2.png",
        "test/Cat/3.png",
        "test/dog/4.png",
    ]);
    let said = preview(cased.path(), &reading).unwrap_err().to_string();
    assert!(
        said.contains("names the directory cat, and in test it is called Cat"),
        "{said}"
    );
    let more = tree(&["train/cat/1.png", "train/dog/2.png", "train/fox/3.png"]);
    assert_eq!(preview(more.path(), &reading).unwrap().splits[0].images, 2);
}

#[test]
fn names_of_classes_that_cannot_be_told_apart_are_refused() {
    for (first, second, said) in [
        ("cat", "cat ", "which look the same"),
        ("fish", "\u{fb01}sh", "which look the same"),
        ("caf\u{e9}", "cafe\u{301}", "Unicode's normal form"),
        ("cat", "do\ng", "a name is text in one line"),
    ] {
        let names = [first, second].map(|name| format!("{name}/1.png"));
        let dir = tree(&names.each_ref().map(String::as_str));
        let error = read(dir.path()).unwrap_err().to_string();
        assert!(error.contains(said), "{second:?}: {error}");
    }
}

#[test]
fn a_folder_of_shards_is_one_set() {
    let whole = tree(&["a/1.png", "b/2.png"]);
    let shards = tempfile::tempdir().unwrap();
    for name in ["train-000000.tar", "train-000001.tar"] {
        fs::write(shards.path().join(name), tar(whole.path())).unwrap();
    }
    assert_eq!(read(shards.path()).unwrap(), "train 4 [a b]");
    let first = &preview(shards.path(), &Reading::default()).unwrap().splits[0].first;
    assert_eq!(first[0], "train-000000.tar/a/1.png");
    let other = tree(&["a/1.png", "c/2.png"]);
    fs::write(shards.path().join("train-000002.tar"), tar(other.path())).unwrap();
    let said = read(shards.path()).unwrap_err().to_string();
    assert!(said.contains("train-000000.tar and train-000002.tar"), "{said}");
}

#[test]
fn what_lies_beside_the_pictures_of_shards_is_told() {
    let beside = tree(&["1.png", "2.png", "labels.csv"]);
    let shards = tempfile::tempdir().unwrap();
    fs::write(shards.path().join("train-000000.tar"), tar(beside.path())).unwrap();
    assert_eq!(read(shards.path()).unwrap(), "train 2");
    assert_eq!(unread(shards.path()), ["the file set/labels.csv"]);
}

#[test]
fn members_that_lead_out_of_an_archive_are_read_as_tar_unpacks_them() {
    let mut out = ::tar::Builder::new(Vec::new());
    for (name, grey) in [("../set/a/1.png", 1), ("/set/b/2.png", 2), ("set/b/3.png", 3)] {
        let bytes = png(2, 1, &[grey, 7]);
        let mut header = ::tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        out.append(&header, bytes.as_slice()).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("set.tar");
    fs::write(&path, out.into_inner().unwrap()).unwrap();
    assert_eq!(read(&path).unwrap(), "all 3 [a b]");
}
