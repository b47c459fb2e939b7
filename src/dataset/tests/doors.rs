//! Downsampled ImageNet and STL-10, and pictures of formats beside PNG and JPEG with the pixels that Pillow
//! reads in them (tests/fixtures/dataset/make_more_doors.py).

use super::layouts::read;
use super::*;

#[test]
fn downsampled_imagenet_as_pickles_and_arrays() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["val_data", "val_data.npz"] {
        let path = fixture("downsampled").join(name);
        let found = describe(&path, &Reading::default()).unwrap();
        assert_eq!(found.kind, Kind::DownsampledImagenet);
        assert_eq!((found.splits["val"], found.image_size), (3, Some((8, 8, 3))));
        let images = Images::open(&path, &Reading::default(), "val", &[]).unwrap();
        assert_eq!(images.labels(), Some(&[0, 999, 6][..]));
        // Red counts, green is the row, blue the picture's number.
        let pixels = images.decode(2).unwrap().bytes;
        assert_eq!(pixels[8 * 3 * 5..][..6], [40, 5, 2, 41, 5, 2], "{name}");
    }
    // As the archives unpack, with the development kit's list.
    let copy = |to: &str| {
        let to = dir.path().join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(fixture("downsampled/val_data"), to).unwrap();
    };
    copy("Imagenet8_val/val_data");
    (1..=10).for_each(|number| copy(&format!("Imagenet8_train/train_data_batch_{number}")));
    let map: String = (1..=1000)
        .map(|number| format!("n{number:08} {number} name_{number}\n"))
        .collect();
    fs::write(dir.path().join("map_clsloc.txt"), map).unwrap();
    assert_eq!(
        read(dir.path()).unwrap(),
        "train 30 [n00000001 n00000007 n00001000], val 3 [n00000001 n00000007 n00001000]"
    );
    fs::write(dir.path().join("map_clsloc.txt"), "n01 1 x\nn02 3 y\n").unwrap();
    assert!(matches!(
        read(dir.path()),
        Err(DatasetError::Line { line: 2, .. })
    ));
    fs::remove_file(dir.path().join("map_clsloc.txt")).unwrap();
    copy("Imagenet16_val/val_data");
    assert!(matches!(read(dir.path()), Err(DatasetError::Several { .. })));
    fs::remove_dir_all(dir.path().join("Imagenet16_val")).unwrap();
    fs::remove_file(dir.path().join("Imagenet8_train/train_data_batch_7")).unwrap();
    match read(dir.path()).unwrap_err() {
        DatasetError::Missing { expected, .. } => assert_eq!(expected, "train_data_batch_7"),
        other => panic!("{other}"),
    }
}

#[test]
fn downsampled_imagenet_that_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("val_data");
    let whole = fs::read(fixture("downsampled/val_data")).unwrap();
    let replaced = |from: &[u8], to: &[u8]| {
        let at = whole.windows(from.len()).position(|w| w == from).unwrap();
        fs::write(&path, [&whole[..at], to, &whole[at + from.len()..]].concat()).unwrap();
        read(&path).unwrap_err()
    };
    // Labels begin at 1 and end at 1000.
    let zero = replaced(b"(K\x01M\xe8\x03", b"(K\x00M\xe8\x03");
    assert!(matches!(zero, DatasetError::Label { label: 0, .. }), "{zero}");
    let far = replaced(b"(K\x01M\xe8\x03", b"(K\x01M\xe9\x03");
    assert!(matches!(far, DatasetError::Label { label: 1001, .. }), "{far}");
    let fewer = replaced(b"(K\x01M\xe8\x03", b"(M\xe8\x03");
    assert!(
        matches!(
            fewer,
            DatasetError::Count {
                images: 3,
                labels: 2,
                ..
            }
        ),
        "{fewer}"
    );
    let none = replaced(b"labels", b"lights");
    assert!(none.to_string().contains("`labels`"), "{none}");
    fs::write(&path, &whole[..200]).unwrap();
    let cut = read(&path).unwrap_err();
    assert!(matches!(cut, DatasetError::Corrupt { .. }), "{cut}");
}

#[test]
fn stl_10_as_unpacked() {
    const PIXELS: usize = 3 * 96 * 96;
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("stl10_binary");
    fs::create_dir(&folder).unwrap();
    // Columns one after the other: red is the row, green the column, blue the picture's number.
    let picture = |number: usize| -> Vec<u8> {
        let pixel = |i: usize| match i / (96 * 96) {
            0 => i % 96,
            1 => i / 96 % 96,
            _ => number,
        };
        (0..PIXELS).map(|i| pixel(i) as u8).collect()
    };
    let put = |name: &str, bytes: Vec<u8>| fs::write(folder.join(name), bytes).unwrap();
    put("train_X.bin", [picture(0), picture(1)].concat());
    put("train_y.bin", vec![10, 1]);
    put("unlabeled_X.bin", picture(9));
    put(
        "class_names.txt",
        b"airplane\nbird\ncar\ncat\ndeer\ndog\nhorse\nmonkey\nship\ntruck\n".to_vec(),
    );
    put("fold_indices.txt", b"0 1\n".to_vec());
    for path in [dir.path(), &folder] {
        assert_eq!(read(path).unwrap(), "train 2 [airplane truck], unlabeled 1");
    }
    let seen = preview(dir.path(), &Reading::default()).unwrap();
    assert_eq!((seen.kind, seen.unread.len(), seen.count), (Kind::Stl10, 1, 10));
    let images = Images::open(dir.path(), &Reading::default(), "train", &[]).unwrap();
    assert_eq!(images.labels(), Some(&[9, 0][..]));
    let pixels = images.decode(1).unwrap().bytes;
    assert_eq!(pixels[(7 * 96 + 30) * 3..][..6], [7, 30, 1, 7, 31, 1]);
    put("train_y.bin", vec![10, 0]);
    assert!(matches!(read(&folder), Err(DatasetError::Label { label: 0, .. })));
    put("train_y.bin", vec![10]);
    assert!(matches!(
        read(&folder),
        Err(DatasetError::Count { labels: 1, .. })
    ));
    fs::remove_file(folder.join("train_y.bin")).unwrap();
    assert!(matches!(read(&folder), Err(DatasetError::Missing { .. })));
    put("unlabeled_X.bin", picture(9)[1..].to_vec());
    put("train_y.bin", vec![10, 1]);
    assert!(matches!(read(&folder), Err(DatasetError::Size { .. })));
}

#[test]
fn pictures_have_the_pixels_that_pillow_reads_in_them() {
    let pillow = json("pictures/pillow.json");
    let files = pillow.as_object().unwrap();
    assert_eq!(files.len(), 16);
    for (name, wanted) in files {
        let file = fs::read(fixture("pictures").join(name)).unwrap();
        let found = Pixels::of_file(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
        let size = bytes(&wanted["size"]);
        assert_eq!(
            [found.width, found.height],
            [size[0], size[1]].map(usize::from),
            "{name}"
        );
        assert_eq!(found.into_rgb(), bytes(&wanted["rgb"]), "{name}");
    }
}

#[test]
fn pictures_that_are_cut_or_move_are_refused() {
    let pictures = fs::read_dir(fixture("pictures")).unwrap();
    for path in pictures.map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // Nothing tells that a number in ASCII is not whole.
        if name.ends_with(".json") || name.starts_with("ascii") {
            continue;
        }
        let whole = fs::read(&path).unwrap();
        // A row of a BMP is filled up to four bytes.
        for end in 0..whole.len().saturating_sub(3) {
            let cut = Pixels::of_file(&whole[..end]);
            assert!(cut.is_err(), "{name}: {end} of {}", whole.len());
        }
    }
    let animation = fs::read(fixture("pictures/animation.webp")).unwrap();
    let said = Pixels::of_file(&animation).unwrap_err();
    assert!(said.contains("animation"), "{said}");
}

#[test]
fn headers_that_promise_more_than_their_files_hold_are_refused() {
    let read = |name: &str| fs::read(fixture("pictures").join(name)).unwrap();
    let mut bmp = read("colour.bmp");
    bmp[18..22].copy_from_slice(&60_000_u32.to_le_bytes());
    bmp[22..26].copy_from_slice(&60_000_u32.to_le_bytes());
    let mut lossy = read("lossy.webp");
    // Width and height of a key frame, of 14 bits each.
    lossy[26..30].copy_from_slice(&[0xff, 0x3f, 0xff, 0x3f]);
    let mut alpha = read("alpha.webp");
    // A small canvas around a large picture.
    let at = alpha.windows(4).position(|w| w == b"VP8 ").unwrap();
    alpha[at + 14..at + 18].copy_from_slice(&[0xff, 0x3f, 0xff, 0x3f]);
    for (name, bytes) in [
        ("bmp", bmp),
        ("lossy", lossy),
        ("alpha", alpha),
        ("ppm", b"P6 60000 60000 255\n0123".to_vec()),
        ("pbm", b"P4 60000 60000\n0123".to_vec()),
    ] {
        let said = Pixels::of_file(&bytes).unwrap_err();
        assert!(
            said.contains("promises") || said.contains("another size"),
            "{name}: {said}"
        );
    }
}

#[test]
fn folders_and_archives_of_other_pictures() {
    let dir = tempfile::tempdir().unwrap();
    for (from, to) in [
        ("lossy.webp", "train/a/x.webp"),
        ("colour.bmp", "train/a/y.BMP"),
        ("colour.ppm", "train/b/x.ppm"),
        ("grey.pgm", "test/b/x.pgm"),
        ("two.pbm", "test/b/name-says-nothing"),
    ] {
        let to = dir.path().join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(fixture("pictures").join(from), to).unwrap();
    }
    assert_eq!(read(dir.path()).unwrap(), "test 2 [b], train 3 [a b]");
    fs::remove_file(dir.path().join("test/b/name-says-nothing")).unwrap();
    let packed = dir.path().with_extension("tar");
    fs::write(&packed, super::archives::tar(dir.path())).unwrap();
    let found = read(&packed);
    fs::remove_file(&packed).unwrap();
    assert_eq!(found.unwrap(), "test 1 [b], train 3 [a b]");
    fs::write(dir.path().join("train/a/z.gif"), "GIF89a").unwrap();
    let error = read(dir.path()).unwrap_err().to_string();
    assert!(error.contains("WebP") && error.contains("convert"), "{error}");
}
