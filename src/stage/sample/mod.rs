//! `sample`: draws outlier embeddings at the low-likelihood edge of each class, or inliers at its core
//! (DREAM-OOD, Sec. 3.2); or by one of the methods that these are compared with.

use std::collections::BTreeMap;
use std::sync::mpsc::sync_channel;

use dream_schema::{ClassEmbedding, Feature, Outlier, Run, RunId, Table};

use super::{
    Asked, Context, ImageSource, Input, Known, Order, Refusals, Role, Stage, StageError, embed, encode,
    import, required_input,
};
use crate::outlier::Sampled;
use crate::store::{Projection, Readable, Store};

mod beyond;
mod boundary;
mod gaussian;
mod knn;
mod method;
#[cfg(test)]
mod tests;

use method::Draw;
pub use method::Method;

/// What is sampled, and how.
pub type Params = Method;

/// Name of the stage.
pub const NAME: &str = "sample";
/// Version of its algorithm. 2: the k-NN distance is computed from the stored vector, not from the round's
/// products. 3: products are taken by a kernel of our own, which rounds otherwise.
pub const VERSION: u32 = 3;

/// Samples around features.
#[derive(Clone, Debug)]
pub struct Sample;

/// Asks for samples around the features of the run `encoder`: an `encode` run or an import.
pub fn ask(params: &Params, seed: u64, encoder: impl Into<Input>) -> Asked<Sample> {
    Asked::new(params, seed).reads(Role::Features, encoder)
}

impl Stage for Sample {
    const NAME: &'static str = NAME;
    const VERSION: u32 = VERSION;
    type Params = Params;

    /// Refuses parameters out of their range, and more neighbours than a class has features. The embeddings
    /// follow from the features, and where the method asks for it, so does the encoder's temperature.
    fn check(store: &Store, asked: &mut Asked<Self>, refusals: &mut Refusals) -> Result<(), StageError> {
        let section = asked.params.section();
        refusals.take(section, asked.params.sampler().check())?;
        let stages = [encode::NAME, import::NAME];
        let known = asked.known(store, &Role::Features, &stages, refusals)?;
        let known = known.filter(|known| import::require(known, Table::Features, &Role::Features, refusals));
        let Some(known) = known else {
            return Ok(());
        };
        let Some(embeddings) = known.input(&Role::Embeddings) else {
            refusals.refuse(Role::Features, "the run has no class embeddings");
            return Ok(());
        };
        asked.add_input(Role::Embeddings, embeddings);
        if let Some(temperature) = asked.params.sampler_mut().temperature()
            && temperature.is_none()
        {
            // The decision boundary is that of the encoder, at its temperature.
            match known.stage == encode::NAME {
                true => *temperature = Some(known.params::<encode::Params>()?.temperature),
                false => refusals.require(
                    false,
                    &format!("{section}.temperature"),
                    "the features were imported, so the temperature of their encoder is not known",
                    "what it was trained with, such as 0.1",
                ),
            }
        }
        let Some(known_classes) = embed::known(store, asked, refusals)? else {
            return Ok(());
        };
        let classes = embed::classes(store, &known_classes)?;
        check_memory(&asked.params, &classes, refusals);
        check_features(store, &known, &asked.params, &classes, refusals)
    }

    /// Executes the run; a class is committed as soon as it is sampled, while the next one is being sampled.
    fn execute(ctx: &Context<'_>, order: &Order<'_, Params>) -> Result<(), StageError> {
        execute(ctx, order.run, &order.params)
    }
}

/// Refuses more vectors of a class than fit into memory: they are sampled, then stored, as a whole.
fn check_memory(params: &Params, classes: &[ClassEmbedding], refusals: &mut Refusals) {
    let width = classes.first().map_or(0, |class| class.vector.len());
    let vector = (width * size_of::<f32>()) as f64;
    let row = 2.0 * vector + size_of::<Outlier>() as f64;
    let needed = params.count() as f64 * row + params.sampler().noise() as f64 * vector;
    refusals.require_memory(
        params.section(),
        needed,
        "the number of vectors or of noise vectors",
    );
}

/// Refuses classes with too few features, and features of another width: from the index of the store alone,
/// or from what is asked for.
fn check_features(
    store: &Store,
    known: &Known,
    params: &Params,
    classes: &[ClassEmbedding],
    refusals: &mut Refusals,
) -> Result<(), StageError> {
    let key = params.section();
    let Some(run) = known.run else {
        // At most so many of a class; how many there are is known once they are encoded.
        let encoder: encode::Params = known.params()?;
        if let Some(most) = encoder.features_per_class {
            refusals.take(key, params.sampler().check_features(most, 0))?;
        }
        let set = refusals.take(Role::Images, known.source::<ImageSource>(store, &Role::Images))?;
        let split = &encoder.training.split;
        if let Some(images) = set.and_then(|set| set.count(split)) {
            // The smallest class has no more than this.
            let mean = images as usize / classes.len().max(1);
            if let Err(error) = params.sampler().check_features(mean, 0) {
                let found = format!("the split `{split}` has {mean} images a class in the mean: {error}");
                refusals.refuse(key, found);
            }
        }
        return Ok(());
    };
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for block in store.block_infos(Table::Features, Some(run), None, &Projection::Only(Vec::new()))? {
        *counts.entry(block.part).or_default() += block.rows as usize;
    }
    for class in classes {
        let enough = match counts.get(&class.class_id) {
            Some(count) => params
                .sampler()
                .check_features(*count, class.class_id)
                .map_err(StageError::from),
            None => Err(no_feature(run, class)),
        };
        if refusals.take(key, enough)?.is_none() {
            break;
        }
    }
    if let (Some(found), Some(class)) = (store.vector_width(Table::Features, run)?, classes.first())
        && found != class.vector.len()
    {
        refusals.refuse(Role::Features, other_width(run, class, found).to_string());
    }
    Ok(())
}

fn no_feature(run: RunId, class: &ClassEmbedding) -> StageError {
    StageError::Mismatch(format!(
        "run {run} has no feature of the class `{}`; its training split has no picture of it",
        class.class_name
    ))
}

fn other_width(run: RunId, class: &ClassEmbedding, found: usize) -> StageError {
    let (name, width) = (&class.class_name, class.vector.len());
    StageError::Mismatch(format!(
        "the features of run {run} are {found} wide, the embedding of the class `{name}` is {width}; encode \
        or import them for \
         these embeddings"
    ))
}

fn execute(ctx: &Context<'_>, run: &Run, params: &Params) -> Result<(), StageError> {
    let encoder = required_input(run, &Role::Features)?;
    let classes: Vec<ClassEmbedding> = ctx.store.rows(required_input(run, &Role::Embeddings)?, None)?;
    let (work, unit) = params.sampler().work();
    ctx.progress.begin(NAME, classes.len() as u64 * work, unit);
    std::thread::scope(|scope| {
        // No class waits in the channel: at most one is being written and one sampled.
        let (send, receive) = sync_channel::<Vec<Outlier>>(0);
        let writer = scope.spawn(move || {
            receive
                .iter()
                .try_for_each(|rows| ctx.store.put(run.id, &rows).map_err(StageError::from))
        });
        let sample = || -> Result<(), StageError> {
            for number in 0..classes.len() {
                let class_id = classes[number].class_id;
                if !ctx.store.indices(run.id, Table::Outliers, class_id)?.is_empty() {
                    ctx.progress.advance(work);
                    continue;
                }
                let rows = sample_class(ctx, run, params, encoder, &classes, number)?;
                if send.send(rows).is_err() {
                    // The writer has failed, and says below with what.
                    break;
                }
            }
            Ok(())
        };
        let sampled = sample();
        drop(send);
        let written = writer
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        written.and(sampled)
    })
}

/// Samples the class `classes[number]`.
fn sample_class(
    ctx: &Context<'_>,
    run: &Run,
    params: &Params,
    encoder: RunId,
    classes: &[ClassEmbedding],
    number: usize,
) -> Result<Vec<Outlier>, StageError> {
    let class = &classes[number];
    let features = features_of(ctx, encoder, class)?;
    let sampler = params.sampler();
    let sampled = sampler.draw(&Draw {
        ctx,
        seed: run.spec.seed,
        classes,
        number,
        features: &features,
    });
    ctx.check_interrupt()?;
    let sampled = sampled?;
    if !sampler.tells() {
        ctx.progress.advance(sampler.work().0);
    }
    let kind = sampler.kind();
    let row = |(index, sampled): (usize, Sampled)| Outlier {
        class_id: class.class_id,
        class_name: class.class_name.clone(),
        index: index as u64,
        kind,
        // The stored vector stands in for T(y), so it has its length.
        vector: sampled.vector.into_iter().map(|v| v * class.norm).collect(),
        anchor: i64::from(sampled.anchor),
        round: sampled.round as i32,
        knn_distance: Some(sampled.knn_distance),
    };
    Ok(sampled.into_iter().enumerate().map(row).collect())
}

/// Returns the ID features of a class, `[n, m]`.
fn features_of(ctx: &Context<'_>, encoder: RunId, class: &ClassEmbedding) -> Result<Vec<f32>, StageError> {
    let features: Vec<Feature> = ctx.store.rows(encoder, Some(class.class_id))?;
    if features.is_empty() {
        return Err(no_feature(encoder, class));
    }
    let width = class.vector.len();
    if let Some(other) = features.iter().find(|f| f.vector.len() != width) {
        return Err(other_width(encoder, class, other.vector.len()));
    }
    Ok(features.into_iter().flat_map(|f| f.vector).collect())
}
