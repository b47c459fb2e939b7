//! `imagine`: decodes outlier embeddings into pictures (DREAM-OOD, Eq. 6). The class word's embedding gives
//! way to the outlier vector, the text encoder runs, the latent diffusion model is sampled from seeded noise,
//! and the VAE decodes.
//!
//! Every picture is named by (class, index): vector, initial noise and the noise of steps depend on that
//! name, the parameters and the seed alone, so a run can be cut into batches, interruptions and [`Shard`]s in
//! any way and comes out the same.

mod check;
mod noise;
mod paint;
mod painter;
mod params;
mod shard;
mod vectors;

use std::collections::BTreeSet;

use dream_schema::{ClassEmbedding, Run, Table};

use super::arithmetic::settled;
use super::{
    Arithmetic, Asked, Context, Input, ModelSource, Order, Refusals, Role, Source, Stage, StageError, embed,
    import, required_input, sample,
};
use crate::engine::Work;
use crate::store::{Readable, Store};

use check::{check_outliers, check_prompts, check_room, refuse_synthesis, resolve_sizes};
pub use noise::{initial_latents, initial_noise};
pub(super) use painter::{Painter, Wanted};
pub use params::{Params, Partner, ResizeBy, SchedulerName, Size, Synthesis, USUAL_BATCH};
pub use shard::Shard;
pub(super) use vectors::Vectors;

/// Name of the stage.
pub const NAME: &str = "imagine";
/// Version of its algorithm.
pub const VERSION: u32 = 1;

/// The place in the prompt that the class word takes.
pub const CLASS_PLACEHOLDER: &str = "<class>";

/// Pictures imagined from vectors.
#[derive(Clone, Debug)]
pub struct Imagine;

/// Asks for pictures imagined from the run `vectors`: outliers of a `sample` run or an import, or, where it
/// is an `embed` run, the plain class prompts or one of the syntheses from class embeddings.
///
/// # Errors
/// If the store fails.
pub fn ask(
    store: &Store,
    params: &Params,
    seed: u64,
    vectors: impl Into<Input>,
    model: &ModelSource,
) -> Result<Asked<Imagine>, StageError> {
    let vectors = vectors.into();
    let role = match embed::is_space(store, &vectors)? {
        true => Role::Embeddings,
        false => Role::Outliers,
    };
    Ok(Asked::new(params, seed)
        .reads(role, vectors)
        .from(Role::Model, model))
}

impl Stage for Imagine {
    const NAME: &'static str = NAME;
    const VERSION: u32 = VERSION;
    type Params = Params;

    /// Refuses parameters that are out of range for the classes or the model, prompts that the model cannot
    /// read, and runs with fewer vectors than pictures are wanted or vectors of another width than the class
    /// embeddings.
    fn check(store: &Store, asked: &mut Asked<Self>, refusals: &mut Refusals) -> Result<(), StageError> {
        asked.params.precision = settled(asked.params.precision, Work::Diffusion);
        let sound = refusals.take("parameters", asked.params.check())?.is_some();
        let outliers = match asked.input(&Role::Outliers) {
            Some(_) => {
                let stages = [sample::NAME, import::NAME];
                let known = asked.known(store, &Role::Outliers, &stages, refusals)?;
                let known =
                    known.filter(|known| import::require(known, Table::Outliers, &Role::Outliers, refusals));
                let Some(known) = known else {
                    return Ok(());
                };
                if asked.params.synthesis.is_some() {
                    refuse_synthesis(&known, refusals);
                    return Ok(());
                }
                if let Some(embeddings) = known.input(&Role::Embeddings) {
                    asked.add_input(Role::Embeddings, embeddings);
                }
                Some(known)
            }
            None => None,
        };
        let Some(known) = embed::known(store, asked, refusals)? else {
            return Ok(());
        };
        let classes = embed::classes(store, &known)?;
        if refusals
            .take("classes", asked.params.resolve_classes(&classes))?
            .is_none()
        {
            return Ok(());
        }
        if let Some(known) = outliers {
            check_outliers(store, &known, &asked.params, &classes, refusals)?;
        }
        let model = refusals
            .take(Role::Model, asked.source::<ModelSource>(&Role::Model))?
            .flatten();
        let Some(model) = model else { return Ok(()) };
        let outline = refusals
            .take("size", resolve_sizes(&mut asked.params, &model))?
            .flatten();
        // A finished run is answered without its model.
        if asked.is_answered(store) {
            return Ok(());
        }
        if model.is_registered() {
            refusals.take(Role::Model, embed::check_model(&classes, model.digest()))?;
        }
        let outline = match outline {
            Some(outline) => Some(outline),
            None => refusals.take(Role::Model, model.outline())?,
        };
        match outline {
            Some(outline) if sound => {
                let pictures = asked.params.pictures(&classes);
                let there = asked.id(store).map(|run| store.count(run, Table::Images));
                let there = there.transpose()?.unwrap_or(0);
                if !asked.is_answered(store) {
                    check_room(&asked.params, pictures, there, &outline, refusals)?;
                }
                check_prompts(&asked.params, &classes, &outline, refusals)
            }
            Some(_) | None => Ok(()),
        }
    }

    fn arithmetic(params: &Params) -> Arithmetic {
        params.arithmetic()
    }

    /// Executes the run; every batch is committed as it is done.
    fn execute(ctx: &Context<'_>, order: &Order<'_, Params>) -> Result<(), StageError> {
        execute_part(ctx, order, Shard::WHOLE).map(|_| ())
    }
}

/// Returns how many pictures a run has when it is whole.
///
/// # Errors
/// If its parameters are not this stage's, or the store fails.
pub fn pictures(store: &Store, run: &Run) -> Result<u64, StageError> {
    let params: Params = super::params(run)?;
    let classes: Vec<ClassEmbedding> = store.rows(required_input(run, &Role::Embeddings)?, None)?;
    Ok(params.pictures(&classes))
}

/// Returns which of `parts` parts of a run the store does not have whole.
pub(super) fn missing_parts(store: &Store, run: &Run, parts: u64) -> Result<Vec<Shard>, StageError> {
    let params: Params = super::params(run)?;
    let classes: Vec<ClassEmbedding> = store.rows(required_input(run, &Role::Embeddings)?, None)?;
    let done = made(store, run, &params.chosen(&classes))?;
    let is_missing = |shard: &Shard| {
        let mut part = shard.indices(params.per_class);
        part.any(|index| done.iter().any(|done| !done.contains(&index)))
    };
    let all = (1..=parts).filter_map(|part| Shard::new(part, parts));
    Ok(all.filter(is_missing).collect())
}

/// Returns the indexes of the pictures of each class that a run has.
fn made(store: &Store, run: &Run, classes: &[&ClassEmbedding]) -> Result<Vec<BTreeSet<u64>>, StageError> {
    let indexes = |class: &&ClassEmbedding| Ok(store.indices(run.id, Table::Images, class.class_id)?);
    classes.iter().map(indexes).collect()
}

/// Makes what is missing of one part of the run, and says whether the whole run is now there.
pub(super) fn execute_part(
    ctx: &Context<'_>,
    order: &Order<'_, Params>,
    shard: Shard,
) -> Result<bool, StageError> {
    let Order { run, params } = order;
    let classes: Vec<ClassEmbedding> = ctx.store.rows(required_input(run, &Role::Embeddings)?, None)?;
    let chosen = params.chosen(&classes);
    let part = shard.indices(params.per_class);
    let done = made(ctx.store, run, &chosen)?;
    // Named one by one as they are made: there may be more of them than fit into memory.
    let todo = chosen.iter().zip(&done).flat_map(|(class, done)| {
        let missing = part.clone().filter(|index| !done.contains(index));
        missing.map(|index| (*class, index))
    });
    let total = chosen.len() as u64 * (part.end - part.start);
    let there = done.iter().flatten().filter(|index| part.contains(index)).count();
    ctx.progress.begin("imagine", total, "images");
    ctx.progress.skip(there as u64);
    if (there as u64) < total {
        let mut vectors = Vectors::new(ctx.store, run, params, &classes);
        let mut wanted = todo.map(|(class, index)| {
            let vector = vectors.of(class, index)?;
            Ok(Wanted { class, index, vector })
        });
        let load = |ctx: &Context<'_>| Painter::load(ctx, run, params, &classes);
        let first = load(ctx)?;
        first.say_what_is_cut(ctx, &chosen)?;
        paint::all(ctx, first, &load, &mut wanted)?;
    }
    Ok(ctx.store.count(run.id, Table::Images)? == params.pictures(&classes))
}
