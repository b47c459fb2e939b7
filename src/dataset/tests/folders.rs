//! Folders of images.

use super::*;

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
    fs::write(dir.path().join("train/a/z.tiff"), "x").unwrap();
    let error = describe(dir.path(), &Reading::default()).unwrap_err();
    assert!(matches!(error, DatasetError::Layout { .. }), "{error}");
}
