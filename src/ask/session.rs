//! What stages run with, owned: a [`Context`] borrows all of it from here.

use std::sync::Arc;

use crate::engine::Engine;
use crate::stage::{BatchSize, Context, Machine, Progress};
use crate::store::Store;

/// What stages run with. A front end opens one per store and asks for contexts as it goes.
pub struct Session {
    /// The store.
    pub store: Arc<Store>,
    /// What computes the models, and where.
    pub engine: Engine,
    /// Further devices of the same kind, as [`Context::beside`].
    pub beside: Vec<Engine>,
    /// Version, device and host, as runs record them.
    pub machine: Machine,
    /// The time in microseconds since 1970-01-01 UTC.
    pub now: fn() -> i64,
    /// Who is told how far the work has come, and says when to stop.
    pub progress: Arc<dyn Progress + Send + Sync>,
}

impl Session {
    /// Returns what a stage runs with.
    pub fn context(&self, batch_size: BatchSize) -> Context<'_> {
        Context {
            store: &self.store,
            engine: &self.engine,
            beside: &self.beside,
            machine: &self.machine,
            now: &self.now,
            progress: self.progress.as_ref(),
            batch_size,
            f32_stands_in: false,
        }
    }
}
