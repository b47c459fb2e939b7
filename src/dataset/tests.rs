//! The same pictures in every container, Pillow's grey and scaling (tests/fixtures/dataset/make.py), and
//! damage.

mod damage;
mod idx;
mod layouts;
mod numpy;
mod unread;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::Value;
use tempfile::TempDir;

use super::item::Pixels;
use super::*;

const AS_IS: Preparation = Preparation {
    width: 5,
    height: 6,
    channels: Channels::Rgb,
    fit: Fit::Crop,
    resize: None,
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/dataset")
        .join(name)
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&fs::read(fixture(name)).unwrap()).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    let values = value.as_array().unwrap();
    values.iter().map(|v| v.as_u64().unwrap() as u8).collect()
}

/// The ten pictures of the fixture, 6 high and 5 wide, and their labels; the first six are "train".
fn shapes() -> (Vec<u8>, Vec<u8>) {
    let shapes = json("shapes.json");
    (bytes(&shapes["pixels"]), bytes(&shapes["labels"]))
}

fn gzip(data: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn idx_file(magic: u32, dims: &[u32], data: &[u8]) -> Vec<u8> {
    let words = std::iter::once(&magic).chain(dims);
    let mut file: Vec<u8> = words.flat_map(|w| w.to_be_bytes()).collect();
    file.extend(data);
    file
}

fn idx_set() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (pixels, labels) = shapes();
    for (prefix, range) in [("train", 0..6), ("t10k", 6..10)] {
        let dims = [range.len() as u32, 6, 5];
        let images = idx_file(0x803, &dims, &pixels[range.start * 30..range.end * 30]);
        let labels = idx_file(0x801, &dims[..1], &labels[range]);
        let compressed = prefix == "train";
        let put = |name: String, data: Vec<u8>| match compressed {
            true => fs::write(dir.path().join(name + ".gz"), gzip(&data)).unwrap(),
            false => fs::write(dir.path().join(name), data).unwrap(),
        };
        put(format!("{prefix}-images-idx3-ubyte"), images);
        put(format!("{prefix}-labels-idx1-ubyte"), labels);
    }
    fs::write(dir.path().join("classes.txt"), "circle\nsquare\nstar\n").unwrap();
    dir
}

fn png(width: u32, height: u32, pixels: &[u8]) -> Vec<u8> {
    let mut out = std::io::Cursor::new(Vec::new());
    let image = image::GrayImage::from_raw(width, height, pixels.to_vec()).unwrap();
    image.write_to(&mut out, image::ImageFormat::Png).unwrap();
    out.into_inner()
}

#[test]
fn the_digest_does_not_depend_on_the_container() {
    let idx = idx_set();
    let structs = describe(&fixture("shapes"), &Reading::default()).unwrap();
    assert_eq!(structs.kind, Kind::Parquet);
    assert_eq!(
        structs.splits,
        BTreeMap::from([("test".to_owned(), 4), ("train".to_owned(), 6)])
    );
    assert_eq!(structs.classes, ["circle", "square", "star"]);
    assert_eq!(structs.class_sizes["train"], [2, 2, 2]);
    assert_eq!(structs.image_size, Some((5, 6, 1)));
    let idx = describe(idx.path(), &Reading::default()).unwrap();
    assert_eq!(idx.kind, Kind::Idx);
    let shards = describe(&fixture("shards"), &Reading::default()).unwrap();
    assert_eq!(shards.image_size, Some((5, 6, 3)));
    for other in [idx, shards] {
        assert_eq!(other.digest, structs.digest);
        assert_eq!(other.splits, structs.splits);
        assert_eq!(other.classes, structs.classes);
        assert_eq!(other.class_sizes, structs.class_sizes);
    }
}

#[test]
fn the_digest_depends_on_pixels_labels_and_splits() {
    let base = describe(&fixture("shapes"), &Reading::default()).unwrap().digest;
    let change = |file: &str, at: usize| {
        let dir = idx_set();
        let path = dir.path().join(file);
        let mut data = fs::read(&path).unwrap();
        data[at] = if data[at] == 0 { 1 } else { data[at] - 1 };
        fs::write(&path, data).unwrap();
        describe(dir.path(), &Reading::default()).unwrap().digest
    };
    assert_ne!(change("t10k-images-idx3-ubyte", 16), base);
    assert_ne!(change("t10k-labels-idx1-ubyte", 8), base);
    let dir = idx_set();
    fs::remove_file(dir.path().join("t10k-images-idx3-ubyte")).unwrap();
    assert_ne!(describe(dir.path(), &Reading::default()).unwrap().digest, base);
}

#[test]
fn images_come_in_order_with_labels_and_names() {
    let (pixels, labels) = shapes();
    let rgb: Vec<u8> = pixels.iter().flat_map(|v| [*v; 3]).collect();
    let idx = idx_set();
    for (path, name) in [
        (fixture("shapes"), "003.png"),
        (fixture("shards"), "3"),
        (idx.path().to_owned(), "3"),
    ] {
        let set = load(&path, &Reading::default(), "train", &AS_IS).unwrap();
        assert_eq!((set.height, set.width, set.channels, set.len()), (6, 5, 3, 6));
        assert_eq!(set.pixels, rgb[..6 * 90]);
        let wanted: Vec<u32> = labels[..6].iter().map(|l| u32::from(*l)).collect();
        assert_eq!(set.labels, Some(wanted));
        assert_eq!(set.names[3], name);
        assert_eq!(set.image(3), Some(&rgb[270..360]));
        assert_eq!(set.image(6), None);
    }
}

#[test]
fn images_are_read_in_any_order() {
    let dir = idx_set();
    let all = load(dir.path(), &Reading::default(), "train", &AS_IS).unwrap();
    let images = Images::open(dir.path(), &Reading::default(), "train", &[]).unwrap();
    assert_eq!(
        (images.len(), images.classes().len(), images.name(5)),
        (6, 3, Some("5"))
    );
    assert_eq!(images.labels(), all.labels.as_deref());
    let some = images.read(&[4, 0, 4], &AS_IS).unwrap();
    let expected = [4, 0, 4].map(|i| all.image(i).unwrap()).concat();
    assert_eq!(some, expected);
    let beyond = images.read(&[6], &AS_IS).unwrap_err();
    assert!(
        matches!(
            beyond,
            DatasetError::Index {
                index: 6,
                images: 6,
                ..
            }
        ),
        "{beyond}"
    );
}

#[test]
fn one_parquet_file_is_one_split() {
    let set = load(&fixture("unlabelled.parquet"), &Reading::default(), "all", &AS_IS).unwrap();
    assert_eq!((set.len(), set.labels), (4, None));
    let found = describe(&fixture("unlabelled.parquet"), &Reading::default()).unwrap();
    assert!(found.classes.is_empty());
    assert!(found.class_sizes["all"].is_empty());
    let train = describe(&fixture("shapes/train.parquet"), &Reading::default()).unwrap();
    assert_eq!(train.splits, BTreeMap::from([("train".to_owned(), 6)]));
}

#[test]
fn cifar_reads_the_same_from_a_directory_and_an_archive() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("cifar-100-binary");
    fs::create_dir(&inner).unwrap();
    let record = |fine: u8| {
        // Red is the pixel's number, green 7, blue the class.
        let mut record = vec![99, fine];
        record.extend((0..1024).map(|i| i as u8));
        record.extend([7; 1024]);
        record.extend([fine; 1024]);
        record
    };
    fs::write(inner.join("train.bin"), [record(0), record(1)].concat()).unwrap();
    fs::write(inner.join("test.bin"), record(1)).unwrap();
    fs::write(inner.join("fine_label_names.txt"), "apple\npear\n\n").unwrap();
    let archive = dir.path().join("cifar-100-binary.tar.gz");
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_dir_all("cifar-100-binary", &inner).unwrap();
    fs::write(&archive, gzip(&tar.into_inner().unwrap())).unwrap();
    let preparation = Preparation::new(32, 32, Channels::Rgb);
    let set = load(&inner, &Reading::default(), "train", &preparation).unwrap();
    assert_eq!(set.labels, Some(vec![0, 1]));
    assert_eq!(set.image(1).unwrap()[..9], [0, 7, 1, 1, 7, 1, 2, 7, 1]);
    assert_eq!(
        load(&archive, &Reading::default(), "train", &preparation).unwrap(),
        set
    );
    assert_eq!(
        load(dir.path(), &Reading::default(), "train", &preparation).unwrap(),
        set
    );
    let found = describe(&archive, &Reading::default()).unwrap();
    assert_eq!(
        (found.kind, found.classes.join(" ")),
        (Kind::CifarBinary, "apple pear".into())
    );
    assert_eq!(
        found.digest,
        describe(&inner, &Reading::default()).unwrap().digest
    );

    fs::write(inner.join("test.bin"), &record(1)[..3000]).unwrap();
    let error = describe(&inner, &Reading::default()).unwrap_err();
    assert!(
        matches!(error, DatasetError::Size { actual: 3000, .. }),
        "{error}"
    );
    fs::write(inner.join("test.bin"), record(2)).unwrap();
    let error = describe(&inner, &Reading::default()).unwrap_err();
    assert!(
        matches!(
            error,
            DatasetError::Label {
                label: 2,
                classes: 2,
                ..
            }
        ),
        "{error}"
    );
    let whole = fs::read(&archive).unwrap();
    fs::write(&archive, &whole[..whole.len() - 200]).unwrap();
    let error = describe(&archive, &Reading::default()).unwrap_err();
    assert!(matches!(error, DatasetError::Corrupt { .. }), "{error}");
}

#[test]
fn cifar_10_needs_all_five_batches() {
    let dir = tempfile::tempdir().unwrap();
    for i in 1..=5_u8 {
        let record = [vec![i], vec![i; 3072]].concat();
        fs::write(dir.path().join(format!("data_batch_{i}.bin")), record).unwrap();
    }
    let found = describe(dir.path(), &Reading::default()).unwrap();
    assert_eq!(found.splits, BTreeMap::from([("train".to_owned(), 5)]));
    assert_eq!(found.classes, ["0", "1", "2", "3", "4", "5"]);
    fs::remove_file(dir.path().join("data_batch_3.bin")).unwrap();
    match describe(dir.path(), &Reading::default()).unwrap_err() {
        DatasetError::Missing { expected, .. } => assert_eq!(expected, "data_batch_3.bin"),
        other => panic!("{other}"),
    }
}

/// Unpacks an archive of the fixture.
fn unpacked(name: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let bytes = fs::read(fixture("cifar").join(name)).unwrap();
    tar::Archive::new(flate2::read::GzDecoder::new(&bytes[..]))
        .unpack(dir.path())
        .unwrap();
    dir
}

#[test]
fn cifar_in_the_python_version() {
    let preparation = Preparation::new(32, 32, Channels::Rgb);
    for (name, inner, classes, train, test) in [
        (
            "cifar-10-python.tar.gz",
            "cifar-10-batches-py",
            "airplane automobile bird",
            10,
            2,
        ),
        (
            "cifar-100-python.tar.gz",
            "cifar-100-python",
            "apple aquarium_fish baby",
            2,
            2,
        ),
    ] {
        let found = describe(&fixture("cifar").join(name), &Reading::default()).unwrap();
        assert_eq!(
            (found.kind, found.classes.join(" ")),
            (Kind::CifarPython, classes.into())
        );
        assert_eq!(
            found.splits,
            BTreeMap::from([("train".to_owned(), train), ("test".to_owned(), test)])
        );
        assert_eq!(found.image_size, Some((32, 32, 3)));
        let dir = unpacked(name);
        for path in [dir.path().to_owned(), dir.path().join(inner)] {
            let same = describe(&path, &Reading::default()).unwrap();
            assert_eq!((same.kind, same.digest), (found.kind, found.digest));
        }
    }
    let ten = load(
        &fixture("cifar/cifar-10-python.tar.gz"),
        &Reading::default(),
        "train",
        &preparation,
    )
    .unwrap();
    assert_eq!(ten.labels, Some(vec![1, 2, 2, 2, 0, 2, 1, 2, 2, 2]));
    // Red counts, green is the row, blue the image's number, from 2 on.
    assert_eq!(ten.image(3).unwrap()[32 * 3 * 5..][..6], [160, 5, 5, 161, 5, 5]);
    let hundred = load(
        &fixture("cifar/cifar-100-python.tar.gz"),
        &Reading::default(),
        "test",
        &preparation,
    )
    .unwrap();
    assert_eq!(hundred.labels, Some(vec![1, 0]));

    // The same images in the binary version are the same set.
    let dir = tempfile::tempdir().unwrap();
    let record = |number: usize, label: u8| -> Vec<u8> {
        let image = ten.image(number).unwrap();
        let plane = |c: usize| image.iter().copied().skip(c).step_by(3);
        std::iter::once(label).chain((0..3).flat_map(plane)).collect()
    };
    let labels = ten.labels.as_ref().unwrap();
    for batch in 0..5 {
        let pair = [2 * batch, 2 * batch + 1]
            .map(|i| record(i, labels[i] as u8))
            .concat();
        fs::write(dir.path().join(format!("data_batch_{}.bin", batch + 1)), pair).unwrap();
    }
    let python = unpacked("cifar-10-python.tar.gz");
    fs::remove_file(python.path().join("cifar-10-batches-py/test_batch")).unwrap();
    let [binary, python] =
        [dir.path(), python.path()].map(|path| describe(path, &Reading::default()).unwrap());
    assert_eq!(binary.digest, python.digest);
}

#[test]
fn cifar_batches_as_python_3_pickles_them() {
    for protocol in 0..6 {
        let dir = tempfile::tempdir().unwrap();
        let from = fixture("cifar").join(format!("protocol{protocol}.pickle"));
        fs::copy(from, dir.path().join("test_batch")).unwrap();
        let set = load(
            dir.path(),
            &Reading::default(),
            "test",
            &Preparation::new(32, 32, Channels::Rgb),
        )
        .unwrap();
        assert_eq!(set.labels, Some(vec![2]), "protocol {protocol}");
        assert_eq!(
            set.pixels[32 * 3 * 7..][..6],
            [224, 7, 9, 225, 7, 9],
            "protocol {protocol}"
        );
    }
}

#[test]
fn damaged_cifar_pickles_are_named() {
    let attack = |change: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        let dir = unpacked("cifar-100-python.tar.gz");
        let path = dir.path().join("cifar-100-python/train");
        fs::write(&path, change(fs::read(&path).unwrap())).unwrap();
        describe(dir.path(), &Reading::default()).unwrap_err()
    };
    let replaced = |from: &'static [u8], to: &'static [u8]| {
        move |bytes: Vec<u8>| {
            let at = bytes.windows(from.len()).position(|w| w == from).unwrap();
            [&bytes[..at], to, &bytes[at + from.len()..]].concat()
        }
    };
    for (change, wanted) in [
        (
            &replaced(b"_reconstruct", b"frombuffer") as &dyn Fn(_) -> _,
            "frombuffer",
        ),
        (&replaced(b"fine_labels", b"fine_lights"), "fine_labels"),
        (&replaced(b"U\x04data", b"U\x04date"), "`data`"),
        (&replaced(b"M\x00\x0c\x86", b"M\x01\x0c\x86"), "`data`"),
        (&|bytes: Vec<u8>| bytes[..2000].to_vec(), "ends"),
    ] {
        let error = attack(change);
        assert!(matches!(error, DatasetError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains(wanted), "{error}");
        assert!(error.to_string().contains("train"), "{error}");
    }
    let label = attack(&replaced(b"(K\x02K\x00e", b"(K\x07K\x00e"));
    assert!(matches!(label, DatasetError::Label { label: 7, .. }), "{label}");
    let fewer = attack(&replaced(b"(K\x02K\x00e", b"(K\x02e"));
    assert!(matches!(fewer, DatasetError::Count { labels: 1, .. }), "{fewer}");
}

/// A folder like ImageNet's: JPEG files of several sizes in directories of WordNet ids.
fn imagenet() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (number, class) in ["n03", "n01", "n02", "n09"].iter().enumerate() {
        for split in ["train", "val"] {
            let folder = dir.path().join(split).join(class);
            fs::create_dir_all(&folder).unwrap();
            for i in 0..3_u32 {
                let value = (40 * number as u32 + 10 * i) as u8;
                let (width, height) = (40 + 7 * i, 30 + 3 * number as u32);
                let image = image::RgbImage::from_pixel(width, height, image::Rgb([value, 100, 200]));
                image.save(folder.join(format!("{class}_{i}.jpg"))).unwrap();
                let to = folder.join(format!("{class}_{i}.JPEG"));
                fs::rename(folder.join(format!("{class}_{i}.jpg")), to).unwrap();
            }
        }
    }
    dir
}

fn listed(folders: &[&str]) -> Reading {
    let class = |folder: &&str| ClassFolder {
        folder: (*folder).to_owned(),
        name: format!("name of {folder}"),
    };
    Reading {
        classes: folders.iter().map(class).collect(),
        ..Reading::default()
    }
}

#[test]
fn a_class_list_chooses_directories_and_orders_labels() {
    let dir = imagenet();
    fs::create_dir(dir.path().join("devkit")).unwrap();
    fs::write(dir.path().join("devkit/readme.txt"), "x").unwrap();
    let reading = listed(&["n02", "n03"]);
    let found = describe(dir.path(), &reading).unwrap();
    assert_eq!(
        found.splits,
        BTreeMap::from([("train".to_owned(), 6), ("val".to_owned(), 6)])
    );
    assert_eq!(found.classes, ["name of n02", "name of n03"]);
    let images = Images::open(dir.path(), &reading, "train", &[]).unwrap();
    assert_eq!(images.labels(), Some(&[0, 0, 0, 1, 1, 1][..]));
    assert_eq!(
        (images.name(0), images.name(3)),
        (Some("n02/n02_0.JPEG"), Some("n03/n03_0.JPEG"))
    );
    let sizes = [0, 2]
        .map(|i| images.decode(i).unwrap())
        .map(|p| (p.width, p.height));
    assert_eq!(sizes, [(40, 36), (54, 36)]);
    let prepared = images
        .read(&[0, 5], &Preparation::new(8, 8, Channels::Rgb))
        .unwrap();
    assert_eq!(prepared.len(), 2 * 8 * 8 * 3);

    let one = describe(&dir.path().join("val"), &reading).unwrap();
    assert_eq!(one.splits, BTreeMap::from([("all".to_owned(), 6)]));
    let absent = describe(dir.path(), &listed(&["n02", "n77"])).unwrap_err();
    assert!(absent.to_string().contains("n77"), "{absent}");
    let twice = describe(dir.path(), &listed(&["n02", "n02"])).unwrap_err();
    assert!(twice.to_string().contains("twice"), "{twice}");
    let other = describe(&fixture("shapes"), &reading).unwrap_err();
    assert!(other.to_string().contains("parquet"), "{other}");
}

#[test]
fn bad_images_are_errors_or_left_out_by_name() {
    let dir = imagenet();
    let bad = dir.path().join("train/n01/n01_1.JPEG");
    let whole = fs::read(&bad).unwrap();
    fs::write(&bad, b"not a picture").unwrap();
    let error = describe(dir.path(), &Reading::default()).unwrap_err();
    assert!(
        matches!(&error, DatasetError::Image { name, .. } if name == "n01/n01_1.JPEG"),
        "{error}"
    );
    let skipping = Reading {
        skip_bad: true,
        ..Reading::default()
    };
    let found = describe(dir.path(), &skipping).unwrap();
    let skipped = &found.skipped["train"];
    assert_eq!(
        (skipped.len(), skipped[0].index, skipped[0].name.as_str()),
        (1, 1, "n01/n01_1.JPEG")
    );
    assert_eq!((found.splits["train"], found.class_sizes["train"][0]), (11, 2));
    let images = Images::open(dir.path(), &skipping, "train", skipped).unwrap();
    assert_eq!((images.len(), images.name(1)), (11, Some("n01/n01_2.JPEG")));
    assert_eq!(images.labels().unwrap()[..3], [0, 0, 1]);
    // A set without the file is the same set.
    fs::remove_file(&bad).unwrap();
    assert_eq!(
        describe(dir.path(), &Reading::default()).unwrap().digest,
        found.digest
    );
    let gone = Images::open(dir.path(), &skipping, "train", skipped)
        .err()
        .unwrap();
    assert!(gone.to_string().contains("n01_1.JPEG"), "{gone}");
    fs::write(&bad, &whole).unwrap();
    assert_ne!(describe(dir.path(), &skipping).unwrap().digest, found.digest);
    // A split of which nothing is left is an error even so.
    let null = describe(&fixture("null_image.parquet"), &skipping).unwrap_err();
    assert!(matches!(null, DatasetError::EmptySplit { .. }), "{null}");
    let parquet = describe(&fixture("bad_image.parquet"), &skipping).unwrap();
    assert_eq!(parquet.skipped["all"][0].name, "cut.png");
}

#[test]
fn folders_with_and_without_splits() {
    let dir = tempfile::tempdir().unwrap();
    let put = |path: &str, value: u8| {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, png(5, 6, &[value; 30])).unwrap();
    };
    put("train/b/1.png", 1);
    put("train/b/0.PNG", 2);
    put("train/a/x.png", 3);
    put("test/b/y.png", 4);
    fs::write(dir.path().join("train/b/notes.txt"), "not an image").unwrap();
    let set = load(dir.path(), &Reading::default(), "train", &AS_IS).unwrap();
    assert_eq!(set.names, ["a/x.png", "b/0.PNG", "b/1.png"]);
    assert_eq!(set.labels, Some(vec![0, 1, 1]));
    assert_eq!((set.pixels[0], set.pixels[90], set.pixels[180]), (3, 2, 1));
    // A class that a split lacks keeps its number.
    assert_eq!(
        load(dir.path(), &Reading::default(), "test", &AS_IS)
            .unwrap()
            .labels,
        Some(vec![1])
    );
    let classes = load(&dir.path().join("train"), &Reading::default(), "all", &AS_IS).unwrap();
    assert_eq!(classes.labels, set.labels);
    let plain = load(&dir.path().join("train/b"), &Reading::default(), "all", &AS_IS).unwrap();
    assert_eq!((plain.labels, plain.names.len()), (None, 2));

    match load(dir.path(), &Reading::default(), "val", &AS_IS).unwrap_err() {
        DatasetError::UnknownSplit { existing, .. } => assert_eq!(existing, ["test", "train"]),
        other => panic!("{other}"),
    }
    fs::create_dir(dir.path().join("train/empty")).unwrap();
    match describe(dir.path(), &Reading::default()).unwrap_err() {
        DatasetError::EmptyClass { class, .. } => assert_eq!(class, "empty"),
        other => panic!("{other}"),
    }
    fs::remove_dir(dir.path().join("train/empty")).unwrap();
    let whole = png(5, 6, &[9; 30]);
    fs::write(dir.path().join("train/a/x.png"), &whole[..whole.len() - 20]).unwrap();
    match describe(dir.path(), &Reading::default()).unwrap_err() {
        DatasetError::Image { name, .. } => assert_eq!(name, "a/x.png"),
        other => panic!("{other}"),
    }
    fs::write(dir.path().join("train/a/z.webp"), "x").unwrap();
    let error = describe(dir.path(), &Reading::default()).unwrap_err();
    assert!(matches!(error, DatasetError::Layout { .. }), "{error}");
}

#[test]
fn damaged_idx_files_are_named() {
    let attack = |file: &str, data: &[u8]| {
        let dir = idx_set();
        fs::write(dir.path().join(file), data).unwrap();
        describe(dir.path(), &Reading::default()).unwrap_err()
    };
    let images = "t10k-images-idx3-ubyte";
    let swapped = attack(images, &idx_file(0x801, &[4], &[0; 4]));
    assert!(
        matches!(
            swapped,
            DatasetError::Magic {
                actual: 0x801,
                expected: 0x803,
                ..
            }
        ),
        "{swapped}"
    );
    for data in [
        vec![],
        vec![0, 0, 8],
        idx_file(0x803, &[4, 6], &[]),
        idx_file(0x803, &[4, 6, 5], &[0; 119]),
        idx_file(0x803, &[4, 6, 5], &[0; 121]),
        idx_file(0x803, &[u32::MAX; 3], &[0; 120]),
    ] {
        let error = attack(images, &data);
        assert!(matches!(error, DatasetError::Size { .. }), "{error}");
    }
    let none = attack(images, &idx_file(0x803, &[4, 0, 5], &[]));
    assert!(matches!(none, DatasetError::Corrupt { .. }), "{none}");
    let fewer = attack(images, &idx_file(0x803, &[3, 6, 5], &[0; 90]));
    assert!(
        matches!(
            fewer,
            DatasetError::Count {
                images: 3,
                labels: 4,
                ..
            }
        ),
        "{fewer}"
    );
    let empty = idx_file(0x803, &[0, 6, 5], &[]);
    let dir = idx_set();
    fs::write(dir.path().join(images), empty).unwrap();
    fs::write(
        dir.path().join("t10k-labels-idx1-ubyte"),
        idx_file(0x801, &[0], &[]),
    )
    .unwrap();
    let error = describe(dir.path(), &Reading::default()).unwrap_err();
    assert!(matches!(error, DatasetError::EmptySplit { .. }), "{error}");
    let label = attack("t10k-labels-idx1-ubyte", &idx_file(0x801, &[4], &[0, 1, 2, 3]));
    assert!(matches!(label, DatasetError::Label { label: 3, .. }), "{label}");
    let cut = attack("train-images-idx3-ubyte.gz", &gzip(&[0; 500])[..12]);
    assert!(matches!(cut, DatasetError::Corrupt { .. }), "{cut}");
    let dir = idx_set();
    fs::remove_file(dir.path().join("t10k-labels-idx1-ubyte")).unwrap();
    let error = describe(dir.path(), &Reading::default()).unwrap_err();
    assert!(matches!(error, DatasetError::Missing { .. }), "{error}");
}

#[test]
fn damaged_parquet_files_are_named() {
    let error = |name: &str| describe(&fixture(name), &Reading::default()).unwrap_err();
    let label = error("bad_label.parquet");
    assert!(
        matches!(&label, DatasetError::Label { label: 3, classes: 3, name, .. } if name == "003.png"),
        "{label}"
    );
    let cut = error("bad_image.parquet");
    assert!(
        matches!(&cut, DatasetError::Image { name, .. } if name == "cut.png"),
        "{cut}"
    );
    let null = error("null_image.parquet");
    assert!(matches!(null, DatasetError::Image { .. }), "{null}");
    let text = error("text_label.parquet");
    assert!(
        text.to_string()
            .contains("the label of 000.png is `a`, and there is no such class"),
        "{text}"
    );
    let absent = error("no_image.parquet");
    assert!(
        matches!(&absent, DatasetError::Column { column, .. } if column == "image"),
        "{absent}"
    );
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.parquet");
    let whole = fs::read(fixture("shapes/test.parquet")).unwrap();
    fs::write(&path, &whole[..whole.len() - 9]).unwrap();
    let error = describe(&path, &Reading::default()).unwrap_err();
    assert!(matches!(error, DatasetError::Corrupt { .. }), "{error}");
}

#[test]
fn what_is_no_set_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let missing = describe(&dir.path().join("nowhere"), &Reading::default()).unwrap_err();
    assert!(matches!(missing, DatasetError::Io { .. }), "{missing}");
    for kind in Kind::ALL {
        let empty = describe(dir.path(), &Reading::of(Some(kind))).unwrap_err();
        assert!(matches!(empty, DatasetError::Layout { .. }), "{empty}");
        assert_eq!(Kind::from_name(kind.name()), Some(kind));
    }
    let text = dir.path().join("set.txt");
    fs::write(&text, "hello").unwrap();
    let error = describe(&text, &Reading::default()).unwrap_err();
    assert!(matches!(error, DatasetError::Layout { .. }), "{error}");
}

fn photo() -> (Value, Pixels) {
    let photo = json("prepare.json");
    let image = image::load_from_memory(&bytes(&photo["png"]))
        .unwrap()
        .into_rgb8();
    let pixels = Pixels {
        width: 23,
        height: 17,
        channels: 3,
        bytes: image.into_raw(),
    };
    (photo, pixels)
}

#[test]
fn grey_is_pillows_luma() {
    let (photo, pixels) = photo();
    let preparation = Preparation::new(23, 17, Channels::Gray);
    let expected: Vec<u8> = bytes(&photo["grey"]).into_iter().flat_map(|v| [v; 3]).collect();
    assert_eq!(preparation.apply(pixels, "photo").unwrap(), expected);
}

#[test]
fn scaling_is_pillows_bilinear_to_one_level() {
    let (photo, pixels) = photo();
    for case in photo["scaled"].as_array().unwrap() {
        let size = |i: usize| case["size"][i].as_u64().unwrap() as usize;
        let preparation = Preparation {
            width: size(0),
            height: size(1),
            channels: if case["mode"] == "L" {
                Channels::Gray
            } else {
                Channels::Rgb
            },
            fit: Fit::Stretch,
            resize: None,
        };
        let actual = preparation.apply(pixels.clone(), "photo").unwrap();
        let expected = bytes(&case["pixels"]);
        assert_eq!(actual.len(), expected.len());
        let largest = actual.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(
            largest <= Some(1),
            "{} {:?}: {largest:?}",
            case["mode"],
            case["size"]
        );
    }
}

#[test]
fn fitting_crops_pads_or_stretches() {
    // Columns 0 to 5 of one row, twice as high as it looks: 6 wide, 2 high.
    let image = Pixels {
        width: 6,
        height: 2,
        channels: 1,
        bytes: [0, 1, 2, 3, 4, 5].repeat(2),
    };
    let fitted = |width, height, fit| {
        let preparation = Preparation {
            width,
            height,
            channels: Channels::Rgb,
            fit,
            resize: None,
        };
        let rgb = preparation.apply(image.clone(), "row");
        rgb.map(|rgb| rgb.into_iter().step_by(3).collect::<Vec<u8>>())
    };
    assert_eq!(fitted(2, 2, Fit::Crop).unwrap(), [2, 3, 2, 3]);
    assert_eq!(fitted(3, 2, Fit::Crop).unwrap(), [2, 3, 4, 2, 3, 4]);
    assert_eq!(fitted(6, 2, Fit::Pad).unwrap(), image.bytes);
    assert_eq!(
        fitted(8, 3, Fit::Pad).unwrap(),
        [[0, 0, 1, 2, 3, 4, 5, 0], [0, 0, 1, 2, 3, 4, 5, 0], [0; 8]].concat()
    );
    assert_eq!(fitted(6, 4, Fit::Stretch).unwrap(), image.bytes.repeat(2));
    assert!(matches!(
        fitted(5, 2, Fit::Pad),
        Err(DatasetError::TooLarge {
            width: 6,
            target: (5, 2),
            ..
        })
    ));
    let nothing = Preparation::new(0, 2, Channels::Rgb);
    assert!(matches!(
        load(&fixture("shapes"), &Reading::default(), "test", &nothing),
        Err(DatasetError::TargetSize { .. })
    ));
}

#[test]
fn parts_are_cut_and_scaled() {
    let (_, pixels) = photo();
    let preparation = Preparation::new(4, 3, Channels::Rgb);
    let window = |x, y, width, height| Window { x, y, width, height };
    let part = preparation.cut(pixels.clone(), window(5, 2, 4, 3)).unwrap();
    let rows = (2..5).flat_map(|y| pixels.bytes[(y * 23 + 5) * 3..][..12].to_vec());
    assert_eq!(part, rows.collect::<Vec<u8>>());
    // The whole as a part is the whole stretched.
    let stretch = Preparation {
        fit: Fit::Stretch,
        ..preparation
    };
    assert_eq!(
        preparation.cut(pixels.clone(), window(0, 0, 23, 17)).unwrap(),
        stretch.apply(pixels.clone(), "photo").unwrap()
    );
    for bad in [
        window(20, 0, 4, 3),
        window(0, 0, 0, 3),
        window(0, usize::MAX, 1, 2),
        window(24, 0, 1, 1),
    ] {
        let error = preparation.cut(pixels.clone(), bad).unwrap_err();
        assert!(matches!(error, DatasetError::Window { .. }), "{error}");
    }
    // Shorter side to 12, then the middle: 23 x 17 becomes 16 x 12.
    let resized = Preparation {
        resize: Some(12),
        ..Preparation::new(8, 8, Channels::Rgb)
    };
    let scaled = Preparation {
        fit: Fit::Stretch,
        ..Preparation::new(16, 12, Channels::Rgb)
    };
    let scaled = scaled.apply(pixels.clone(), "photo").unwrap();
    let middle: Vec<u8> = (2..10)
        .flat_map(|y| scaled[(y * 16 + 4) * 3..][..24].to_vec())
        .collect();
    assert_eq!(resized.apply(pixels.clone(), "photo").unwrap(), middle);
    let small = Preparation {
        resize: Some(7),
        ..resized
    };
    assert!(matches!(
        small.apply(pixels, "photo"),
        Err(DatasetError::Resize { resize: 7, .. })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A flipped byte or a lost tail is read or refused, and never a panic.
    #[test]
    fn damage_never_panics(
        file in prop::sample::select(vec![
            "t10k-images-idx3-ubyte",
            "t10k-labels-idx1-ubyte",
            "train-images-idx3-ubyte.gz",
        ]),
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let dir = idx_set();
        let path = dir.path().join(file);
        let mut data = fs::read(&path).unwrap();
        let at = at.index(data.len());
        if cut { data.truncate(at) } else { data[at] = value }
        fs::write(&path, data).unwrap();
        let _ = describe(dir.path(), &Reading::default());
    }

    #[test]
    fn damaged_pickles_never_panic(
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
        protocol in 0..6,
        cut in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut data = fs::read(fixture("cifar").join(format!("protocol{protocol}.pickle"))).unwrap();
        let at = at.index(data.len());
        if cut { data.truncate(at) } else { data[at] = value }
        fs::write(dir.path().join("test_batch"), data).unwrap();
        let _ = describe(dir.path(), &Reading::default());
    }

    #[test]
    fn damaged_parquet_never_panics(
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test.parquet");
        let mut data = fs::read(fixture("shapes/test.parquet")).unwrap();
        let at = at.index(data.len());
        if cut { data.truncate(at) } else { data[at] = value }
        fs::write(&path, data).unwrap();
        let _ = describe(&path, &Reading::default());
    }
}
