//! The stages of the pipeline, one file each: what each reads from the store, computes and writes back.
//!
//! A [`Stage`] has two halves. `check` looks at a question ([`Asked`]: parameters, seed, input runs, data
//! sets) and refuses what cannot be done; the question then becomes a [`RunSpec`]. `execute` reads nothing
//! but that specification, as the store keeps it, so whatever decides a result is on record by construction.
//! [`run`] puts the halves together: a finished run is returned at once, an interrupted one resumed, a new
//! one executed. Numbers that change the speed and not the result (batch sizes of inference, threads) are no
//! parameters: they come with the [`Context`].

pub mod classes;
pub mod compare;
pub mod detect;
pub mod embed;
pub mod encode;
mod error;
pub mod evaluate;
pub mod imagine;
pub mod import;
pub mod lineage;
mod metric;
mod phi;
mod pictures;
pub mod pipeline;
mod question;
mod refusal;
pub mod regenerate;
pub mod report;
pub mod reproduce;
mod role;
mod rows;
pub mod sample;
mod source;
#[cfg(test)]
mod tests;
pub mod training;

use dream_schema::{Run, RunId, RunInput, RunSpec, Status};
use serde::de::DeserializeOwned;

use crate::engine::Engine;
use crate::store::{Begun, Readable, Stamp, Store};

pub use error::StageError;
pub use metric::MetricName;
pub use pictures::HELD_BYTES;
pub use question::{Asked, Input, Known, Order, Stage};
pub use refusal::{Refusal, Refusals};
pub use role::Role;
pub use source::{
    ImageSource, MODEL_KIND, ModelSource, STATE_KIND, Source, StateSource, register_images, register_model,
    register_state,
};

/// What a stage runs with.
pub struct Context<'a> {
    /// The store that it reads from and writes to.
    pub store: &'a Store,
    /// What computes the models, and where.
    pub engine: &'a Engine,
    /// Version, device and host, as a run records them.
    pub machine: &'a Machine,
    /// The time in microseconds since 1970-01-01 UTC.
    pub now: &'a (dyn Fn() -> i64 + Sync),
    /// Who is told how far the work has come, and says when to stop.
    pub progress: &'a dyn Progress,
    /// How many pictures the diffusion model makes at once.
    pub batch_size: BatchSize,
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
    /// The processor: `cpu`, `cuda:0`.
    pub device: String,
    /// The machine's name.
    pub host: String,
}

impl Context<'_> {
    fn stamp(&self) -> Stamp {
        Stamp {
            time_micros: (self.now)(),
            version: self.machine.version.clone(),
            device: self.machine.device.clone(),
            host: self.machine.host.clone(),
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

/// How [`run`] came by its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The store had the answer.
    Known,
    /// An interrupted run was completed.
    Resumed,
    /// The run was executed from the beginning.
    Executed,
}

/// What executes runs of one stage.
struct Entry {
    name: &'static str,
    version: u32,
    execute: fn(&Context<'_>, &Run) -> Result<(), StageError>,
}

impl Entry {
    const fn of<S: Stage>() -> Self {
        Self {
            name: S::NAME,
            version: S::VERSION,
            execute: |ctx, run| S::execute(ctx, &Order::of(run)?),
        }
    }
}

macro_rules! stages {
    ($($stage:path),*) => {
        /// The stages by the names that runs carry.
        pub const STAGES: &[&str] = &[$(<$stage>::NAME),*];
        const TABLE: &[Entry] = &[$(Entry::of::<$stage>()),*];
    };
}
stages!(
    embed::Embed,
    encode::Encode,
    sample::Sample,
    imagine::Imagine,
    detect::Detect,
    evaluate::Evaluate
);

/// Returns the finished run that answers `spec`, executing what of it is not in the store.
///
/// # Errors
/// Whatever the stage fails with; the run is then marked as failed, or, if the user interrupted it, left to
/// be resumed.
pub fn run(ctx: &Context<'_>, spec: &RunSpec) -> Result<(Run, How), StageError> {
    attempt(ctx, spec, |run| execute(ctx, run).map(|()| true))
}

/// Makes one part of the `imagine` run that answers `spec`. The run has the id that it has as a whole and
/// stays unfinished (`running`) until all of its pictures are there: merge the stores of all parts, then
/// [`run`] finds nothing missing and finishes it. The part that happens to be the last one in its store
/// finishes it, too.
///
/// # Errors
/// As [`run`], and if the specification is of another stage.
pub fn run_part(ctx: &Context<'_>, spec: &RunSpec, shard: imagine::Shard) -> Result<(Run, How), StageError> {
    if spec.stage != imagine::NAME {
        let stage = &spec.stage;
        let why = format!("only `{}` can be made in parts, not `{stage}`", imagine::NAME);
        return Err(StageError::Mismatch(why));
    }
    attempt(ctx, spec, |run| {
        stage_of(run)?;
        imagine::execute_part(ctx, &Order::of(run)?, shard)
    })
}

/// Begins a run or takes it up again, does the work, and finishes it if the work says that all is there.
fn attempt(
    ctx: &Context<'_>,
    spec: &RunSpec,
    work: impl FnOnce(&Run) -> Result<bool, StageError>,
) -> Result<(Run, How), StageError> {
    let (run, how) = match ctx.store.begin(spec, &ctx.stamp())? {
        Begun::Finished(run) => return Ok((run, How::Known)),
        Begun::Resumed(run) => (run, How::Resumed),
        Begun::New(run) => (run, How::Executed),
    };
    let result = work(&run);
    ctx.progress.end();
    match result {
        Ok(true) => Ok((ctx.store.finish(run.id, (ctx.now)())?, how)),
        Ok(false) => Ok((run, how)),
        Err(StageError::Interrupted) => Err(StageError::Interrupted),
        Err(error) => {
            // The stage's own error is the one to report, even if it cannot be written down (a full disk).
            let _ = ctx.store.fail(run.id, &error.to_string(), (ctx.now)());
            Err(error)
        }
    }
}

/// Returns the stage of a run, if this program has it in the version that the run was begun with.
fn stage_of(run: &Run) -> Result<&'static Entry, StageError> {
    let name = &run.spec.stage;
    let Some(stage) = TABLE.iter().find(|s| s.name == name) else {
        return Err(StageError::UnknownStage { stage: name.clone() });
    };
    if run.spec.stage_version == stage.version {
        return Ok(stage);
    }
    Err(StageError::StageVersion {
        stage: name.clone(),
        actual: run.spec.stage_version,
        expected: stage.version,
    })
}

fn execute(ctx: &Context<'_>, run: &Run) -> Result<(), StageError> {
    (stage_of(run)?.execute)(ctx, run)
}

/// Returns the parameters of a run as its stage's type.
fn params<P: DeserializeOwned>(run: &Run) -> Result<P, StageError> {
    serde_json::from_value(run.spec.params.clone()).map_err(|source| StageError::Params {
        stage: run.spec.stage.clone(),
        message: source.to_string(),
    })
}

/// Every stage, for [`input`].
const ANY: &[&str] = &[];

/// Returns the reference to a finished run of one of `stages` that a specification keeps.
fn input(store: &Store, role: &str, id: RunId, stages: &[&str]) -> Result<RunInput, StageError> {
    let run = store.run(id)?;
    if !stages.is_empty() && !stages.contains(&run.spec.stage.as_str()) {
        let (role, stage, expected) = (role.to_owned(), run.spec.stage, stages.join("` or `"));
        return Err(StageError::InputStage {
            role,
            run: id,
            stage,
            expected,
        });
    }
    match (run.status, run.digest) {
        (Status::Finished, Some(digest)) => Ok(RunInput {
            role: role.to_owned(),
            run: id,
            digest,
        }),
        (status, _) => Err(StageError::InputUnfinished {
            role: role.to_owned(),
            run: id,
            status,
        }),
    }
}

/// Returns the run that serves as `role`.
fn required_input(run: &Run, role: &Role) -> Result<RunId, StageError> {
    role.input_of(run).ok_or_else(|| StageError::MissingInput {
        stage: run.spec.stage.clone(),
        role: role.to_string(),
    })
}
