//! Sets as they lie on disks: folders of every shape, archives, Tiny ImageNet, lists, SVHN, compressed
//! Parquet, and what is refused.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{fixture, gzip, png};
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
fn words(found: &Description) -> String {
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
            "images 2 [banded dotted]",
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
            "save_to_disk",
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

pub(super) fn tar(dir: &Path) -> Vec<u8> {
    let mut tar = ::tar::Builder::new(Vec::new());
    tar.append_dir_all("./set", dir).unwrap();
    tar.into_inner().unwrap()
}

pub(super) fn zip(dir: &Path, files: &[&str]) -> Vec<u8> {
    let mut out = ::zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options =
        ::zip::write::SimpleFileOptions::default().compression_method(::zip::CompressionMethod::Stored);
    for file in files {
        out.start_file(format!("set/{file}"), options).unwrap();
        out.write_all(&fs::read(dir.join(file)).unwrap()).unwrap();
    }
    out.finish().unwrap().into_inner()
}

#[test]
fn archives_hold_the_set_of_their_folder() {
    let files = ["train/a/x.png", "train/b/y.png", "test/a/z.png", "test/b/w.png"];
    let dir = tree(&files);
    let wanted = describe(dir.path(), &Reading::default()).unwrap();
    let out = tempfile::tempdir().unwrap();
    let whole = tar(dir.path());
    for (name, bytes) in [
        ("set.tar", whole.clone()),
        ("set.tar.gz", gzip(&whole)),
        ("set.tgz", gzip(&whole)),
        ("set.zip", zip(dir.path(), &files)),
        ("name-says-nothing", zip(dir.path(), &files)),
    ] {
        let path = out.path().join(name);
        fs::write(&path, &bytes).unwrap();
        let found = describe(&path, &Reading::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(
            (found.kind, found.digest),
            (Kind::ImageFolder, wanted.digest),
            "{name}"
        );
        // A class list chooses in an archive too.
        let class = |name: &str| ClassFolder {
            folder: name.into(),
            name: name.into(),
        };
        let reading = Reading {
            classes: vec![class("b")],
            ..Reading::default()
        };
        assert_eq!(
            words(&describe(&path, &reading).unwrap()),
            "test 1 [b], train 1 [b]",
            "{name}"
        );
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(describe(&path, &Reading::default()).is_err(), "{name} cut");
    }
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
fn shards_of_webdataset_have_their_labels() {
    let dir = tree(&["000.png", "001.png"]);
    fs::write(dir.path().join("000.cls"), "3").unwrap();
    fs::write(dir.path().join("001.cls"), "0\n").unwrap();
    let mut out = ::tar::Builder::new(Vec::new());
    out.append_dir_all("", dir.path()).unwrap();
    let shard = dir.path().join("train-000000.tar");
    fs::write(&shard, out.into_inner().unwrap()).unwrap();
    assert_eq!(read(&shard).unwrap(), "train 2 [0 3]");
    fs::write(dir.path().join("001.cls"), "cat").unwrap();
    fs::remove_file(&shard).unwrap();
    let said = read(dir.path()).unwrap_err().to_string();
    assert!(
        said.contains("001.cls") && said.contains("no class number"),
        "{said}"
    );
    fs::remove_file(dir.path().join("001.cls")).unwrap();
    let said = read(dir.path()).unwrap_err().to_string();
    assert!(said.contains("001.png has no label"), "{said}");
}

#[test]
fn links_in_an_archive_are_followed() {
    let dir = tree(&["a/x.png", "b/y.png"]);
    let link = |to: &mut ::tar::Builder<Vec<u8>>, kind, name: &str, target: &str| {
        let mut header = ::tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        to.append_link(&mut header, name, target).unwrap();
    };
    let with = |links: &[(::tar::EntryType, &str, &str)]| {
        let mut out = ::tar::Builder::new(Vec::new());
        // A link may come before what it leads to.
        links
            .iter()
            .for_each(|(kind, name, target)| link(&mut out, *kind, name, target));
        out.append_dir_all("set", dir.path()).unwrap();
        let path = dir.path().with_extension("tar");
        fs::write(&path, out.into_inner().unwrap()).unwrap();
        let found = read(&path);
        fs::remove_file(path).unwrap();
        found
    };
    use ::tar::EntryType::{Link, Symlink};
    let both = [
        (Link, "set/a/z.png", "set/a/x.png"),
        (Symlink, "set/b/w.png", "../a/z.png"),
    ];
    assert_eq!(with(&both).unwrap(), "all 4 [a b]");
    let said = with(&[(Symlink, "set/a/z.png", "/data/x.png")])
        .unwrap_err()
        .to_string();
    assert!(said.contains("set/a/z.png is a link to /data/x.png"), "{said}");
    let said = with(&[(Symlink, "set/c", "a")]).unwrap_err().to_string();
    assert!(said.contains("a link to the folder"), "{said}");
    assert_eq!(
        with(&[(Symlink, "set/README", "nowhere")]).unwrap(),
        "all 2 [a b]"
    );
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
fn members_below_the_root_of_the_machine_are_read_as_tar_does() {
    let dir = tree(&["x.png"]);
    let bytes = fs::read(dir.path().join("x.png")).unwrap();
    let mut out = ::tar::Builder::new(Vec::new());
    for name in ["/data/a/x.png", "/data/b/y.png"] {
        let mut header = ::tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_entry_type(::tar::EntryType::Regular);
        header.set_cksum();
        out.append(&header, &bytes[..]).unwrap();
    }
    let path = dir.path().join("set.tar");
    fs::write(&path, out.into_inner().unwrap()).unwrap();
    assert_eq!(read(&path).unwrap(), "all 2 [a b]");
}

#[test]
fn the_column_that_a_parquet_files_metadata_declares_is_that_of_its_classes() {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch};
    use parquet::file::metadata::KeyValue;

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
        let properties = parquet::file::properties::WriterProperties::builder();
        let properties =
            properties.set_key_value_metadata(Some(vec![KeyValue::new("huggingface".to_owned(), text)]));
        let file = fs::File::create(&path).unwrap();
        let mut writer =
            parquet::arrow::ArrowWriter::try_new(file, batch.schema(), Some(properties.build())).unwrap();
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

    use arrow::array::{ArrayRef, BinaryArray, Float64Array, RecordBatch, StringArray};

    let dir = tree(&["x.png"]);
    let picture = fs::read(dir.path().join("x.png")).unwrap();
    fs::remove_file(dir.path().join("x.png")).unwrap();
    let write = |file: &str, labels: ArrayRef| {
        let image: ArrayRef = Arc::new(BinaryArray::from(vec![&picture[..]; labels.len()]));
        let batch = RecordBatch::try_from_iter([("image", image), ("label", labels)]).unwrap();
        let file = fs::File::create(dir.path().join(file)).unwrap();
        let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
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
