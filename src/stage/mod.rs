//! The stages of the pipeline, one file or folder each: what each reads from the store, computes and writes
//! back.
//!
//! A [`Stage`] has two halves. `check` looks at a question ([`Asked`]: parameters, seed, input runs, data
//! sets) and refuses what cannot be done; the question then becomes a [`RunSpec`]. `execute` reads nothing
//! but that specification, as the store keeps it, so whatever decides a result is on record by construction.
//! [`run`] puts the halves together: a finished run is returned at once, an interrupted one resumed, a new
//! one, or one of which rows were lost, executed. Numbers that change the speed and not the result (batch
//! sizes of inference, threads) are no parameters: they come with the [`Context`].

mod arithmetic;
pub mod classes;
pub mod compare;
mod context;
pub mod detect;
pub mod embed;
pub mod encode;
mod error;
pub mod evaluate;
pub mod imagine;
pub mod import;
mod known;
pub mod lineage;
mod metric;
mod nearest;
pub mod observe;
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
pub mod select;
mod source;
#[cfg(test)]
mod tests;
pub mod training;

use dream_schema::{Run, RunId, RunInput, RunSpec, Status};
use serde::de::DeserializeOwned;

use crate::store::{Begun, Readable, Store};

pub use arithmetic::Arithmetic;
pub use context::{BatchSize, Context, Machine, Progress, Silent};
pub use error::StageError;
pub use known::{Input, Known};
pub use metric::MetricName;
pub use pictures::HELD_BYTES;
pub use question::{Asked, Order, Stage};
pub use refusal::{Refusal, Refusals, Room, did_you_mean, nearest_name, with_suggestion};
pub use role::Role;
pub use source::{
    ImageSource, MODEL_KIND, ModelSource, STATE_KIND, Source, StateSource, check_source_name, name_of_source,
    notes_on_images, register_images, register_model, register_state,
};
use source::{read_images, read_model};

/// How [`run`] came by its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The store had the answer.
    Known,
    /// An interrupted run was completed.
    Resumed,
    /// Rows of the run had been lost; it was executed from the beginning.
    Remade,
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
            execute: |ctx, run| {
                let order = Order::of(run)?;
                S::arithmetic(&order.params).within(ctx, |ctx| {
                    let done = S::execute(ctx, &order);
                    for engine in std::iter::once(ctx.engine).chain(ctx.beside) {
                        engine
                            .trouble()
                            .into_iter()
                            .for_each(|told| ctx.progress.note(&told));
                    }
                    done
                })
            },
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
    observe::Observe,
    select::Select,
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
    divisible(spec)?;
    attempt(ctx, spec, |run| {
        stage_of(run)?;
        let order = Order::of(run)?;
        let arithmetic = imagine::Imagine::arithmetic(&order.params);
        arithmetic.within(ctx, |ctx| imagine::execute_part(ctx, &order, shard))
    })
}

/// Begins the `imagine` run that answers `spec`, or takes it up again, and returns which of `parts` parts of
/// it are not whole in the store: those that are left for [`run_part`]. None are of a finished run.
///
/// # Errors
/// If the specification is of another stage, or the store fails.
pub fn parts_left(ctx: &Context<'_>, spec: &RunSpec, parts: u64) -> Result<Vec<imagine::Shard>, StageError> {
    divisible(spec)?;
    let begun = begin(ctx, spec)?;
    match begun.is_finished() {
        true => Ok(Vec::new()),
        false => imagine::missing_parts(ctx.store, &begun.into_run(), parts),
    }
}

/// Refuses a run that cannot be made in parts.
fn divisible(spec: &RunSpec) -> Result<(), StageError> {
    if spec.stage == imagine::NAME {
        return Ok(());
    }
    let stage = &spec.stage;
    let why = format!("only `{}` can be made in parts, not `{stage}`", imagine::NAME);
    Err(StageError::Mismatch(why))
}

/// Begins a run or takes it up again, does the work, and finishes it if the work says that all is there.
fn attempt(
    ctx: &Context<'_>,
    spec: &RunSpec,
    work: impl FnOnce(&Run) -> Result<bool, StageError>,
) -> Result<(Run, How), StageError> {
    let (run, how) = match begin(ctx, spec)? {
        Begun::Finished(run) => return Ok((run, How::Known)),
        Begun::Resumed(run) => (run, How::Resumed),
        Begun::Remade(run) => (run, How::Remade),
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

/// Begins a run or takes it up again, and tells the user where what was left of it had to go.
fn begin(ctx: &Context<'_>, spec: &RunSpec) -> Result<Begun, StageError> {
    let begun = ctx.store.begin(spec, &ctx.stamp())?;
    if let Begun::Remade(run) = &begun {
        ctx.progress.note(&format!(
            "rows of run {} were lost: what was left of it is removed, and it is made from the beginning",
            run.id
        ));
    }
    Ok(begun)
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
