//! `sample`: draws outlier embeddings at the low-likelihood edge of each class, or inliers at its core (DREAM-OOD, Sec. 3.2).

use dream_schema::{ClassEmbedding, Feature, Outlier, OutlierKind, Run, RunId, RunSpec, Table};
use serde::{Deserialize, Serialize};

use super::{Context, StageError, embed, encode, import, input, params, required_input};
use crate::outlier::{self, SamplingParams};
use crate::store::Store;

/// Name of the stage.
pub const NAME: &str = "sample";
/// Version of its algorithm.
pub const VERSION: u32 = 1;

/// What is sampled, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The sampling itself.
    pub sampling: SamplingParams,
}

/// Returns the specification of samples around the features of the run `encoder`.
///
/// # Errors
/// If that is no finished `encode` run.
pub fn spec(store: &Store, params: &Params, seed: u64, encoder: RunId) -> Result<RunSpec, StageError> {
    let features = input(store, "features", encoder, &[encode::NAME, import::NAME])?;
    let embeddings = required_input(&store.run(encoder)?, "embeddings")?;
    Ok(RunSpec {
        stage: NAME.into(),
        stage_version: VERSION,
        params: serde_json::json!(params),
        seed,
        inputs: vec![features, input(store, "embeddings", embeddings, &[embed::NAME])?],
        sources: Default::default(),
    })
}

/// Executes the run; a class is committed as soon as it is sampled.
///
/// # Errors
/// If a class has fewer features than `k` or `select`, or features that are not finite.
pub fn execute(ctx: &Context<'_>, run: &Run) -> Result<(), StageError> {
    let Params { sampling } = params(run)?;
    let encoder = required_input(run, "features")?;
    let classes: Vec<ClassEmbedding> = ctx.store.rows(required_input(run, "embeddings")?, None)?;
    ctx.progress.begin(
        "sample",
        classes.len() as u64 * sampling.rounds_needed() as u64,
        "rounds",
    );
    for class in &classes {
        if ctx
            .store
            .indices(run.id, Table::Outliers, class.class_id)?
            .is_empty()
        {
            let rows = sample_class(ctx, run, &sampling, encoder, class)?;
            ctx.store.put(run.id, &rows)?;
        } else {
            ctx.progress.advance(sampling.rounds_needed() as u64);
        }
    }
    Ok(())
}

fn sample_class(
    ctx: &Context<'_>,
    run: &Run,
    sampling: &SamplingParams,
    encoder: RunId,
    class: &ClassEmbedding,
) -> Result<Vec<Outlier>, StageError> {
    let features: Vec<Feature> = ctx.store.rows(encoder, Some(class.class_id))?;
    let width = class.vector.len();
    if features.is_empty() {
        return Err(StageError::Mismatch(format!(
            "run {encoder} has no feature of the class `{}`; its training split has no picture of it",
            class.class_name
        )));
    }
    let flat: Vec<f32> = features.iter().flat_map(|f| f.vector.iter().copied()).collect();
    let advance = |n: u64| ctx.progress.advance(n);
    let cancelled = || ctx.progress.cancelled();
    let sampled = outlier::sample_class(
        &flat,
        width,
        sampling,
        run.spec.seed,
        class.class_id,
        &advance,
        &cancelled,
    );
    ctx.check_interrupt()?;
    let row = |(index, sampled): (usize, outlier::Sampled)| Outlier {
        class_id: class.class_id,
        class_name: class.class_name.clone(),
        index: index as u64,
        kind: match sampling.kind {
            outlier::Kind::Outlier => OutlierKind::Outlier,
            outlier::Kind::Inlier => OutlierKind::Inlier,
        },
        // The stored vector stands in for T(y), so it has its length.
        vector: sampled.vector.iter().map(|v| v * class.norm).collect(),
        anchor: i64::from(sampled.anchor),
        round: sampled.round as i32,
        knn_distance: sampled.knn_distance,
    };
    Ok(sampled?.into_iter().enumerate().map(row).collect())
}
