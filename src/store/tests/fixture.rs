//! A store of every format version, kept for ever.

use std::io::{Read, Write};
use std::path::Path;

use dream_schema::{
    Checkpoint, ClassEmbedding, Dataset, Feature, Image, Latent, Metric, Outlier, OutlierKind, Score, Status,
    Table,
};

use super::*;

const V1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/store/v1.redb.gz");
const DIGEST: &str = "2ea1fc3447ed8d7027e32236e66c1c146c53c9ce9225014e093d451b2869ad15";

fn embedding() -> ClassEmbedding {
    ClassEmbedding {
        class_id: 1,
        class_name: "fish".into(),
        index: 0,
        word: "fish".into(),
        token_id: 2_759,
        model: "00".into(),
        vector: vec![0.25, -0.5],
        norm: 0.559_017,
    }
}

fn outlier() -> Outlier {
    Outlier {
        class_id: 1,
        class_name: "fish".into(),
        index: 5,
        kind: OutlierKind::Outlier,
        vector: vec![0.5, f32::MIN_POSITIVE],
        anchor: 3,
        round: 2,
        knn_distance: 0.75,
    }
}

fn image() -> Image {
    Image {
        class_id: 1,
        class_name: "fish".into(),
        index: 0,
        outlier: None,
        width: 2,
        height: 1,
        png: vec![0x89, b'P', b'N', b'G'],
        blake3: "00".into(),
    }
}

pub fn score() -> Score {
    Score {
        class_id: None,
        class_name: None,
        index: 0,
        dataset: "svhn".into(),
        split: "test".into(),
        score: "energy".into(),
        sample: 9,
        value: -1.5,
        label: None,
        predicted: 3,
    }
}

fn set() -> Dataset {
    Dataset {
        name: "fashion".into(),
        kind: "idx".into(),
        path: "fashion".into(),
        digest: "ab".into(),
        splits: [("train".to_owned(), 60_000)].into(),
        classes: vec!["shirt".into()],
        ..Dataset::default()
    }
}

/// Writes the fixture of the present format.
#[test]
#[ignore = "writes tests/fixtures/store/v1.redb.gz: run once a format version, with --ignored --exact"]
fn make() {
    let t = temporary();
    let first = begin(&t.store, 1);
    let mut batch = t.store.batch(first);
    batch.blob(b"weights".as_slice());
    batch
        .add(&[embedding()])
        .unwrap()
        .add(&[feature(0, 0, 1.0), feature(0, 1, 2.0)])
        .unwrap();
    batch
        .add(&[outlier()])
        .unwrap()
        .add(&[latent(1, 0, 64)])
        .unwrap()
        .add(&[image()])
        .unwrap();
    batch
        .add(&[checkpoint(0, b"weights")])
        .unwrap()
        .add(&[score()])
        .unwrap();
    batch.add(&[metric(0, 0.1)]).unwrap().commit().unwrap();
    let sealed = t.store.finish(first, 2_000).unwrap();
    let second = t
        .store
        .begin(&spec_from(2, &sealed), &stamp(3_000))
        .unwrap()
        .into_run();
    t.store.put(second.id, &[metric(0, 1.0)]).unwrap();
    t.store.set_alias("first", first).unwrap();
    t.store.put_dataset(&set()).unwrap();
    let Temporary {
        mut store,
        path,
        directory: _directory,
    } = t;
    store.compact().unwrap();
    drop(store);
    std::fs::create_dir_all(Path::new(V1).parent().unwrap()).unwrap();
    let file = std::fs::File::create(V1).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::best());
    gzip.write_all(&std::fs::read(path).unwrap()).unwrap();
    gzip.finish().unwrap();
    println!("digest {}", sealed.digest.unwrap());
}

#[test]
fn a_store_of_version_1_opens_and_holds_what_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("v1.redb");
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(V1).unwrap())
        .read_to_end(&mut bytes)
        .unwrap();
    std::fs::write(&path, bytes).unwrap();
    let store = Store::open_read_only(&path).unwrap();
    let first = store.resolve("first").unwrap();
    let run = store.run(first).unwrap();
    assert_eq!(
        (run.status, run.digest.as_deref(), run.started_at),
        (Status::Finished, Some(DIGEST), 1_001)
    );
    assert_eq!((run.spec.id(), run.spec.clone()), (first, spec(1)));
    assert_eq!(store.rows::<ClassEmbedding>(first, None).unwrap(), [embedding()]);
    assert_eq!(
        store.rows::<Feature>(first, None).unwrap(),
        [feature(0, 0, 1.0), feature(0, 1, 2.0)]
    );
    assert_eq!(store.rows::<Outlier>(first, None).unwrap(), [outlier()]);
    assert_eq!(store.rows::<Latent>(first, None).unwrap(), [latent(1, 0, 64)]);
    assert_eq!(store.rows::<Image>(first, None).unwrap(), [image()]);
    assert_eq!(
        store.rows::<Checkpoint>(first, None).unwrap(),
        [checkpoint(0, b"weights")]
    );
    assert_eq!(store.rows::<Score>(first, None).unwrap(), [score()]);
    assert_eq!(store.rows::<Metric>(first, None).unwrap(), [metric(0, 0.1)]);
    assert_eq!(store.blob(&checkpoint(0, b"weights").blob).unwrap(), b"weights");
    assert_eq!(store.datasets().unwrap(), [set()]);
    assert_eq!(store.runs().unwrap().len(), 2);
    assert!(store.verify(&mut |_, _| {}).unwrap().problems.is_empty());
    // It can also be written to.
    drop(store);
    let store = Store::open(&path).unwrap();
    let Begun::Resumed(second) = store.begin(&spec_from(2, &run), &stamp(4_000)).unwrap() else {
        panic!("not resumed");
    };
    store.put(second.id, &[metric(1, 2.0)]).unwrap();
    store.finish(second.id, 5_000).unwrap();
    assert_eq!(store.count(second.id, Table::Metrics).unwrap(), 2);
}
