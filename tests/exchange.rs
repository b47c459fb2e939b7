//! Exports of every kind, read back: by this library, and by other people's readers where Python has them.

// A skipped check must say so.
#![allow(clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::Command;

use arrow::array::RecordBatch;
use dream_ood::bitmap::Bitmap;
use dream_ood::exchange::{
    NpyLayout, NpyVectors, ParquetRows, Target, encode_png, safetensors, write_checkpoint, write_csv,
    write_images, write_npy, write_parquet, write_vectors,
};
use dream_ood::query::{Filter, TableName};
use dream_ood::store::{Stamp, Store};
use dream_schema::{
    Artifact, Checkpoint, ClassEmbedding, Feature, Image, Latent, Metric, Outlier, OutlierKind, RunId, Score,
    Table, with_run, with_run_schema,
};

const CLASSES: u32 = 3;
const ROWS: u64 = 4;
const WIDTH: usize = 6;

fn vector(class_id: u32, index: u64) -> Vec<f32> {
    let base = class_id as f32 * 10.0 + index as f32;
    (0..WIDTH).map(|i| i as f32 * 0.25 + base).collect()
}

fn class_name(class_id: u32) -> String {
    format!("class, \"{class_id}\"")
}

fn each<A>(rows: u64, row: impl Fn(u32, u64) -> A) -> Vec<A> {
    let keys = (0..CLASSES).flat_map(|class| (0..rows).map(move |index| (class, index)));
    keys.map(|(class, index)| row(class, index)).collect()
}

fn outliers() -> Vec<Outlier> {
    each(ROWS, |class_id, index| Outlier {
        class_id,
        class_name: class_name(class_id),
        index,
        kind: OutlierKind::Outlier,
        vector: vector(class_id, index),
        anchor: 3,
        round: 1,
        knn_distance: Some(0.5 + index as f32),
    })
}

fn embeddings() -> Vec<ClassEmbedding> {
    each(1, |class_id, index| ClassEmbedding {
        class_id,
        class_name: class_name(class_id),
        index,
        word: "otter".into(),
        token_id: 17,
        model: "ff".into(),
        vector: vector(class_id, index),
        norm: 0.4,
    })
}

fn features() -> Vec<Feature> {
    each(ROWS, |class_id, index| Feature {
        class_id,
        class_name: class_name(class_id),
        index,
        vector: vector(class_id, index),
        split: "train".into(),
        sample: index as i64,
    })
}

fn images() -> Vec<Image> {
    each(ROWS, |class_id, index| {
        let pixel = [class_id as u8, index as u8, 7];
        let bitmap = Bitmap {
            width: 2,
            height: 2,
            rgb: [pixel; 4].concat(),
        };
        let (class, index_text) = (class_name(class_id), index.to_string());
        let png = encode_png(&bitmap, &[("class", &class), ("index", &index_text)]).unwrap();
        Image {
            class_id,
            class_name: class_name(class_id),
            index,
            outlier: (index > 0).then_some(index as i64),
            width: 2,
            height: 2,
            png,
            blake3: "00".into(),
        }
    })
}

fn latents() -> Vec<Latent> {
    each(1, |class_id, index| Latent {
        class_id,
        class_name: class_name(class_id),
        index,
        outlier: None,
        prompt: "A high-quality image".into(),
        seed: u64::MAX - 1,
        dtype: "f32".into(),
        shape: vec![1, 1, 2],
        data: [1.0_f32, f32::NAN].iter().flat_map(|v| v.to_le_bytes()).collect(),
    })
}

fn scores() -> Vec<Score> {
    let score = |index: u64| Score {
        class_id: None,
        class_name: None,
        index,
        dataset: "svhn".into(),
        split: "test".into(),
        score: "energy".into(),
        sample: index as i64,
        value: index as f32 * 0.1,
        label: (index == 1).then_some(2),
        predicted: 0,
    };
    (0..3).map(score).collect()
}

fn metrics() -> Vec<Metric> {
    let metric = |index: u64| Metric {
        class_id: (index == 1).then_some(1),
        class_name: (index == 1).then(|| class_name(1)),
        index,
        name: "auroc".into(),
        dataset: Some("svhn".into()),
        score: None,
        epoch: None,
        value: 0.1 + index as f64,
        ood_group: None,
    };
    (0..3).map(metric).collect()
}

fn checkpoints() -> Vec<Checkpoint> {
    vec![Checkpoint {
        class_id: None,
        class_name: None,
        index: 0,
        name: "model".into(),
        epoch: 3,
        format: "safetensors".into(),
        size: 5,
        blake3: "aa".into(),
        blob: "aa".into(),
    }]
}

/// Writes the rows as Parquet, reads them back and compares: by `{:?}`, since a NaN differs from itself.
fn round_trip<A: Artifact + std::fmt::Debug>(directory: &Path, rows: &[A], width: usize) {
    let target = Target::new(directory.join(format!("{}.parquet", A::TABLE)));
    let schema = with_run_schema(&A::schema(width));
    let batches = rows
        .chunks(5)
        .map(|rows| with_run(RunId([0xab; 16]), &A::to_batch(rows)?));
    let written = write_parquet(&target, A::TABLE.name(), &schema, batches).unwrap();
    assert_eq!(written, rows.len() as u64);
    let read = ParquetRows::open(&target.path, A::TABLE).unwrap();
    assert_eq!(read.rows(), rows.len() as u64);
    let read: Vec<A> = read
        .flat_map(|batch| A::from_batch(&batch.unwrap()).unwrap())
        .collect();
    assert_eq!(format!("{read:?}"), format!("{rows:?}"), "{}", A::TABLE);
}

fn batch<A: Artifact>(rows: &[A]) -> [Result<RecordBatch, dream_schema::SchemaError>; 1] {
    [A::to_batch(rows)]
}

fn export_all(directory: &Path) {
    round_trip(directory, &embeddings(), WIDTH);
    round_trip(directory, &features(), WIDTH);
    round_trip(directory, &outliers(), WIDTH);
    round_trip(directory, &latents(), 0);
    round_trip(directory, &images(), 0);
    round_trip(directory, &checkpoints(), 0);
    round_trip(directory, &scores(), 0);
    round_trip(directory, &metrics(), 0);

    let target = |name: &str| Target::new(directory.join(name));
    let schema = Outlier::schema(WIDTH);
    write_csv(&target("outliers.csv"), &schema, batch(&outliers())).unwrap();
    let written = write_npy(
        &target("outliers.npy"),
        NpyLayout::Auto,
        &schema,
        batch(&outliers()),
    )
    .unwrap();
    assert_eq!(written.shape, [3, 4, 6]);
    let schema = ClassEmbedding::schema(WIDTH);
    let written = write_npy(
        &target("class_embeddings.npy"),
        NpyLayout::Auto,
        &schema,
        batch(&embeddings()),
    )
    .unwrap();
    assert_eq!(written.shape, [3, 6]);
    write_vectors(&target("outliers.safetensors"), batch(&outliers())).unwrap();
    let bytes = std::fs::read(directory.join("outliers.safetensors")).unwrap();
    write_checkpoint(&target("model.safetensors"), &bytes).unwrap();
    write_images(&target("images"), &Image::schema(0), batch(&images())).unwrap();
}

#[test]
fn every_table_survives_parquet_and_vectors_survive_npy_and_safetensors() {
    let directory = tempfile::tempdir().unwrap();
    export_all(directory.path());
    let vectors: Vec<Vec<f32>> = outliers().into_iter().map(|o| o.vector).collect();
    let npy = NpyVectors::open(&directory.path().join("outliers.npy")).unwrap();
    let read: Vec<f32> = npy.flat_map(|class| class.unwrap()).collect();
    assert_eq!(read, vectors.concat());
    let tensors = safetensors::read_vectors(&directory.path().join("outliers.safetensors")).unwrap();
    assert_eq!((tensors.flat, tensors.shape), (vectors.concat(), vec![12, 6]));
}

/// The way of `dream export` and `dream import`: out of one store, into another, with the same digest at the
/// end.
#[test]
fn a_run_exported_and_imported_has_the_same_digest() {
    let directory = tempfile::tempdir().unwrap();
    let spec = dream_schema::RunSpec {
        stage: "sample".into(),
        stage_version: 1,
        params: serde_json::json!({}),
        seed: 1,
        inputs: vec![],
        sources: Default::default(),
        source_names: Default::default(),
    };
    let stamp = Stamp {
        time_micros: 0,
        version: "0".into(),
        device: "cpu".into(),
        engine: None,
        host: "here".into(),
        process: None,
    };
    let store = std::sync::Arc::new(Store::create(directory.path().join("a.redb")).unwrap());
    let run = store.begin(&spec, &stamp).unwrap().into_run().id;
    store.put(run, &outliers()).unwrap();
    let exported = store.finish(run, 1).unwrap();

    let rows = Filter::all(TableName::Artifacts(Table::Outliers))
        .rows(&store)
        .unwrap();
    let target = Target::new(directory.path().join("outliers.parquet"));
    let schema = rows.schema();
    assert_eq!(write_parquet(&target, "outliers", &schema, rows).unwrap(), 12);

    let other = Store::create(directory.path().join("b.redb")).unwrap();
    let run = other.begin(&spec, &stamp).unwrap().into_run().id;
    for batch in ParquetRows::open(&target.path, Table::Outliers).unwrap() {
        let rows = Outlier::from_batch(&batch.unwrap()).unwrap();
        other.put(run, &rows).unwrap();
    }
    assert_eq!(other.finish(run, 1).unwrap().digest, exported.digest);
}

/// Runs `tests/fixtures/exchange/check.py` where a Python with pyarrow is at hand; says so where not. What it
/// checks is also checked by the tests above with our own readers.
#[test]
fn other_readers_agree() {
    let python = std::env::var("DREAM_PYTHON").unwrap_or_else(|_| "python3".into());
    let importable = Command::new(&python)
        .args(["-c", "import pyarrow, numpy"])
        .output();
    if !importable.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: {python} has no pyarrow; set DREAM_PYTHON to one that has");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    export_all(directory.path());
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/exchange/check.py");
    let output = Command::new(&python)
        .arg(script)
        .arg(directory.path())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{}\n{}", said[0], said[1]);
    eprintln!("{}", said[0]);
    // Hugging Face `datasets` has written the outliers again, where it is installed.
    let again = directory.path().join("again.parquet");
    if again.exists() {
        let read = ParquetRows::open(&again, Table::Outliers).unwrap();
        let read: Vec<_> = read
            .flat_map(|batch| Outlier::from_batch(&batch.unwrap()).unwrap())
            .collect();
        assert_eq!(read, outliers());
    }
}
