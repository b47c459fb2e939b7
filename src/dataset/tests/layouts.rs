//! Sets as they lie on disks: folders of every shape, archives, Tiny ImageNet, lists, SVHN, compressed
//! Parquet, and what is refused.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::archives::tar;
use super::{fixture, png};
use crate::dataset::{
    Channels, ClassFolder, DatasetError, Description, Images, Kind, Preparation, Reading, describe, place,
    preview,
};

/// A folder with these files: a PNG picture of its own each, or text where the name says so.
pub(super) fn tree(files: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (number, file) in files.iter().enumerate() {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let is_picture = [".png", ".jpg", ".JPEG"].iter().any(|end| file.ends_with(end));
        let bytes = match is_picture {
            true => png(2, 1, &[number as u8, 7]),
            false => b"text".to_vec(),
        };
        fs::write(path, bytes).unwrap();
    }
    dir
}

/// The splits in words: `train 3 [a b], test 2`.
pub(super) fn words(found: &Description) -> String {
    let split = |(name, count): (&String, &usize)| {
        let sizes = &found.class_sizes[name];
        let classes = found.classes.iter().zip(sizes).filter(|(_, n)| **n > 0);
        let classes = classes
            .map(|(class, _)| class.as_str())
            .collect::<Vec<_>>()
            .join(" ");
        match sizes.is_empty() {
            true => format!("{name} {count}"),
            false => format!("{name} {count} [{classes}]"),
        }
    };
    found.splits.iter().map(split).collect::<Vec<_>>().join(", ")
}

pub(super) fn read(path: &Path) -> Result<String, DatasetError> {
    describe(path, &Reading::default()).map(|found| words(&found))
}

#[test]
fn shapes_of_folders() {
    for (files, wanted) in [
        // Flat folders and flat sub-folders: LSUN, iSUN, Places365's validation images, Textures.
        (&["a.png", "b.jpg"][..], "all 2"),
        (&["iSUN_patches/a.png", "iSUN_patches/b.png"], "all 2"),
        (&["test/a.png", "test/b.png"], "test 2"),
        (&["train/a.png", "test/b.png", "test/c.png"], "test 2, train 1"),
        // DTD: images by class, lists beside them.
        (
            &[
                "images/banded/a.png",
                "images/dotted/b.png",
                "labels/train1.txt",
                "imdb/imdb.mat",
            ],
            "all 2 [banded dotted]",
        ),
        // An ImageNet with torchvision's `meta.bin`, a flat validation split, and what else lies about.
        (
            &[
                "train/n01/a.JPEG",
                "train/n02/b.JPEG",
                "val/c.JPEG",
                "meta.bin",
                "ILSVRC2012_devkit_t12/data/x.txt",
            ],
            "train 2 [n01 n02], val 1",
        ),
        (
            &[
                "ILSVRC/Data/CLS-LOC/train/n01/a.JPEG",
                "ILSVRC/Data/CLS-LOC/train/n02/b.JPEG",
                "ILSVRC/Data/CLS-LOC/test/c.JPEG",
                "ILSVRC/Annotations/n01/a.xml",
            ],
            "test 1, train 2 [n01 n02]",
        ),
        (
            &["train/a/x.png", "train/b/x.png", "test/x.png"],
            "test 1, train 2 [a b]",
        ),
        // Hidden folders and those of other programs.
        (
            &[
                "a/x.png",
                "b/y.png",
                "__MACOSX/a/._x.png",
                ".ipynb_checkpoints/x.png",
                "Thumbs.db",
                "desktop.ini",
            ],
            "all 2 [a b]",
        ),
        (
            &["a/x.png", "a/.ipynb_checkpoints/x.png", "b/._y.png", "b/y.png"],
            "all 2 [a b]",
        ),
        // Images below the directory of their class are its own, as for torchvision.
        (&["a/x.png", "a/more/y.png", "b/images/z.png"], "all 3 [a b]"),
        // Places365 by letters.
        (
            &["a/abbey/x.png", "b/bar/indoor/x.png", "b/bar/outdoor/x.png"],
            "all 3 [a/abbey b/bar/indoor b/bar/outdoor]",
        ),
        (
            &["amazon/bike/x.png", "webcam/bike/x.png"],
            "amazon 1 [bike], webcam 1 [bike]",
        ),
    ] {
        let dir = tree(files);
        assert_eq!(
            read(dir.path()).unwrap_or_else(|e| panic!("{files:?}: {e}")),
            wanted,
            "{files:?}"
        );
    }
}

#[test]
fn folders_that_say_what_is_wrong() {
    for (files, said) in [
        (&["a.png", "b/c.png"][..], "side by side"),
        (
            &["a/x.png", "b/c/y.png"],
            "some directories are classes and others splits",
        ),
        (
            &["train/a/x.png", "train/y.png", "test/a/x.png"],
            "beside its class directories",
        ),
        (&["train/a/x.png", "test/notes.txt"], "split test"),
        (
            &["set/train/data-00000-of-00001.arrow", "set/dataset_dict.json"],
            "dataset_dict.json is damaged",
        ),
        (&["images.zip", "readme.txt"], "archives"),
        (&["images.tar.gz", "readme.txt"], "images.tar.gz is damaged"),
        (&["cifar-10-c/snow.npy"], "NumPy"),
        (&["notes.txt"], "notes.txt"),
    ] {
        let error = read(tree(files).path()).unwrap_err().to_string();
        assert!(error.contains(said), "{files:?}: {error}");
    }
}

#[test]
fn class_names_in_two_normal_forms_are_refused() {
    let dir = tree(&[
        "train/caf\u{e9}/a.png",
        "train/bar/a.png",
        "test/cafe\u{301}/b.png",
        "test/bar/b.png",
    ]);
    let error = read(dir.path()).unwrap_err();
    assert!(matches!(error, DatasetError::Alike { .. }), "{error}");
    let said = error.to_string();
    assert!(
        said.contains("`cafe\\u{301}`") && said.contains("`caf\\u{e9}`"),
        "{said}"
    );
}

#[test]
fn tiny_imagenet_as_unzipped() {
    let dir = tree(&[
        "tiny/train/n02/images/n02_0.JPEG",
        "tiny/train/n01/images/n01_0.JPEG",
        "tiny/train/n01/images/n01_1.JPEG",
        "tiny/val/images/val_0.JPEG",
        "tiny/val/images/val_1.JPEG",
        "tiny/test/images/test_0.JPEG",
    ]);
    let put = |file: &str, text: &str| fs::write(dir.path().join("tiny").join(file), text).unwrap();
    put("wnids.txt", "n02\nn01\n");
    put(
        "words.txt",
        "n01\tgoldfish, Carassius auratus\nn02\tbullfrog, Rana\nn03\tentity\n",
    );
    put("train/n01/n01_boxes.txt", "n01_0.JPEG\t0\t0\t62\t62\n");
    put(
        "val/val_annotations.txt",
        "val_0.JPEG\tn02\t0\t32\t44\t62\nval_1.JPEG\tn01\t1\t1\t2\t2\n",
    );
    for path in [dir.path().to_owned(), dir.path().join("tiny")] {
        let found = describe(&path, &Reading::default()).unwrap();
        assert_eq!(
            words(&found),
            "test 1, train 3 [goldfish bullfrog], val 2 [goldfish bullfrog]"
        );
        let images = Images::open(&path, &Reading::default(), "val", &[]).unwrap();
        assert_eq!(
            (images.name(0), images.labels()),
            (Some("val_1.JPEG"), Some(&[0, 1][..]))
        );
    }
    // After the usual script that sorts the validation images, which leaves the table.
    let sorted = tree(&["train/n01/images/a.png", "val/n01/b.png", "val/n02/images/c.png"]);
    fs::write(sorted.path().join("wnids.txt"), "n01\nn02\n").unwrap();
    let table = sorted.path().join("val/val_annotations.txt");
    fs::write(table, "b.png\tn01\t0\t0\t1\t1\nc.png\tn02\t0\t0\t1\t1\n").unwrap();
    assert_eq!(read(sorted.path()).unwrap(), "train 1 [n01], val 2 [n01 n02]");
    let class = ClassFolder {
        folder: "n02".into(),
        name: "frog".into(),
    };
    let reading = Reading {
        classes: vec![class],
        ..Reading::default()
    };
    assert_eq!(
        words(&describe(dir.path(), &reading).unwrap()),
        "train 1 [frog], val 1 [frog]"
    );
    put("words.txt", "n01\tbank, a\nn02\tbank, b\n");
    assert_eq!(
        describe(dir.path(), &Reading::default()).unwrap().classes,
        ["bank, a", "bank, b"]
    );
}

#[test]
fn svhn_as_matlab_files() {
    let found = describe(&fixture("svhn"), &Reading::default()).unwrap();
    assert_eq!(
        (found.kind, words(&found)),
        (Kind::Svhn, "test 3 [0 1 5], train 2 [0 1]".to_owned())
    );
    for (path, split) in [
        (fixture("svhn"), "test"),
        (fixture("svhn/test_32x32.mat"), "test"),
        (fixture("svhn"), "train"),
    ] {
        let images = Images::open(&path, &Reading::default(), split, &[]).unwrap();
        assert_eq!(images.labels().unwrap()[..2], [1, 0]);
        let prepared = images
            .read(&[1], &Preparation::new(32, 32, Channels::Rgb))
            .unwrap();
        // Red is three times the row, green the column, blue the image's number.
        let place = (5 * 32 + 9) * 3;
        assert_eq!(prepared[place..place + 3], [15, 9, 1], "{split}");
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("train_32x32.mat");
    let whole = fs::read(fixture("svhn/train_32x32.mat")).unwrap();
    fs::write(&path, &whole[..5000]).unwrap();
    assert!(describe(dir.path(), &Reading::default()).is_err());
    fs::write(&path, [b"\x89HDF\r\n\x1a\n".as_slice(), &[0; 200]].concat()).unwrap();
    let error = describe(&path, &Reading::default()).unwrap_err().to_string();
    assert!(error.contains("7.3"), "{error}");
}

#[cfg(unix)]
#[test]
fn links_go_by_their_names() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let blobs = dir.path().join("blobs");
    let data = dir.path().join("snapshots/abc/data");
    fs::create_dir(&blobs).unwrap();
    fs::create_dir_all(&data).unwrap();
    fs::copy(fixture("shapes/test.parquet"), blobs.join("0a1b")).unwrap();
    let link = data.join("test-00000-of-00001.parquet");
    symlink("../../../blobs/0a1b", &link).unwrap();
    assert!(
        place(&link)
            .unwrap()
            .ends_with("snapshots/abc/data/test-00000-of-00001.parquet")
    );
    for path in [link, dir.path().join("snapshots/abc")] {
        assert!(read(&place(&path).unwrap()).unwrap().starts_with("test 4"));
    }
    // The blob itself has no name, and is known by its bytes.
    assert!(read(&blobs.join("0a1b")).unwrap().starts_with("all 4"));

    // A link that leads nowhere is a picture that is not there.
    let folder = tree(&["a/x.png", "b/y.png"]);
    symlink("nowhere.png", folder.path().join("a/z.png")).unwrap();
    let error = describe(folder.path(), &Reading::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("a/z.png"), "{error}");
    let skipping = Reading {
        skip_bad: true,
        ..Reading::default()
    };
    let found = describe(folder.path(), &skipping).unwrap();
    assert_eq!(
        (found.splits["all"], found.skipped["all"][0].name.as_str()),
        (2, "a/z.png")
    );
}

#[test]
fn cut_pictures_and_pointers_are_told_in_every_container() {
    let image = image::RgbImage::from_fn(60, 40, |x, y| image::Rgb([(4 * x) as u8, (6 * y) as u8, 9]));
    for format in [image::ImageFormat::Jpeg, image::ImageFormat::Png] {
        let mut out = std::io::Cursor::new(Vec::new());
        image.write_to(&mut out, format).unwrap();
        let whole = out.into_inner();
        let dir = tree(&["a/x.png", "b/y.png"]);
        let path = dir.path().join("a/cut.jpg");
        fs::write(&path, &whole).unwrap();
        describe(dir.path(), &Reading::default()).unwrap();
        for end in [whole.len() / 4, whole.len() / 2, whole.len() * 9 / 10] {
            fs::write(&path, &whole[..end]).unwrap();
            let error = describe(dir.path(), &Reading::default()).unwrap_err();
            assert!(
                matches!(&error, DatasetError::Image { name, .. } if name == "a/cut.jpg"),
                "{error}"
            );
            let archive = dir.path().with_extension("tar");
            fs::write(&archive, tar(dir.path())).unwrap();
            let error = describe(&archive, &Reading::default()).unwrap_err();
            assert!(
                matches!(&error, DatasetError::Image { name, .. } if name == "a/cut.jpg"),
                "{error}"
            );
            fs::remove_file(&archive).unwrap();
        }
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
        fs::write(&path, pointer).unwrap();
        let error = describe(dir.path(), &Reading::default()).unwrap_err().to_string();
        assert!(error.contains("git-lfs"), "{error}");
        let parquet = dir.path().join("train.parquet");
        fs::write(&parquet, pointer).unwrap();
        let error = describe(&parquet, &Reading::default()).unwrap_err();
        assert!(matches!(error, DatasetError::Pointer { .. }), "{error}");
    }
}

#[test]
fn a_preview_decodes_nothing() {
    let dir = tree(&["train/a/x.png", "train/b/y.png", "test/z.png"]);
    fs::write(dir.path().join("train/a/x.png"), "no picture").unwrap();
    let found = preview(dir.path(), &Reading::default()).unwrap();
    assert_eq!(
        (found.kind, found.classes.join(" ")),
        (Kind::ImageFolder, "a b".into())
    );
    let train = &found.splits[1];
    assert_eq!(
        (train.name.as_str(), train.images, train.classes),
        ("train", 2, Some(2))
    );
    assert_eq!(train.first, ["a/x.png", "b/y.png"]);
    assert_eq!(found.splits[0].classes, None);
}

#[test]
fn what_may_be_split_or_class_is_taken_as_it_is_called() {
    for (files, wanted) in [
        (
            &[
                "train/images/bike/x.png",
                "train/images/mug/x.png",
                "test/images/bike/y.png",
                "test/images/mug/y.png",
            ][..],
            "test 2 [bike mug], train 2 [bike mug]",
        ),
        // Office-31.
        (
            &[
                "amazon/images/bike/x.png",
                "amazon/images/mug/x.png",
                "dslr/images/bike/x.png",
                "dslr/images/mug/x.png",
            ],
            "amazon 2 [bike mug], dslr 2 [bike mug]",
        ),
        // Letters as writers wrote them are no folders of Places365's.
        (
            &["a/s1/x.png", "a/s2/x.png", "b/s1/x.png", "b/s2/x.png"],
            "a 2 [s1 s2], b 2 [s1 s2]",
        ),
        // Folders of single pictures below a class of a split.
        (&["train/a/more/x.png", "train/b/y.png"], "train 2 [a b]"),
    ] {
        let dir = tree(files);
        assert_eq!(
            read(dir.path()).unwrap_or_else(|e| panic!("{files:?}: {e}")),
            wanted
        );
    }
    for (files, said) in [
        // MVTec, and the root of OpenOOD's images.
        (
            &[
                "bottle/train/good/x.png",
                "bottle/test/bad/x.png",
                "cable/train/good/x.png",
                "cable/test/bad/x.png",
            ][..],
            "several sets, bottle and cable",
        ),
        // ImageNet-C: corruptions and severities.
        (
            &[
                "blur/1/n01/x.png",
                "blur/2/n01/x.png",
                "fog/1/n01/x.png",
                "fog/2/n01/x.png",
            ],
            "`blur/1` holds folders",
        ),
    ] {
        let error = read(tree(files).path()).unwrap_err().to_string();
        assert!(error.contains(said), "{files:?}: {error}");
    }
}

#[test]
fn files_beside_pictures_say_their_labels() {
    let dir = tree(&["train/a.png", "train/b.png", "train/more/c.png"]);
    let table = dir.path().join("train/metadata.csv");
    fs::write(
        &table,
        "\u{feff}file_name,text,label\nb.png,\"one, two\",10\na.png,,2\nmore/c.png,,2\n",
    )
    .unwrap();
    assert_eq!(read(dir.path()).unwrap(), "train 3 [2 10]");
    fs::write(
        &table,
        "file_name,label\nb.png,dog\n./a.png,cat\nmore/c.png,dog\n",
    )
    .unwrap();
    assert_eq!(read(dir.path()).unwrap(), "train 3 [cat dog]");
    fs::write(&table, "file_name,label\nb.png,dog\na.png,cat\n").unwrap();
    let said = read(dir.path()).unwrap_err().to_string();
    assert!(
        said.contains("metadata.csv") && said.contains("more/c.png"),
        "{said}"
    );
    fs::write(
        &table,
        "file_name,label\nb.png,dog\na.png,cat\nmore/c.png,cat\nd.png,cat\n",
    )
    .unwrap();
    let said = read(dir.path()).unwrap_err().to_string();
    assert!(said.contains("no picture d.png"), "{said}");
    // Captions are no labels.
    fs::write(&table, "file_name,text\nb.png,dog\na.png,cat\nmore/c.png,cat\n").unwrap();
    let said = read(dir.path()).unwrap_err().to_string();
    assert!(said.contains("beside its class directories"), "{said}");

    let dir = tree(&["a.png", "b.png"]);
    let lines = "{\"file_name\": \"a.png\", \"label\": 1}\n{\"file_name\": \"b.png\", \"label\": 0}\n";
    fs::write(dir.path().join("metadata.jsonl"), lines).unwrap();
    assert_eq!(read(dir.path()).unwrap(), "all 2 [0 1]");
    // Splits below one table.
    let dir = tree(&["train/a.png", "test/b.png"]);
    fs::write(
        dir.path().join("metadata.csv"),
        "file_name,label\ntrain/a.png,x\ntest/b.png,x\n",
    )
    .unwrap();
    assert_eq!(read(dir.path()).unwrap(), "test 1 [x], train 1 [x]");
}

#[test]
fn a_table_that_says_number_and_name_gives_the_classes_in_the_order_of_their_numbers() {
    // As an export of pictures has it: names that no folder can have, and folders that look like others.
    let dir = tree(&["T-shirt_top/000000.png", "a_b/000000.png", "a_b-5/000000.png"]);
    let table = dir.path().join("metadata.csv");
    let rows = "T-shirt_top/000000.png,7,T-shirt/top\na_b/000000.png,3,a:b\na_b-5/000000.png,5,a_b\n";
    fs::write(&table, format!("file_name,class_id,class_name\n{rows}")).unwrap();
    assert_eq!(read(dir.path()).unwrap(), "all 3 [a:b a_b T-shirt/top]");
    let lines = "{\"file_name\": \"T-shirt_top/000000.png\", \"label\": 1, \"label_name\": \"top\"}
        {\"file_name\": \"a_b/000000.png\", \"label\": 0, \"label_name\": \"z\"}
        {\"file_name\": \"a_b-5/000000.png\", \"label\": 0, \"label_name\": \"z\"}";
    fs::remove_file(&table).unwrap();
    fs::write(dir.path().join("metadata.jsonl"), lines).unwrap();
    assert_eq!(read(dir.path()).unwrap(), "all 3 [z top]");
    fs::remove_file(dir.path().join("metadata.jsonl")).unwrap();
    for (rows, said) in [
        (
            rows.replace(",5,a_b", ",3,a_b"),
            "`a:b` and `a_b` have the number 3",
        ),
        (rows.replace(",5,a_b", ",5,a:b"), "`a:b` has several numbers"),
    ] {
        fs::write(&table, format!("file_name,class_id,class_name\n{rows}")).unwrap();
        let error = read(dir.path()).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn folders_whose_names_are_no_utf8_stay_two_classes() {
    use std::os::unix::ffi::OsStrExt as _;
    let dir = tree(&["x.png"]);
    for name in [&b"caf\xe9"[..], b"caf\xe8"] {
        let folder = dir.path().join(std::ffi::OsStr::from_bytes(name));
        fs::create_dir(&folder).unwrap();
        fs::copy(dir.path().join("x.png"), folder.join("x.png")).unwrap();
    }
    fs::remove_file(dir.path().join("x.png")).unwrap();
    assert_eq!(read(dir.path()).unwrap(), "all 2 [caf\\xE8 caf\\xE9]");
}

#[test]
fn a_root_of_several_sets_asks_for_one() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    };
    put("MNIST/raw/train-images-idx3-ubyte");
    let kind = || Kind::guess(dir.path()).map_err(|error| error.to_string());
    assert_eq!(kind(), Ok(Kind::Idx));
    put("FashionMNIST/raw/train-images-idx3-ubyte");
    assert!(kind().unwrap_err().contains("MNIST/raw and FashionMNIST/raw"));
    fs::remove_dir_all(dir.path().join("MNIST")).unwrap();
    put("cifar-10-batches-py/data_batch_1");
    assert!(
        kind()
            .unwrap_err()
            .contains("FashionMNIST/raw and cifar-10-batches-py")
    );
    fs::remove_dir_all(dir.path().join("FashionMNIST")).unwrap();
    assert_eq!(kind(), Ok(Kind::CifarPython));
    put("cifar-100-binary/train.bin");
    assert!(
        kind()
            .unwrap_err()
            .contains("cifar-10-batches-py and cifar-100-binary")
    );
}

#[test]
fn pictures_are_known_by_what_they_are_where_their_names_say_nothing() {
    let dir = tree(&["a/x.png", "b/y.png"]);
    fs::copy(dir.path().join("a/x.png"), dir.path().join("a/x.v1")).unwrap();
    fs::copy(dir.path().join("a/x.png"), dir.path().join("b/w.jfif")).unwrap();
    fs::write(dir.path().join("b/notes.v2"), "text").unwrap();
    assert_eq!(read(dir.path()).unwrap(), "all 4 [a b]");
    let coco = tree(&["train2017/x.png", "val2017/y.png", "test2017/z.png"]);
    assert_eq!(read(coco.path()).unwrap(), "test2017 1, train2017 1, val2017 1");
}

#[test]
fn a_repository_of_hugging_faces_cache_is_its_main_snapshot() {
    let dir = tree(&[
        "datasets--u--d/snapshots/aaa/train/a/x.png",
        "datasets--u--d/snapshots/bbb/train/b/x.png",
        "datasets--u--d/blobs/0",
    ]);
    let repository = dir.path().join("datasets--u--d");
    let said = place(&repository).unwrap_err().to_string();
    assert!(said.contains("2 snapshots (aaa, bbb)"), "{said}");
    fs::create_dir(repository.join("refs")).unwrap();
    fs::write(repository.join("refs/main"), "bbb\n").unwrap();
    assert_eq!(read(&place(&repository).unwrap()).unwrap(), "train 1 [b]");
    fs::remove_dir_all(repository.join("snapshots/bbb")).unwrap();
    assert_eq!(read(&place(&repository).unwrap()).unwrap(), "train 1 [a]");
}

#[test]
fn a_set_is_the_same_by_the_folder_around_it() {
    for (files, set, expected) in [
        (
            &[
                "PACS/photo/dog/a.png",
                "PACS/photo/cat/b.png",
                "PACS/sketch/dog/c.png",
                "PACS/sketch/cat/d.png",
            ][..],
            "PACS",
            "photo 2 [cat dog], sketch 2 [cat dog]",
        ),
        (
            &["dtd/images/banded/a.png", "dtd/images/dotted/b.png"],
            "dtd/images",
            "all 2 [banded dotted]",
        ),
        (
            &["LSUN/LSUN_resize/0.png", "LSUN/LSUN_resize/1.png"],
            "LSUN/LSUN_resize",
            "all 2",
        ),
        (
            &["flowers-102/jpg/0.png", "flowers-102/jpg/1.png"],
            "flowers-102",
            "all 2",
        ),
    ] {
        let around = tree(files);
        assert_eq!(read(around.path()).unwrap(), expected, "{files:?}");
        assert_eq!(read(&around.path().join(set)).unwrap(), expected, "{set}");
        let packed = tempfile::tempdir().unwrap();
        let archive = packed.path().join("set.tar");
        fs::write(&archive, tar(around.path())).unwrap();
        assert_eq!(read(&archive).unwrap(), expected, "{files:?} in an archive");
    }
}

#[test]
fn pictures_that_annotate_others_are_passed_over() {
    let pets = tree(&[
        "images/a.png",
        "images/b.png",
        "annotations/trimaps/a.png",
        "annotations/trainval.txt",
    ]);
    assert_eq!(read(pets.path()).unwrap(), "all 2");
    let voc = tree(&[
        "VOC2012/JPEGImages/a.png",
        "VOC2012/SegmentationClass/a.png",
        "VOC2012/Annotations/a.xml",
    ]);
    assert_eq!(read(voc.path()).unwrap(), "all 1");
    // Without `images` beside it, it may be a class.
    assert_eq!(
        read(tree(&["mask/a.png", "no_mask/b.png"]).path()).unwrap(),
        "all 2 [mask no_mask]"
    );
}
