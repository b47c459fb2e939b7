//! `imagine`: decodes outlier embeddings into pictures (DREAM-OOD, Eq. 6). The class word's embedding gives way to the outlier
//! vector, the text encoder runs, the latent diffusion model is sampled from seeded noise, and the VAE decodes.
//!
//! Every picture is named by (class, index): vector, initial noise and the noise of steps depend on that name, the parameters and
//! the seed alone, so a run can be cut into batches, interruptions and [`Shard`]s in any way and comes out the same.

mod noise;
mod painter;
mod params;
mod shard;
mod vectors;

use std::collections::BTreeMap;

use dream_schema::{ClassEmbedding, Run, RunId, RunSpec, Status, Table};

use super::{Context, Source, StageError, embed, import, input, required_input, sample, source};
use crate::diffusion::Outline;
use crate::store::{Projection, Readable, Store};

pub use noise::{initial_latents, initial_noise};
pub(super) use painter::{Painter, Wanted};
pub use params::{Params, Partner, SchedulerName, Size, Synthesis};
pub use shard::Shard;
pub(super) use vectors::Vectors;

/// Name of the stage.
pub const NAME: &str = "imagine";
/// Version of its algorithm.
pub const VERSION: u32 = 1;

/// The place in the prompt that the class word takes.
pub const CLASS_PLACEHOLDER: &str = "<class>";

/// Returns the specification of pictures imagined from the run `vectors`: outliers of a `sample` run, or, of an `embed` run, the
/// plain class prompts or one of the syntheses from class embeddings.
///
/// # Errors
/// If `vectors` is no finished run of those stages, if it has fewer vectors than pictures are wanted or vectors of another width
/// than the class embeddings, or if a parameter is out of range for the classes or the model.
pub fn spec(
    store: &Store,
    params: &Params,
    seed: u64,
    vectors: RunId,
    model: &Source,
) -> Result<RunSpec, StageError> {
    let mut params = params.clone();
    params.check()?;
    let run = store.run(vectors)?;
    let inputs = if run.spec.stage == embed::NAME {
        vec![input(store, "embeddings", vectors, &[embed::NAME])?]
    } else {
        let outliers = input(store, "outliers", vectors, &[sample::NAME, import::NAME])?;
        let embeddings = required_input(&run, "embeddings")?;
        if params.synthesis.is_some() {
            return Err(params::wrong(format!(
                "noise and interpolation start from class embeddings, but run {vectors} is of the stage `{}`: give its \
                 embeddings {embeddings} instead",
                run.spec.stage
            )));
        }
        vec![outliers, input(store, "embeddings", embeddings, &[embed::NAME])?]
    };
    let embeddings = inputs.last().map_or(vectors, |i| i.run);
    let classes: Vec<ClassEmbedding> = store.rows(embeddings, None)?;
    params.resolve_classes(&classes)?;
    if inputs.len() == 2 {
        check_outliers(store, vectors, &params, &classes)?;
    }
    let outline = resolve_sizes(&mut params, model)?;
    let spec = RunSpec {
        stage: NAME.into(),
        stage_version: VERSION,
        params: serde_json::json!(params),
        seed,
        inputs,
        sources: BTreeMap::from([source::role("model", model)]),
    };
    // A finished run is answered without its model.
    let finished = store
        .run(spec.id())
        .is_ok_and(|run| run.status == Status::Finished);
    if !finished {
        check_prompts(&params, &classes, &outline.map_or_else(|| model.outline(), Ok)?)?;
    }
    Ok(spec)
}

/// Checks what could otherwise fail days later, when its class is reached.
fn check_prompts(params: &Params, classes: &[ClassEmbedding], model: &Outline) -> Result<(), StageError> {
    model.evaluations(params.sampling())?;
    for class in params.chosen(classes) {
        let span = model.tokenizer().span(&class.word, params.tokens)?;
        model.placing(&params.prompt_of(class), &span)?;
    }
    Ok(())
}

/// Checks number and width of the outliers, from the index alone.
fn check_outliers(
    store: &Store,
    outliers: RunId,
    params: &Params,
    classes: &[ClassEmbedding],
) -> Result<(), StageError> {
    let mut found: BTreeMap<u32, usize> = BTreeMap::new();
    for block in store.block_infos(
        Table::Outliers,
        Some(outliers),
        None,
        &Projection::Only(Vec::new()),
    )? {
        *found.entry(block.part).or_default() += block.rows as usize;
    }
    for class in params.chosen(classes) {
        let found = found.get(&class.class_id).copied().unwrap_or(0);
        vectors::enough(outliers, class, found, params.per_class)?;
    }
    let width = classes.first().map_or(0, |c| c.vector.len());
    match store.vector_width(Table::Outliers, outliers)? {
        Some(found) if found != width => Err(StageError::Mismatch(format!(
            "the outliers of run {outliers} are {found} wide, the class embeddings {width}: they were sampled for another model"
        ))),
        _ => Ok(()),
    }
}

/// Checks sizes against the model's configuration, and leaves out those that change nothing, so that a question has one id.
/// Returns what it had to read of the model.
fn resolve_sizes(params: &mut Params, model: &Source) -> Result<Option<Outline>, StageError> {
    if params.size.is_none() && params.resize.is_none() {
        return Ok(None);
    }
    let outline = model.outline()?;
    let geometry = outline.geometry();
    let [height, width] = geometry.image_size();
    let own = Size { width, height };
    if let Some(size) = params.size {
        geometry.latent_size(size.width, size.height)?;
    }
    params.size = params.size.filter(|size| *size != own);
    let made = params.size.unwrap_or(own);
    params.resize = params.resize.filter(|size| *size != made);
    Ok(Some(outline))
}

/// Executes the run; every batch is committed as it is done.
///
/// # Errors
/// If the model does not fit the embeddings, or a class has fewer outliers than pictures are wanted.
pub fn execute(ctx: &Context<'_>, run: &Run) -> Result<(), StageError> {
    execute_part(ctx, run, Shard::WHOLE).map(|_| ())
}

/// Makes what is missing of one part of the run, and says whether the whole run is now there.
pub(super) fn execute_part(ctx: &Context<'_>, run: &Run, shard: Shard) -> Result<bool, StageError> {
    let params: Params = super::params(run)?;
    let classes: Vec<ClassEmbedding> = ctx.store.rows(required_input(run, "embeddings")?, None)?;
    let chosen = params.chosen(&classes);
    let part = shard.indices(params.per_class);
    let mut todo = Vec::new();
    for class in &chosen {
        let done = ctx.store.indices(run.id, Table::Images, class.class_id)?;
        let missing = part.clone().filter(|index| !done.contains(index));
        todo.extend(missing.map(|index| (*class, index)));
    }
    let total = chosen.len() as u64 * (part.end - part.start);
    ctx.progress.begin("imagine", total, "images");
    ctx.progress.skip(total - todo.len() as u64);
    if !todo.is_empty() {
        let painter = Painter::load(ctx, run, &classes)?;
        painter.say_what_is_cut(ctx, &chosen)?;
        let mut vectors = Vectors::new(ctx.store, run, &params, &classes);
        for batch in todo.chunks(painter.sampling_batch()) {
            let wanted = |(class, index): &(&'_ ClassEmbedding, u64)| vectors.of(class, *index);
            let vectors = batch.iter().map(wanted).collect::<Result<Vec<_>, _>>()?;
            let wanted = |((class, index), vector)| Wanted { class, index, vector };
            let wanted: Vec<Wanted<'_>> = batch.iter().copied().zip(vectors).map(wanted).collect();
            let latents = painter.sample(ctx, &wanted)?;
            let pictures = painter.decode(&latents)?;
            let (latents, images) = painter.rows(&wanted, &latents, &pictures)?;
            ctx.store.batch(run.id).add(&latents)?.add(&images)?.commit()?;
            ctx.progress.advance(batch.len() as u64);
        }
    }
    let all = chosen.len() as u64 * params.per_class as u64;
    Ok(ctx.store.count(run.id, Table::Images)? == all)
}
