//! Lists of images, and lists of classes.

use super::layouts::{tree, words};
use super::*;

#[test]
fn lists_of_openood() {
    let dir = tree(&["cifar/test/cat/1.png", "cifar/test/dog/2.png", "texture/a b.jpg"]);
    let list = |name: &str, text: &str| -> PathBuf {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let train = list(
        "train_cifar.txt",
        "cifar/test/cat/1.png 0\ncifar/test/dog/2.png 1\n",
    );
    let texture = list("test_texture.txt", "\u{feff}texture/a b.jpg -1\r\n\r\n");
    let reading = |lists: &[(&str, &PathBuf)]| Reading {
        lists: lists
            .iter()
            .map(|(split, list)| ((*split).to_owned(), (*list).clone()))
            .collect(),
        ..Reading::default()
    };
    let found = describe(dir.path(), &reading(&[("train", &train), ("test", &texture)])).unwrap();
    assert_eq!(
        (found.kind, words(&found)),
        (Kind::ImageList, "test 1, train 2 [0 1]".to_owned())
    );
    // Names of classes, numbered over all lists, or by a table that knows names and folders.
    let train = list("train_names.txt", "cifar/test/dog/2.png dog\n");
    let test = list(
        "test_names.csv",
        "path,label\ncifar/test/cat/1.png,cat\ntexture/a b.jpg,dog\n",
    );
    let lists = [("train", &train), ("test", &test)];
    let described = |reading: &Reading| describe(dir.path(), reading).map(|found| words(&found));
    assert_eq!(
        described(&reading(&lists)).unwrap(),
        "test 2 [cat dog], train 1 [dog]"
    );
    let table = |classes: &[(&str, &str)]| Reading {
        classes: (classes.iter())
            .map(|(folder, name)| ClassFolder {
                folder: (*folder).to_owned(),
                name: (*name).to_owned(),
            })
            .collect(),
        ..reading(&lists)
    };
    let named = described(&table(&[("n1", "dog"), ("cat", "kitten")])).unwrap();
    assert_eq!(named, "test 2 [dog kitten], train 1 [dog]");
    let said = described(&table(&[("n1", "dog")])).unwrap_err().to_string();
    assert!(
        said.contains("test_names.csv, line 2: `cat` is none of the classes"),
        "{said}"
    );
    let mixed = list("mixed.txt", "cifar/test/cat/1.png cat\ncifar/test/dog/2.png 1\n");
    let said = described(&reading(&[("all", &mixed)])).unwrap_err().to_string();
    assert!(said.contains("mixed.txt, line 2"), "{said}");
    for again in ["0", "1"] {
        let text = format!("path,label\ncifar/test/cat/1.png,0\n./cifar/test/cat/1.png,{again}\n");
        let twice = list("twice.csv", &text);
        let said = described(&reading(&[("all", &twice)])).unwrap_err().to_string();
        assert!(
            said.contains("twice.csv, line 3: ./cifar/test/cat/1.png stands in line 2, too"),
            "{said}"
        );
    }
    let absent = list("absent.txt", "cifar/none.png 0\n");
    let error = describe(dir.path(), &reading(&[("all", &absent)]))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("absent.txt, line 1") && error.contains("none.png"),
        "{error}"
    );
}

#[test]
fn a_list_of_classes_knows_folders_by_any_normal_form() {
    let dir = tree(&["cafe\u{301}/x.png", "bar/y.png"]);
    let class = |name: &str| ClassFolder {
        folder: name.into(),
        name: name.into(),
    };
    let reading = Reading {
        classes: vec![class("caf\u{e9}"), class("bar")],
        ..Reading::default()
    };
    assert_eq!(
        words(&describe(dir.path(), &reading).unwrap()),
        "all 2 [caf\u{e9} bar]"
    );
}

#[test]
fn a_list_of_classes_finds_them_in_every_split_and_mixes_none() {
    let class = |name: &str| ClassFolder {
        folder: name.into(),
        name: name.into(),
    };
    let of_list = |files: &[&str]| {
        let reading = Reading {
            classes: vec![class("b"), class("a")],
            ..Reading::default()
        };
        let found = describe(tree(files).path(), &reading);
        found
            .map(|found| words(&found))
            .map_err(|error| error.to_string())
    };
    // An ImageNet as it is unpacked, with annotations in folders of the classes.
    let imagenet = [
        "Annotations/CLS-LOC/train/a/x.xml",
        "Annotations/CLS-LOC/train/b/x.xml",
        "Data/CLS-LOC/train/a/x.png",
        "Data/CLS-LOC/train/b/x.png",
        "Data/CLS-LOC/train/c/x.png",
        "Data/CLS-LOC/val/x.png",
    ];
    assert_eq!(of_list(&imagenet).unwrap(), "train 2 [b a]");
    let wrapped = [
        "train/images/a/x.png",
        "train/images/b/x.png",
        "test/images/a/y.png",
        "test/images/b/y.png",
    ];
    assert_eq!(of_list(&wrapped).unwrap(), "test 2 [b a], train 2 [b a]");
    let uneven = [
        "train/a/x.png",
        "train/b/x.png",
        "test/images/a/y.png",
        "test/images/b/y.png",
    ];
    assert_eq!(of_list(&uneven).unwrap(), "test 2 [b a], train 2 [b a]");
    let domains = [
        "photo/train/a/x.png",
        "photo/train/b/x.png",
        "sketch/train/a/y.png",
        "sketch/train/b/y.png",
    ];
    let said = of_list(&domains).unwrap_err();
    assert!(
        said.contains("photo/train and sketch/train would both be the split `train`"),
        "{said}"
    );
    let masks = [
        "train/images/a/x.png",
        "train/images/b/x.png",
        "train/masks/a/x.png",
        "train/masks/b/x.png",
    ];
    assert!(
        of_list(&masks)
            .unwrap_err()
            .contains("train/images and train/masks")
    );
}

fn listing(classes: &[(&str, &str)], partial: bool) -> Reading {
    let class = |(folder, name): &(&str, &str)| ClassFolder {
        folder: (*folder).to_owned(),
        name: (*name).to_owned(),
    };
    Reading {
        classes: classes.iter().map(class).collect(),
        partial,
        ..Reading::default()
    }
}

#[test]
fn a_set_of_some_classes_is_read_where_that_is_said() {
    let dir = tree(&["imagenet-r/n3/a.png", "imagenet-r/n1/b.png"]);
    let classes = [("n1", "tench"), ("n2", "hen"), ("n3", "cat")];
    let said = describe(dir.path(), &listing(&classes, false))
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("no directory n2 of the class hen (`--partial`"),
        "{said}"
    );
    let found = describe(dir.path(), &listing(&classes, true)).unwrap();
    assert_eq!(words(&found), "imagenet-r 2 [tench cat]");
    assert_eq!(found.classes, ["tench", "cat"]);
    // As it is read again, by the classes that are there.
    let there = describe(dir.path(), &listing(&[classes[0], classes[2]], false)).unwrap();
    assert_eq!(there.digest, found.digest);
    assert!(describe(dir.path(), &listing(&[("n7", "owl")], true)).is_err());
}

#[test]
fn directories_of_numbers_are_the_classes_of_a_list_in_its_order() {
    let files: Vec<String> = (0..12).map(|class| format!("{class}/a.png")).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let dir = tree(&files);
    let names: Vec<String> = (0..12).map(|class| format!("n{class:02}")).collect();
    let classes: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), name.as_str())).collect();
    let found = describe(dir.path(), &listing(&classes, false)).unwrap();
    assert_eq!(found.classes, names);
    let set = Images::open(dir.path(), &listing(&classes, false), "all", &[]).unwrap();
    let around = describe(
        tree(&["v2/0/a.png", "v2/1/b.png"]).path(),
        &listing(&classes[..2], false),
    );
    assert_eq!(around.unwrap().classes, names[..2]);
    let of_ten = (0..12)
        .find(|image| set.name(*image).is_some_and(|name| name.starts_with("10/")))
        .unwrap();
    assert_eq!(set.labels().unwrap()[of_ten], 10);
    // Of another number of classes they say nothing.
    assert!(describe(dir.path(), &listing(&classes[..11], false)).is_err());
}

#[test]
fn folders_of_splits_without_a_class_of_the_list_are_told() {
    let dir = tree(&["train/n1/a.png", "train/n2/b.png", "val/c.png", "notes/d.png"]);
    let found = preview(dir.path(), &listing(&[("n1", "tench"), ("n2", "hen")], false)).unwrap();
    assert_eq!(found.unread, ["the folder val, which has none of the classes"]);
    assert_eq!(found.splits.len(), 1);
}
