//! `encode`: trains the image encoder h in the token-embedding space (DREAM-OOD, Eq. 2) and stores the ID features.

use candle_core::Tensor;
use dream_schema::{ClassEmbedding, Feature, Run, RunId, RunSpec, Table};
use serde::{Deserialize, Serialize};

use super::pictures::Pictures;
use super::training::{self, Trainer, Training};
use super::{Context, Source, StageError, embed, input, params, required_input, source};
use crate::nn;
use crate::store::{Readable, Store};

/// Name of the stage.
pub const NAME: &str = "encode";
/// Version of its algorithm.
pub const VERSION: u32 = 1;

/// How the encoder is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The temperature t of Eq. 2.
    pub temperature: f64,
    /// Features stored of each class, the first ones of the split; without it, all.
    #[serde(default)]
    pub features_per_class: Option<usize>,
    /// The network, and how it is trained.
    pub training: Training,
}

/// Returns the specification of an encoder into the space of the run `embeddings`.
///
/// # Errors
/// If that is no finished `embed` run, or a parameter is out of range.
pub fn spec(
    store: &Store,
    params: &Params,
    seed: u64,
    embeddings: RunId,
    images: &Source,
) -> Result<RunSpec, StageError> {
    spec_from(store, params, seed, embeddings, images, None)
}

/// As [`spec`], starting from the weights `initial` of a registered state dict.
///
/// # Errors
/// As [`spec`].
pub fn spec_from(
    store: &Store,
    params: &Params,
    seed: u64,
    embeddings: RunId,
    images: &Source,
    initial: Option<&Source>,
) -> Result<RunSpec, StageError> {
    params.training.check()?;
    if !(params.temperature > 0.0 && params.temperature.is_finite()) {
        return Err(StageError::Mismatch(format!(
            "the temperature must be positive, not {}",
            params.temperature
        )));
    }
    Ok(RunSpec {
        stage: NAME.into(),
        stage_version: VERSION,
        params: serde_json::json!(params),
        seed,
        inputs: vec![input(store, "embeddings", embeddings, &[embed::NAME])?],
        sources: [source::role("images", images)]
            .into_iter()
            .chain(initial.map(|weights| source::role(training::INITIAL, weights)))
            .collect(),
    })
}

/// Executes the run: an epoch's checkpoint and metrics are committed together, the features at the end.
///
/// # Errors
/// If the image set and the classes do not fit, or training diverges.
pub fn execute(ctx: &Context<'_>, run: &Run) -> Result<(), StageError> {
    let params: Params = params(run)?;
    let training = &params.training;
    let classes: Vec<ClassEmbedding> = ctx.store.rows(required_input(run, "embeddings")?, None)?;
    let source = Source::find(ctx.store, run, "images")?;
    source.verify_images()?;
    let [images, test] = training.open(&source)?;
    check_classes(&classes, &source)?;
    let labels = training::labels(&images, source.classes(), source.name())?;

    let width = classes.first().map_or(0, |c| c.vector.len());
    let head = head(ctx, &classes, width)?;
    let cosines = |outputs: &Tensor| -> nn::Result<Tensor> { Ok(nn::l2_normalize(outputs)?.matmul(&head)?) };
    let network = training.network(width, run.spec.seed, ctx)?;
    training::initialize(ctx, run, training, &network)?;
    let trainer = Trainer {
        ctx,
        run,
        training,
        network,
        extra: Vec::new(),
        source: &source,
        images: &images,
        test: &test,
        labels,
        classes: source.classes(),
        beside: None,
    };
    trainer.train(
        NAME,
        |outputs| cosines(&outputs),
        |network, step| {
            let logits = (cosines(&network.forward(step.images, true)?)? / params.temperature)?;
            Ok(nn::cross_entropy(&logits, step.labels)?)
        },
    )?;
    store_features(ctx, run, &params, &trainer, &images, &classes)
}

/// Returns the frozen head: the class embeddings as unit columns, `[m, classes]`.
fn head(ctx: &Context<'_>, classes: &[ClassEmbedding], width: usize) -> Result<Tensor, StageError> {
    let unit = |c: &ClassEmbedding| c.vector.iter().map(|v| v / c.norm).collect::<Vec<_>>();
    let flat: Vec<f32> = classes.iter().flat_map(unit).collect();
    Ok(
        Tensor::from_vec(flat, (classes.len(), width), ctx.engine.device())?
            .t()?
            .contiguous()?,
    )
}

fn check_classes(classes: &[ClassEmbedding], source: &Source) -> Result<(), StageError> {
    let embedded: Vec<&str> = classes.iter().map(|c| c.class_name.as_str()).collect();
    if embedded == source.classes() {
        return Ok(());
    }
    if source.classes().len() == classes.len() && source.classes().iter().all(|c| c.parse::<u32>().is_ok()) {
        // The set numbers its classes and does not name them: the class table does.
        return Ok(());
    }
    Err(StageError::Mismatch(format!(
        "the classes of the image set `{}` ({}) are not those of the embeddings ({})",
        source.name(),
        source.classes().join(", "),
        embedded.join(", ")
    )))
}

/// Stores z = h(x)/|h(x)| of the training images, class by class in the order of the split.
fn store_features(
    ctx: &Context<'_>,
    run: &Run,
    params: &Params,
    trainer: &Trainer<'_>,
    images: &Pictures<'_>,
    classes: &[ClassEmbedding],
) -> Result<(), StageError> {
    if ctx.store.count(run.id, Table::Features)? > 0 {
        return Ok(());
    }
    let width = classes.first().map_or(0, |c| c.vector.len());
    let mut counts = vec![0_usize; classes.len()];
    let mut samples: Vec<u32> = (0..images.len() as u32).collect();
    // Labels were checked to be those of the classes.
    samples.retain(|sample| {
        let count = &mut counts[trainer.labels[*sample as usize] as usize];
        *count += 1;
        params.features_per_class.is_none_or(|limit| *count <= limit)
    });
    let unit = |outputs: Tensor| nn::l2_normalize(&outputs);
    let flat = params
        .training
        .outputs(ctx, &trainer.network, images, &samples, unit)?;
    let mut next = vec![0_u64; classes.len()];
    let mut rows = Vec::with_capacity(samples.len());
    for (vector, sample) in flat.chunks_exact(width).zip(samples) {
        let label = trainer.labels[sample as usize] as usize;
        let (class, index) = (&classes[label], &mut next[label]);
        rows.push(Feature {
            class_id: class.class_id,
            class_name: class.class_name.clone(),
            index: *index,
            vector: vector.to_vec(),
            split: params.training.split.clone(),
            sample: i64::from(sample),
        });
        *index += 1;
    }
    ctx.store.put(run.id, &rows)?;
    Ok(())
}
