//! `encode`: trains the image encoder h in the token-embedding space (DREAM-OOD, Eq. 2) and stores the ID
//! features.

use candle_core::Tensor;
use dream_schema::{ClassEmbedding, Feature, Run, Table};
use serde::{Deserialize, Serialize};

use super::pictures::Pictures;
use super::training::{self, Objective, Step, Trainer, Training};
use super::{
    Arithmetic, Asked, Context, ImageSource, Input, Order, Refusals, Role, Source, Stage, StageError,
    StateSource, embed, required_input,
};
use crate::nn::{self, ResNet};
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

/// An encoder into the space of class embeddings.
#[derive(Clone, Debug)]
pub struct Encode;

/// Asks for an encoder into the space of the run `embeddings`, trained on `images`, from the weights
/// `initial` where there are some.
pub fn ask(
    params: &Params,
    seed: u64,
    embeddings: impl Into<Input>,
    images: &ImageSource,
    initial: Option<&StateSource>,
) -> Asked<Encode> {
    let asked = Asked::new(params, seed)
        .reads(Role::Embeddings, embeddings)
        .from(Role::Images, images);
    match initial {
        Some(weights) => asked.from(Role::Initial, weights),
        None => asked,
    }
}

impl Stage for Encode {
    const NAME: &'static str = NAME;
    const VERSION: u32 = VERSION;
    type Params = Params;

    fn check(store: &Store, asked: &mut Asked<Self>, refusals: &mut Refusals) -> Result<(), StageError> {
        asked.params.training.settle();
        let Params {
            training,
            temperature,
            features_per_class,
        } = &asked.params;
        training.check(refusals);
        let has_weights = asked
            .source::<StateSource>(&Role::Initial)
            .ok()
            .flatten()
            .is_some();
        training.check_head(has_weights, refusals);
        let usable = (1e-4..=1e4).contains(temperature);
        refusals.require(usable, "temperature", temperature, "0.0001 to 10000, such as 0.1");
        if let Some(count) = features_per_class {
            refusals.require(*count > 0, "features_per_class", count, "at least 1");
        }
        let known = embed::known(store, asked, refusals)?;
        let images = refusals
            .take(Role::Images, asked.source::<ImageSource>(&Role::Images))?
            .flatten();
        if let Some(images) = &images {
            let to_do = !asked.is_answered(store);
            training.check_set(images, to_do, refusals);
        }
        let classes = known.map(|known| refusals.take(Role::Embeddings, embed::classes(store, &known)));
        let classes = classes.transpose()?.flatten();
        let width = classes.as_ref().and_then(|classes| classes.first());
        let width = width.map(|class| class.vector.len()).filter(|width| *width > 0);
        if let (Some(images), Some(classes)) = (images, classes) {
            refusals.take(Role::Images, check_classes(&classes, &images))?;
        }
        let weights = refusals.take(Role::Initial, asked.source::<StateSource>(&Role::Initial))?;
        // A finished run is answered without its weights.
        if let Some(weights) = weights.flatten().filter(|_| !asked.is_answered(store)) {
            training::check_initial(&weights, training, width, refusals)?;
        }
        Ok(())
    }

    fn arithmetic(params: &Params) -> Arithmetic {
        params.training.arithmetic()
    }

    /// Executes the run: an epoch's checkpoint and metrics are committed together, the features at the end.
    fn execute(ctx: &Context<'_>, order: &Order<'_, Params>) -> Result<(), StageError> {
        execute(ctx, order.run, &order.params)
    }
}

fn execute(ctx: &Context<'_>, run: &Run, params: &Params) -> Result<(), StageError> {
    let training = &params.training;
    let classes: Vec<ClassEmbedding> = ctx.store.rows(required_input(run, &Role::Embeddings)?, None)?;
    let source = ImageSource::find(ctx.store, run, &Role::Images)?;
    source.verify_images(ctx)?;
    let [images, test] = training.open(&source)?;
    check_classes(&classes, &source)?;
    let names: Vec<String> = classes.iter().map(|class| class.class_name.clone()).collect();
    if let Some(note) = source.say_numbered(&names) {
        ctx.progress.note(&note);
    }
    let labels = training::labels(&images, source.classes(), source.name())?;

    let width = classes.first().map_or(0, |c| c.vector.len());
    let head = head(ctx, &classes, width)?;
    let mut objective = Cosines {
        head,
        temperature: params.temperature,
    };
    let network = training.network(width, run.spec.seed, ctx)?;
    if let Some(state) = training::initial(ctx, run, training, &network, width)? {
        network.tensors().load_state_dict(&state)?;
    }
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
    trainer.train(NAME, &mut objective)?;
    store_features(ctx, run, params, &trainer, &images, &classes)
}

/// Cross-entropy over the cosines with the class embeddings, divided by the temperature (Eq. 2).
struct Cosines {
    /// The class embeddings as unit columns, `[m, classes]`.
    head: Tensor,
    temperature: f64,
}

impl Objective for Cosines {
    fn logits(&self, outputs: Tensor) -> nn::Result<Tensor> {
        Ok(nn::l2_normalize(&outputs)?.matmul(&self.head)?)
    }

    fn loss(&self, network: &ResNet, step: &Step<'_>) -> Result<Tensor, StageError> {
        let logits = (self.logits(network.forward(step.images, true)?)? / self.temperature)?;
        Ok(step.cross_entropy(&logits)?)
    }
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

fn check_classes(classes: &[ClassEmbedding], source: &ImageSource) -> Result<(), StageError> {
    let embedded: Vec<String> = classes.iter().map(|c| c.class_name.clone()).collect();
    source.check_classes(&embedded, "the embeddings")
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
