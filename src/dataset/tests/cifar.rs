//! CIFAR, binary and as pickles.

use super::*;

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
