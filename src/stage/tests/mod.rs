//! Training on small sets made on the spot: streaming, validation, resume, images left out, weights to start
//! from.

mod evaluating;
mod groups;
mod methods;
mod precision;
mod protocol;
mod reporting;
mod selecting;
pub(in crate::stage) mod several;
mod start;
mod streaming;
mod validation;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::Device;
use dream_schema::{Checkpoint, Metric, Run, RunSpec};
use tempfile::TempDir;

use super::*;
use crate::dataset::Reading;
use crate::engine::Engine;
use crate::rng::Stream;

/// A folder with `train` and `test`, three classes of noisy grey, 8 pixels and more wide.
fn pictures(per_class: u32) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (split, n) in [("train", per_class), ("test", 4)] {
        for (class, name) in ["black", "grey", "white"].iter().enumerate() {
            let folder = dir.path().join(split).join(name);
            std::fs::create_dir_all(&folder).unwrap();
            for i in 0..n {
                let mut noise = Stream::new(
                    u64::from(split == "test"),
                    "test/picture",
                    class as u32,
                    u64::from(i),
                );
                let (width, height) = (8 + i % 5, 8 + i % 3);
                let image = image::RgbImage::from_fn(width, height, |_, _| {
                    image::Rgb([0; 3].map(|_: u8| (60 * class as u32 + noise.below(90)) as u8))
                });
                image.save(folder.join(format!("{i:02}.png"))).unwrap();
            }
        }
    }
    dir
}

/// A classifier that learns such a set in a moment.
fn training() -> serde_json::Value {
    serde_json::json!({
        "depth": 10, "width": 2, "stem": "cifar", "size": 8, "channels": "rgb",
        "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25],
        "epochs": 3, "batch_size": 10, "lr": 0.05, "min_lr": 1e-6, "momentum": 0.9, "nesterov": true,
        "weight_decay": 5e-4, "flip": true, "crop_padding": 1,
        "split": "train", "test_split": "test", "checkpoint_every": 2,
    })
}

/// The same with other parameters.
fn with(changes: serde_json::Value) -> detect::Params {
    let mut training = training();
    for (key, value) in changes.as_object().unwrap() {
        training[key] = value.clone();
    }
    serde_json::from_value(serde_json::json!({ "training": training })).unwrap()
}

/// Stops after so many steps, and keeps what is said.
pub(in crate::stage) struct Watch {
    left: AtomicUsize,
    pub(in crate::stage) said: std::sync::Mutex<Vec<String>>,
}

impl Watch {
    pub(in crate::stage) fn new(steps: usize) -> Self {
        Self {
            left: AtomicUsize::new(steps),
            said: Default::default(),
        }
    }
}

impl Progress for Watch {
    fn begin(&self, _what: &str, _total: u64, _unit: &str) {}
    fn advance(&self, n: u64) {
        let less = |left: usize| Some(left.saturating_sub(if n == 1 { 1 } else { 0 }));
        self.left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
            .unwrap();
    }
    fn note(&self, text: &str) {
        self.said.lock().unwrap().push(text.to_owned());
    }
    fn end(&self) {}
    fn cancelled(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }
}

/// Does something with a context on the CPU whose clock stands still.
pub(in crate::stage) fn in_context<T>(
    store: &Store,
    progress: &dyn Progress,
    work: impl FnOnce(&Context<'_>) -> T,
) -> T {
    let machine = Machine {
        version: "test".into(),
        device: "cpu".into(),
        engine: "host".into(),
        host: "here".into(),
        process: None,
    };
    work(&Context {
        store,
        engine: &Engine::default(),
        beside: &[],
        machine: &machine,
        now: &|| 1,
        progress,
        batch_size: BatchSize::Pictures(8),
        f32_stands_in: false,
    })
}

/// The stamp of a run that a test begins itself.
pub(in crate::stage) fn stamp() -> crate::store::Stamp {
    crate::store::Stamp {
        time_micros: 0,
        version: "test".into(),
        device: "cpu".into(),
        engine: None,
        host: "test".into(),
        process: None,
    }
}

/// A store of its own.
pub(in crate::stage) struct Bench {
    _folder: TempDir,
    pub(in crate::stage) store: Store,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(folder.path().join("store.redb")).unwrap();
        Self {
            _folder: folder,
            store,
        }
    }

    fn run(&self, spec: &RunSpec, watch: &Watch) -> Result<Run, StageError> {
        self.with(watch, |ctx| run(ctx, spec)).map(|(run, _)| run)
    }

    fn with<T>(&self, watch: &Watch, work: impl FnOnce(&Context<'_>) -> T) -> T {
        in_context(&self.store, watch, work)
    }

    fn detect(&self, set: &Path, params: &detect::Params) -> RunSpec {
        let images = register_images(&self.store, "set", set, &Reading::default()).unwrap();
        self.asked(params, &images).unwrap()
    }

    fn asked(&self, params: &detect::Params, images: &ImageSource) -> Result<RunSpec, StageError> {
        detect::ask(params, 7, detect::Inputs::default(), images).spec(&self.store)
    }

    fn metrics(&self, run: &Run) -> BTreeMap<String, Vec<f64>> {
        let mut rows: Vec<Metric> = self.store.rows(run.id, None).unwrap();
        rows.sort_by_key(|m| m.index);
        let mut all: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for row in rows {
            all.entry(row.name).or_default().push(row.value);
        }
        all
    }

    fn checkpoints(&self, run: &Run, name: &str) -> Vec<i32> {
        let rows: Vec<Checkpoint> = self.store.rows(run.id, None).unwrap();
        rows.iter().filter(|c| c.name == name).map(|c| c.epoch).collect()
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    files
}
