//! A store of every format version, kept for ever.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use dream_schema::{
    Checkpoint, ClassEmbedding, Dataset, Feature, Image, Latent, Metric, Outlier, OutlierKind, Score, Status,
    Table,
};

use super::*;
use crate::store::face::Viewed;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/store");
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
        knn_distance: Some(0.75),
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
#[ignore = "writes a file in tests/fixtures/store: run once a format version, with --ignored --exact"]
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
    let file = std::fs::File::create(file(Format::NEWEST)).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::best());
    gzip.write_all(&std::fs::read(path).unwrap()).unwrap();
    gzip.finish().unwrap();
    assert_eq!(sealed.digest.unwrap(), DIGEST);
}

/// Returns where the fixture of a format is.
fn file(format: Format) -> PathBuf {
    Path::new(FOLDER).join(format!("v{}.redb.gz", format.version()))
}

/// Returns the bytes of the store of a format.
pub fn bytes(format: Format) -> Vec<u8> {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(file(format)).unwrap())
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

/// Checks that a store holds what the fixtures were made of.
pub fn check(store: &Store) {
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
}

#[test]
fn stores_of_every_format_open_and_hold_what_was_written() {
    for format in Format::ALL {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.redb");
        std::fs::write(&path, bytes(format)).unwrap();
        let store = Store::open_read_only(&path).unwrap();
        check(&store);
        drop(store);
        // It can also be written to, and keeps its format.
        let store = Store::open(&path).unwrap();
        let first = store.run(store.resolve("first").unwrap()).unwrap();
        let Begun::Resumed(second) = store.begin(&spec_from(2, &first), &stamp(4_000)).unwrap() else {
            panic!("not resumed");
        };
        store.put(second.id, &[metric(1, 2.0)]).unwrap();
        store.finish(second.id, 5_000).unwrap();
        assert_eq!(store.count(second.id, Table::Metrics).unwrap(), 2);
        assert_eq!(store.view().unwrap().format, format);
        check(&store);
    }
}
