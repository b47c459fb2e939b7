//! Sets of NumPy arrays.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::fixture;
use super::layouts::read;
use crate::dataset::{DatasetError, Images, Reading, preview};

/// A NumPy array as `numpy.save` writes it.
fn array(kind: &str, shape: &str, bytes: &[u8]) -> Vec<u8> {
    let dict = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}\n");
    let start = [&b"\x93NUMPY\x01\x00"[..], &(dict.len() as u16).to_le_bytes()].concat();
    [&start, dict.as_bytes(), bytes].concat()
}

/// A file `set.npz` in `dir` of arrays by name.
fn npz(dir: &Path, arrays: &[(&str, &[u8])]) -> PathBuf {
    let mut out = ::zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = ::zip::write::SimpleFileOptions::default();
    for (name, bytes) in arrays {
        out.start_file(format!("{name}.npy"), options).unwrap();
        out.write_all(bytes).unwrap();
    }
    let path = dir.join("set.npz");
    fs::write(&path, out.finish().unwrap().into_inner()).unwrap();
    path
}

#[test]
fn numpy_arrays_of_pictures() {
    let dir = tempfile::tempdir().unwrap();
    let grey = array("|u1", "2, 2, 3", &(0..12).collect::<Vec<u8>>());
    let colour = array("|u1", "2, 1, 2, 3", &(0..12).collect::<Vec<u8>>());
    let npz = |files: &[(&str, &[u8])]| npz(dir.path(), files);
    // MedMNIST has labels [n, 1], Keras [n].
    let column = array("|u1", "2, 1", &[1, 0]);
    let row = array(">i4", "2,", &[0, 0, 0, 0, 0, 0, 0, 2]);
    let medical = npz(&[
        ("train_images", &grey),
        ("train_labels", &column),
        ("val_images", &grey),
        ("val_labels", &column),
    ]);
    assert_eq!(read(&medical).unwrap(), "train 2 [0 1], val 2 [0 1]");
    let keras = npz(&[("x_test", &colour), ("y_test", &row)]);
    assert_eq!(read(&keras).unwrap(), "test 2 [0 2]");
    let images = Images::open(&keras, &Reading::default(), "test", &[]).unwrap();
    assert_eq!(images.labels(), Some(&[0, 2][..]));
    let pixels = images.decode(1).unwrap();
    assert_eq!((pixels.height, pixels.width, pixels.channels), (1, 2, 3));
    assert_eq!(pixels.bytes, (6..12).collect::<Vec<u8>>());
    let planes = array("|u1", "2, 3, 1, 2", &(0..12).collect::<Vec<u8>>());
    let planes = npz(&[("images", &planes), ("labels", &row)]);
    let images = Images::open(&planes, &Reading::default(), "all", &[]).unwrap();
    assert_eq!(images.decode(1).unwrap().bytes, [6, 8, 10, 7, 9, 11]);
    // As `numpy.savez_compressed` writes it, whole and with another checksum.
    let compressed = fs::read(fixture("numpy/compressed.npz")).unwrap();
    let path = dir.path().join("compressed.npz");
    fs::write(&path, &compressed).unwrap();
    assert_eq!(read(&path).unwrap(), "test 2 [0 2], train 3 [0 1]");
    let at = compressed
        .windows(4)
        .position(|word| word == b"PK\x01\x02")
        .unwrap();
    let mut spoilt = compressed.clone();
    spoilt[at + 16] ^= 1;
    fs::write(&path, &spoilt).unwrap();
    assert!(read(&path).unwrap_err().to_string().contains("checksum"));
    let none = npz(&[("features", &array("<f4", "2, 3", &[0; 24]))]);
    let said = read(&none).unwrap_err().to_string();
    assert!(
        said.contains("none of its arrays is of pictures") && said.contains("features <f4"),
        "{said}"
    );
    let negative = npz(&[("images", &grey), ("labels", &array("|i1", "2,", &[0, 0xfe]))]);
    assert!(read(&negative).unwrap_err().to_string().contains("-2"));
    let more = npz(&[("images", &grey), ("labels", &array("|i1", "3,", &[0, 1, 0]))]);
    assert!(matches!(
        read(&more),
        Err(DatasetError::Count {
            images: 2,
            labels: 3,
            ..
        })
    ));
    for kind in ["", "\u{e9}1", "<i3", "|O"] {
        let odd = npz(&[("images", &grey), ("labels", &array(kind, "2,", &[0; 6]))]);
        let said = read(&odd).unwrap_err().to_string();
        assert!(said.contains("expected integers"), "{kind}: {said}");
    }
    let vast = npz(&[("images", &array("|u1", "0, 4294967296, 4294967296", &[]))]);
    let said = read(&vast).unwrap_err().to_string();
    assert!(said.contains("its array of pictures is empty"), "{said}");
    let cut = npz(&[("images", &grey[..grey.len() - 1])]);
    assert!(
        read(&cut)
            .unwrap_err()
            .to_string()
            .contains("[2, 2, 3] by its header")
    );

    // CIFAR-10-C: a corruption a file, labels for all.
    let corrupted = tempfile::tempdir().unwrap();
    for (file, bytes) in [
        ("fog.npy", &colour),
        ("snow.npy", &colour),
        ("labels.npy", &column),
    ] {
        fs::write(corrupted.path().join(file), bytes).unwrap();
    }
    assert_eq!(read(corrupted.path()).unwrap(), "fog 2 [0 1], snow 2 [0 1]");
    assert_eq!(read(&corrupted.path().join("fog.npy")).unwrap(), "all 2");
}

#[test]
fn labels_are_found_by_the_words_of_their_names_and_the_rest_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let pictures = array("|u1", "2, 2, 3", &(0..12).collect::<Vec<u8>>());
    let labels = array("<i8", "2,", &[[1, 0, 0, 0, 0, 0, 0, 0], [0; 8]].concat());
    let floats = array(
        "<f8",
        "2,",
        &[1.0_f64.to_le_bytes(), 0.0_f64.to_le_bytes()].concat(),
    );
    for (names, labels, expected) in [
        (["X_train", "Y_train"], &labels, "train 2 [0 1]"),
        (["trainX", "trainY"], &labels, "train 2 [0 1]"),
        (["images", "y_true"], &labels, "all 2 [0 1]"),
        (["train", "train_targets"], &labels, "train 2 [0 1]"),
        (["images", "labels"], &floats, "all 2 [0 1]"),
    ] {
        let path = npz(dir.path(), &[(names[0], &pictures), (names[1], labels)]);
        assert_eq!(read(&path).unwrap(), expected, "{names:?}");
        assert_eq!(preview(&path, &Reading::default()).unwrap().unread, [""; 0]);
    }
    let wide = |text: &str| {
        text.chars()
            .flat_map(|c| (c as u32).to_le_bytes())
            .collect::<Vec<_>>()
    };
    let names = array("<U3", "2,", &[wide("cat"), wide("ab"), vec![0; 4]].concat());
    let swapped = array(
        ">U3",
        "2,",
        &[wide("cat"), wide("ab"), vec![0; 4]]
            .concat()
            .chunks(4)
            .flat_map(|c| c.iter().rev().copied().collect::<Vec<_>>())
            .collect::<Vec<_>>(),
    );
    let narrow = array("|S3", "2, 1", b"catab\0");
    for names in [&names, &swapped, &narrow] {
        let path = npz(dir.path(), &[("x_train", &pictures), ("y_train", names)]);
        assert_eq!(read(&path).unwrap(), "train 2 [ab cat]");
        let set = Images::open(&path, &Reading::default(), "train", &[]).unwrap();
        assert_eq!(set.labels(), Some(&[1, 0][..]));
    }
    let half3 = array("<f4", "3,", &[0; 12]);
    let path = npz(dir.path(), &[("images", &pictures), ("lab", &labels)]);
    let found = preview(&path, &Reading::default()).unwrap();
    assert_eq!(found.unread, ["the array lab [2]"]);
    // A list of names is those of the classes; other arrays are told, however long.
    let list = array("<U3", "2,", &[wide("cat"), wide("ab"), vec![0; 4]].concat());
    let arrays: [(&str, &[u8]); 4] = [
        ("images", &pictures),
        ("labels", &labels),
        ("class_names", &list),
        ("mean", &half3),
    ];
    let path = npz(dir.path(), &arrays);
    assert_eq!(read(&path).unwrap(), "all 2 [cat ab]");
    let found = preview(&path, &Reading::default()).unwrap();
    assert_eq!(found.unread, ["the array mean [3]"]);
    // Names that are numbers stand in their order.
    let numbers = array("<U2", "2,", &[wide("10"), wide("2"), vec![0; 4]].concat());
    let path = npz(dir.path(), &[("x_train", &pictures), ("y_train", &numbers)]);
    assert_eq!(read(&path).unwrap(), "train 2 [2 10]");
    let half = array(
        "<f4",
        "2,",
        &[0.5_f32.to_le_bytes(), 0.0_f32.to_le_bytes()].concat(),
    );
    let path = npz(dir.path(), &[("images", &pictures), ("labels", &half)]);
    let said = read(&path).unwrap_err().to_string();
    assert!(said.contains("the label 0.5 is no whole number"), "{said}");
}
