//! `sample`: draws outlier embeddings at the low-likelihood edge of each class, or inliers at its core (DREAM-OOD, Sec. 3.2); or
//! by one of the methods that these are compared with.

use std::sync::mpsc::sync_channel;

use dream_schema::{ClassEmbedding, Feature, Outlier, Run, RunId, RunSpec, Table};

use super::{Context, StageError, embed, encode, import, input, required_input};
use crate::outlier::{self, Head, OutlierError, Sampled};
use crate::store::{Readable, Store};

mod params;
#[cfg(test)]
mod tests;

use params::{Chosen, wrong};
pub use params::{Method, Params};

/// Name of the stage.
pub const NAME: &str = "sample";
/// Version of its algorithm. 2: the k-NN distance is computed from the stored vector, not from the round's products. 3: products are
/// taken by a kernel of our own, which rounds otherwise.
pub const VERSION: u32 = 3;

/// Returns the specification of samples around the features of the run `encoder`.
///
/// # Errors
/// If that is no finished `encode` run or import, or a parameter is out of its range.
pub fn spec(store: &Store, params: &Params, seed: u64, encoder: RunId) -> Result<RunSpec, StageError> {
    let features = input(store, "features", encoder, &[encode::NAME, import::NAME])?;
    let run = store.run(encoder)?;
    let embeddings = required_input(&run, "embeddings")?;
    let mut params = params.clone();
    if let Some(boundary) = &mut params.boundary
        && boundary.temperature.is_none()
    {
        // The decision boundary is that of the encoder, at its temperature.
        let temperature = run.spec.params.get("temperature").and_then(|t| t.as_f64());
        let Some(temperature) = temperature else {
            let message = "the features were imported, so the temperature of their encoder is not known: \
                           give --set boundary.temperature=0.1, or what it was trained with";
            return Err(wrong(message));
        };
        boundary.temperature = Some(temperature);
    }
    params.chosen()?;
    Ok(RunSpec {
        stage: NAME.into(),
        stage_version: VERSION,
        params: serde_json::json!(params),
        seed,
        inputs: vec![features, input(store, "embeddings", embeddings, &[embed::NAME])?],
        sources: Default::default(),
    })
}

/// Executes the run; a class is committed as soon as it is sampled, while the next one is being sampled.
///
/// # Errors
/// If a class has fewer features than `k` or `select`, or features that are not finite.
pub fn execute(ctx: &Context<'_>, run: &Run) -> Result<(), StageError> {
    let params: Params = super::params(run)?;
    let chosen = params.chosen()?;
    let encoder = required_input(run, "features")?;
    let classes: Vec<ClassEmbedding> = ctx.store.rows(required_input(run, "embeddings")?, None)?;
    let (work, unit) = chosen.work();
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
                let rows = sample_class(ctx, run, &chosen, encoder, &classes, number)?;
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
    chosen: &Chosen<'_>,
    encoder: RunId,
    classes: &[ClassEmbedding],
    number: usize,
) -> Result<Vec<Outlier>, StageError> {
    let class = &classes[number];
    let features = features_of(ctx, encoder, class)?;
    let sampled = draw(ctx, run, chosen, &features, classes, number);
    ctx.check_interrupt()?;
    let sampled = sampled?;
    if !matches!(chosen, Chosen::Knn(_)) {
        ctx.progress.advance(1);
    }
    let kind = chosen.kind();
    let row = |(index, sampled): (usize, Sampled)| Outlier {
        class_id: class.class_id,
        class_name: class.class_name.clone(),
        index: index as u64,
        kind,
        // The stored vector stands in for T(y), so it has its length.
        vector: sampled.vector.into_iter().map(|v| v * class.norm).collect(),
        anchor: i64::from(sampled.anchor),
        round: sampled.round as i32,
        knn_distance: sampled.knn_distance,
    };
    Ok(sampled.into_iter().enumerate().map(row).collect())
}

/// Returns the ID features of a class, `[n, m]`.
fn features_of(ctx: &Context<'_>, encoder: RunId, class: &ClassEmbedding) -> Result<Vec<f32>, StageError> {
    let features: Vec<Feature> = ctx.store.rows(encoder, Some(class.class_id))?;
    let (name, width) = (&class.class_name, class.vector.len());
    if features.is_empty() {
        return Err(StageError::Mismatch(format!(
            "run {encoder} has no feature of the class `{name}`; its training split has no picture of it"
        )));
    }
    if let Some(other) = features.iter().find(|f| f.vector.len() != width) {
        return Err(StageError::Mismatch(format!(
            "the features of run {encoder} are {} wide, the embedding of the class `{name}` is {width}; encode or import them \
             for these embeddings",
            other.vector.len()
        )));
    }
    Ok(features.into_iter().flat_map(|f| f.vector).collect())
}

fn draw(
    ctx: &Context<'_>,
    run: &Run,
    chosen: &Chosen<'_>,
    features: &[f32],
    classes: &[ClassEmbedding],
    number: usize,
) -> Result<Vec<Sampled>, OutlierError> {
    let class = &classes[number];
    let (seed, id, width) = (run.spec.seed, class.class_id, class.vector.len());
    match chosen {
        Chosen::Knn(sampling) => {
            let advance = |n: u64| ctx.progress.advance(n);
            let cancelled = || ctx.progress.cancelled();
            outlier::sample_class(features, width, sampling, seed, id, &advance, &cancelled)
        }
        Chosen::Gaussian(gaussian) => outlier::gaussian(&class.vector, features, gaussian, seed, id),
        Chosen::Beyond(beyond) => outlier::beyond(features, width, beyond, seed, id),
        Chosen::Boundary(crossing) => {
            let embeddings: Vec<&[f32]> = classes.iter().map(|c| c.vector.as_slice()).collect();
            outlier::crossing(features, &Head::new(&embeddings)?, number, crossing, id)
        }
    }
}
