//! What stages run with.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use candle_core::Device;
use dream_ood::ask::{self, Session};
use dream_ood::engine::Engine;
use dream_ood::stage::{self, BatchSize};
use dream_ood::store::Store;
use pyo3::prelude::*;

use crate::work::Told;

/// What Python knows of the machine.
#[derive(FromPyObject)]
pub struct Machine {
    /// How many pictures the diffusion model makes at once.
    batch_size: Option<usize>,
    /// Bytes that pictures in the making may take, where that is not said.
    memory: u64,
}

impl Machine {
    /// Returns what stages run with on a store, and who is told.
    pub fn session(&self, store: &Arc<Store>, told: &Arc<Told>) -> Session {
        let engine = Engine::of(&Device::Cpu);
        Session {
            store: store.clone(),
            machine: stage::Machine {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                device: "cpu".to_owned(),
                engine: engine.describe(),
                host: host(),
                process: Some(ask::own_process()),
            },
            engine,
            beside: Vec::new(),
            now,
            progress: told.clone(),
        }
    }

    /// Returns how many pictures the diffusion model makes at once.
    pub fn batch_size(&self) -> BatchSize {
        match self.batch_size {
            Some(pictures) => BatchSize::Pictures(pictures),
            None => BatchSize::Memory(self.memory),
        }
    }
}

/// Returns the name of this machine.
pub fn host() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}

/// Returns microseconds since 1970-01-01 UTC.
fn now() -> i64 {
    // A clock before 1970 is a broken one; the time of a run is for people to read and decides nothing.
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as i64)
}
