//! What stages run with.

use std::time::{SystemTime, UNIX_EPOCH};

use candle_core::Device;
use dream_ood::engine::Engine;
use dream_ood::stage::{self, BatchSize, Context, Progress};
use dream_ood::store::Store;
use dream_schema::Process;
use pyo3::prelude::*;

/// What Python knows of the machine.
#[derive(FromPyObject)]
pub struct Machine {
    /// When this process was started, in the kernel's ticks.
    started: Option<u64>,
    /// How many pictures the diffusion model makes at once.
    batch_size: Option<usize>,
    /// Bytes that pictures in the making may take, where that is not said.
    memory: u64,
}

/// What a [`Context`] borrows.
pub struct Parts<'a> {
    store: &'a Store,
    engine: Engine,
    machine: stage::Machine,
    batch_size: BatchSize,
    progress: &'a dyn Progress,
}

impl<'a> Parts<'a> {
    pub fn of(store: &'a Store, machine: &Machine, progress: &'a dyn Progress) -> Self {
        let engine = Engine::of(&Device::Cpu);
        Self {
            store,
            machine: stage::Machine {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                device: "cpu".to_owned(),
                engine: engine.describe(),
                host: gethostname::gethostname().to_string_lossy().into_owned(),
                process: Some(Process {
                    pid: std::process::id(),
                    started: machine.started,
                }),
            },
            batch_size: match machine.batch_size {
                Some(pictures) => BatchSize::Pictures(pictures),
                None => BatchSize::Memory(machine.memory),
            },
            progress,
            engine,
        }
    }

    pub fn context(&self) -> Context<'_> {
        Context {
            store: self.store,
            engine: &self.engine,
            machine: &self.machine,
            now: &now,
            progress: self.progress,
            batch_size: self.batch_size,
            f32_stands_in: false,
        }
    }
}

/// Returns microseconds since 1970-01-01 UTC.
fn now() -> i64 {
    // A clock before 1970 is a broken one; the time of a run is for people to read and decides nothing.
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as i64)
}
