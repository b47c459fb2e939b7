//! What a stage runs with: the store, the engine, the clock, and who is told how far it has come.

use dream_schema::Process;

use super::StageError;
use crate::engine::Engine;
use crate::store::{Stamp, Store};

/// What a stage runs with.
pub struct Context<'a> {
    /// The store that it reads from and writes to.
    pub store: &'a Store,
    /// What computes the models, and where.
    pub engine: &'a Engine,
    /// Further devices of the same kind, which share the pictures of an `imagine` run with it.
    pub beside: &'a [Engine],
    /// Version, device and host, as a run records them.
    pub machine: &'a Machine,
    /// The time in microseconds since 1970-01-01 UTC.
    pub now: &'a (dyn Fn() -> i64 + Sync),
    /// Who is told how far the work has come, and says when to stop.
    pub progress: &'a dyn Progress,
    /// How many pictures the diffusion model makes at once.
    pub batch_size: BatchSize,
    /// Whether f32 stands in for a precision that the engine does not have: to see how close it comes. A run
    /// is never made so.
    pub f32_stands_in: bool,
}

/// How many pictures the diffusion model makes at once. Results do not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchSize {
    /// So many.
    Pictures(usize),
    /// As many as fit into so many bytes beside the model's weights, by the estimate of
    /// [`Geometry`](crate::diffusion::Geometry).
    Memory(u64),
}

/// Where a run is executed.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Version of the program.
    pub version: String,
    /// The processors: `cpu`, `cuda:0`, `cuda:0,cuda:1`.
    pub device: String,
    /// What computes there, as [`Engine::describe`] says it.
    pub engine: String,
    /// The machine's name.
    pub host: String,
    /// The process, where it is known.
    pub process: Option<Process>,
}

impl Context<'_> {
    pub(super) fn stamp(&self) -> Stamp {
        Stamp {
            time_micros: (self.now)(),
            version: self.machine.version.clone(),
            device: self.machine.device.clone(),
            engine: Some(self.machine.engine.clone()),
            host: self.machine.host.clone(),
            process: self.machine.process,
        }
    }

    /// Returns an error once the user has asked to stop; what is committed stays, and the run can be resumed.
    ///
    /// # Errors
    /// [`StageError::Interrupted`].
    pub fn check_interrupt(&self) -> Result<(), StageError> {
        if self.progress.cancelled() {
            Err(StageError::Interrupted)
        } else {
            Ok(())
        }
    }
}

/// Told how far a stage has come.
pub trait Progress: Sync {
    /// A piece of work of `total` units begins; an earlier one is over.
    fn begin(&self, what: &str, total: u64, unit: &str);
    /// `n` units more are done.
    fn advance(&self, n: u64);
    /// `n` units were done before the work began: they count for how far it is, and not for how fast.
    fn skip(&self, n: u64) {
        self.advance(n);
    }
    /// Words for the user: a loss, an accuracy.
    fn note(&self, text: &str);
    /// Where inside of a unit the work is; of interest for the moment alone.
    fn detail(&self, _text: &str) {}
    /// The piece of work is over.
    fn end(&self);
    /// Says whether the user has asked to stop.
    fn cancelled(&self) -> bool;
    /// Says whether the user has asked to stop without ending what is in hand. Who is asked to stop, but not
    /// so, ends the pictures that are in the making, if any are.
    fn cancelled_at_once(&self) -> bool {
        self.cancelled()
    }
}

/// Tells no one.
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _what: &str, _total: u64, _unit: &str) {}
    fn advance(&self, _n: u64) {}
    fn note(&self, _text: &str) {}
    fn end(&self) {}
    fn cancelled(&self) -> bool {
        false
    }
}
