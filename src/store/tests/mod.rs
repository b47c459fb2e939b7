//! Tests of the store as its users see it.
#![expect(
    clippy::print_stdout,
    reason = "measurements, and what the killed process has to say"
)]

mod append;
mod disk;
mod faults;
mod fixture;
mod measure;
mod mend;
mod names;
mod older;
mod partial;
mod random;
mod rows;
mod runs;
mod strips;
mod upgrade;
mod vectors;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use dream_schema::{Checkpoint, Feature, Latent, Metric, Run, RunId, RunInput, RunSpec};
use serde_json::json;

use super::format::Format;
use super::{Begun, MergeOptions, Projection, Readable, Stamp, Store};

/// A store in a directory that goes away with it.
pub struct Temporary {
    pub store: Store,
    pub path: PathBuf,
    pub directory: tempfile::TempDir,
}

thread_local! {
    /// The format of the stores that a test makes.
    static FORMAT: Cell<Format> = const { Cell::new(Format::NEWEST) };
}

/// Does a test with stores of every format.
pub fn in_every_format(test: impl Fn()) {
    for format in Format::ALL {
        FORMAT.set(format);
        println!("format {}", format.version());
        test();
    }
    FORMAT.set(Format::NEWEST);
}

pub fn temporary() -> Temporary {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.redb");
    let store = Store::create_as(&path, FORMAT.get()).unwrap();
    Temporary {
        store,
        path,
        directory,
    }
}

impl Temporary {
    /// Closes the store. Its file is there as long as the directory.
    pub fn close(self) -> (PathBuf, tempfile::TempDir) {
        drop(self.store);
        (self.path, self.directory)
    }

    /// Closes the store and opens it again.
    pub fn reopen(self) -> Self {
        let (path, directory) = self.close();
        Self {
            store: Store::open(&path).unwrap(),
            path,
            directory,
        }
    }
}

pub fn stamp(time_micros: i64) -> Stamp {
    Stamp {
        time_micros,
        version: "1.2.3".into(),
        device: "cpu".into(),
        engine: None,
        host: "here".into(),
        process: None,
    }
}

pub fn spec(seed: u64) -> RunSpec {
    RunSpec {
        stage: "sample".into(),
        stage_version: 1,
        params: json!({"k": 300, "sigma": 0.07}),
        seed,
        inputs: Vec::new(),
        sources: BTreeMap::new(),
        source_names: Default::default(),
    }
}

pub fn spec_from(seed: u64, input: &Run) -> RunSpec {
    let input = RunInput {
        role: "embeddings".into(),
        run: input.id,
        digest: input.digest.clone().unwrap_or_default(),
    };
    RunSpec {
        inputs: vec![input],
        ..spec(seed)
    }
}

/// Begins a new run.
pub fn begin(store: &Store, seed: u64) -> RunId {
    match store.begin(&spec(seed), &stamp(1_000 + seed as i64)).unwrap() {
        Begun::New(run) => run.id,
        other => panic!("{other:?}"),
    }
}

pub fn feature(class_id: u32, index: u64, value: f32) -> Feature {
    Feature {
        class_id,
        class_name: format!("class {class_id}"),
        index,
        vector: vec![value, -value, 0.5],
        split: "train".into(),
        sample: index as i64 * 7,
    }
}

pub fn metric(index: u64, value: f64) -> Metric {
    Metric {
        class_id: None,
        class_name: None,
        index,
        name: "loss".into(),
        dataset: None,
        score: None,
        epoch: Some(index as i32),
        value,
        ood_group: None,
    }
}

pub fn latent(class_id: u32, index: u64, bytes: usize) -> Latent {
    Latent {
        class_id,
        class_name: format!("class {class_id}"),
        index,
        outlier: Some(3),
        prompt: "A high-quality image of the fish".into(),
        seed: u64::MAX - index,
        dtype: "f32".into(),
        shape: vec![4, 64, 64],
        data: (0..bytes).map(|i| (i as u64 * 31 + index) as u8).collect(),
    }
}

pub fn checkpoint(index: u64, bytes: &[u8]) -> Checkpoint {
    let hash = blake3::hash(bytes).to_hex().to_string();
    Checkpoint {
        class_id: None,
        class_name: None,
        index,
        name: "model".into(),
        epoch: 1,
        format: "safetensors".into(),
        size: bytes.len() as i64,
        blake3: hash.clone(),
        blob: hash,
    }
}
