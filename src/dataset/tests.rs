//! The same pictures in every container, Pillow's grey and scaling (tests/fixtures/dataset/make.py), and
//! damage.

mod archives;
mod arrow;
mod cifar;
mod damage;
mod doors;
mod folders;
mod idx;
mod layouts;
mod lists;
mod numpy;
mod parquet;
mod prepare;
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
