//! `detect`: trains the classifier, with or without the loss on imagined outliers (DREAM-OOD, Eqs. 7 and 8).

use std::collections::BTreeMap;

use candle_core::Tensor;
use dream_schema::{Image, Run, RunId, RunSpec};
use serde::{Deserialize, Serialize};

use super::phi::{PhiName, TrainedPhi};
use super::training::{self, Step, Trainer, Training};
use super::{Context, Source, StageError, imagine, input, input_run, params, source};
use crate::dataset::{ImageSet, Preparation};
use crate::nn::{self, ResNet, schedule};
use crate::ood;
use crate::store::Store;

/// Name of the stage.
pub const NAME: &str = "detect";
/// Version of its algorithm.
pub const VERSION: u32 = 1;

/// How the classifier is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The network, and how it is trained.
    pub training: Training,
    /// The loss on imagined outliers; the plain classifier has none.
    #[serde(default)]
    pub outlier: Option<OutlierLoss>,
}

/// The loss on imagined outliers: beta times the binary cross-entropy of phi(E(x)) (Eq. 8).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutlierLoss {
    /// Weight of the loss: 2.5 for CIFAR-100, 1.0 for ImageNet-100.
    pub beta: f64,
    /// Outliers of a step, beside the ID images.
    pub batch_size: usize,
    /// phi, from an energy to the log-odds of being in-distribution.
    pub phi: PhiName,
    /// Starts from the plain classifier and trains it on, instead of from scratch; the rest of the training stays.
    #[serde(default)]
    pub fine_tune: Option<FineTune>,
}

/// What fine-tuning does differently from training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FineTune {
    /// Passes over the training split.
    pub epochs: usize,
    /// ID images of a step.
    pub batch_size: usize,
    /// Learning rate of the first step.
    pub lr: f64,
}

impl Params {
    /// Returns the training as it is carried out: that of the fine-tuning, where there is one.
    fn effective(&self) -> Training {
        let mut training = self.training.clone();
        if let Some(tune) = self.outlier.as_ref().and_then(|o| o.fine_tune.as_ref()) {
            (training.epochs, training.batch_size, training.lr) = (tune.epochs, tune.batch_size, tune.lr);
        }
        training
    }
}

/// The runs that a classifier is trained from, beside its image set.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inputs {
    /// Imagined outliers: an `imagine` run, where there is a loss on them.
    pub outliers: Option<RunId>,
    /// The plain classifier to fine-tune: a `detect` run.
    pub initial: Option<RunId>,
}

/// Returns the specification of a classifier of `images`.
///
/// # Errors
/// If the inputs are not what the parameters ask for, or a parameter is out of range.
pub fn spec(
    store: &Store,
    params: &Params,
    seed: u64,
    from: Inputs,
    images: &Source,
) -> Result<RunSpec, StageError> {
    params.effective().check()?;
    let bad = |loss: &OutlierLoss| loss.batch_size == 0 || !loss.beta.is_finite() || loss.beta < 0.0;
    if params.outlier.as_ref().is_some_and(bad) {
        let why = "the outlier loss needs a beta of 0 or more, and a batch_size of 1 or more";
        return Err(StageError::Mismatch(why.into()));
    }
    let fine_tunes = params.outlier.as_ref().is_some_and(|o| o.fine_tune.is_some());
    let wanted = [
        ("outliers", from.outliers, params.outlier.is_some(), imagine::NAME),
        ("initial", from.initial, fine_tunes, NAME),
    ];
    let mut inputs = Vec::new();
    for (role, run, needed, stage) in wanted {
        match run {
            Some(run) if needed => inputs.push(input(store, role, run, &[stage])?),
            None if needed => {
                return Err(StageError::MissingInput {
                    stage: NAME.into(),
                    role,
                });
            }
            Some(run) => {
                let why = format!("run {run} is given as {role}, but the parameters have no use for it");
                return Err(StageError::Mismatch(why));
            }
            None => {}
        }
    }
    Ok(RunSpec {
        stage: NAME.into(),
        stage_version: VERSION,
        params: serde_json::json!(params),
        seed,
        inputs,
        sources: BTreeMap::from([source::role("images", images)]),
    })
}

/// Executes the run; an epoch's checkpoint and metrics are committed together.
///
/// # Errors
/// If the image set is not what it was, there are no outlier pictures, or training diverges.
pub fn execute(ctx: &Context<'_>, run: &Run) -> Result<(), StageError> {
    let params: Params = params(run)?;
    let training = &params.effective();
    let source = Source::find(ctx.store, run, "images")?;
    source.verify_images()?;
    let images = source.load_images(&training.split, &training.preparation())?;
    let test = source.load_images(&training.test_split, &training.preparation())?;
    let classes = source.classes();
    let labels = training::labels(&images, classes, source.name())?;

    let steps = training.epochs * (images.len() / training.batch_size);
    ctx.progress.begin(
        if params.outlier.is_some() {
            "detect"
        } else {
            "plain"
        },
        steps as u64,
        "steps",
    );
    let network = training.network(classes.len(), run.spec.seed, ctx)?;
    if let Some(initial) = input_run(run, "initial") {
        load_initial(ctx, initial, &network)?;
    }
    let outliers = Outliers::load(ctx, run, &params, training)?;
    let extra = outliers.as_ref().map_or(Vec::new(), |o| o.phi.vars());
    let trainer = Trainer {
        ctx,
        run,
        training,
        network,
        extra,
    };
    trainer.train(
        &images,
        labels,
        |network, step| match &outliers {
            Some(outliers) => outliers.loss(ctx, training, run.spec.seed, network, step),
            None => Ok(nn::cross_entropy(
                &network.forward(step.images, true)?,
                step.labels,
            )?),
        },
        |network| {
            let logits = training.outputs(ctx, network, &test, Ok)?;
            Ok(ood::accuracy(
                &logits,
                classes.len(),
                test.labels.as_deref().unwrap_or_default(),
            )?)
        },
    )
}

fn load_initial(ctx: &Context<'_>, initial: RunId, network: &ResNet) -> Result<(), StageError> {
    let missing = || StageError::Mismatch(format!("run {initial} has no checkpoint to start from"));
    let (_, mut state) = training::last_model(ctx, &ctx.store.run(initial)?)?.ok_or_else(missing)?;
    state.retain(|name, _| !super::phi::is_phi(name));
    Ok(network.params().load_state_dict(&state)?)
}

/// The imagined pictures and the loss on them.
struct Outliers {
    pictures: ImageSet,
    loss: OutlierLoss,
    phi: TrainedPhi,
}

impl Outliers {
    fn load(
        ctx: &Context<'_>,
        run: &Run,
        params: &Params,
        training: &Training,
    ) -> Result<Option<Self>, StageError> {
        let (Some(loss), Some(imagined)) = (params.outlier.clone(), input_run(run, "outliers")) else {
            return Ok(None);
        };
        let preparation = training.preparation();
        let rows: Vec<Image> = ctx.store.rows(imagined, None)?;
        if rows.is_empty() {
            return Err(StageError::Mismatch(format!("run {imagined} has no picture")));
        }
        // As the ID images are: colour or scale must not tell them apart.
        let pictures = ImageSet::from_png(rows.iter().map(|r| r.png.as_slice()), &preparation)?;
        let phi = TrainedPhi::new(&loss.phi, run.spec.seed, ctx.device)?;
        Ok(Some(Self { pictures, loss, phi }))
    }

    /// CE(ID) + beta * BCE(phi(E), is ID), over one forward pass of both, so that batch norm sees them together (Eqs. 7, 8).
    fn loss(
        &self,
        ctx: &Context<'_>,
        training: &Training,
        seed: u64,
        network: &ResNet,
        step: &Step<'_>,
    ) -> Result<Tensor, StageError> {
        let (ids, n) = (step.labels.len(), self.loss.batch_size);
        let samples = self.samples(seed, step.number * n);
        // The ID images draw from the streams 0, 1, .. of their epochs; these from the upper half.
        let outliers = training.batch(ctx, &self.pictures, &samples, seed, 1 << 31 | step.number as u32)?;
        let logits = network.forward(&Tensor::cat(&[step.images, &outliers], 0)?, true)?;
        let classification = nn::cross_entropy(&logits.narrow(0, 0, ids)?, step.labels)?;
        let log_odds = self.phi.log_odds(&nn::logsumexp(&logits)?)?;
        let is_id: Vec<f32> = (0..ids + n).map(|i| if i < ids { 1.0 } else { 0.0 }).collect();
        let is_id = Tensor::from_vec(is_id, ids + n, ctx.device)?;
        let uncertainty = nn::binary_cross_entropy_with_logits(&log_odds, &is_id)?;
        Ok((classification + (uncertainty * self.loss.beta)?)?)
    }

    /// Returns one step's pictures, the `start`-th and on, of an endless sequence of shuffled passes over all of them.
    fn samples(&self, seed: u64, start: usize) -> Vec<u32> {
        let n = self.pictures.len();
        let end = start + self.loss.batch_size;
        let passes = (start / n)..=((end - 1) / n);
        let shuffled =
            passes.flat_map(|pass| schedule::permutation(n, seed, "detect/outlier-order", pass as u64));
        shuffled.skip(start % n).take(end - start).collect()
    }
}

/// A trained classifier, read from a `detect` run.
pub struct Detector {
    training: Training,
    classes: Vec<String>,
    network: ResNet,
    phi: Option<ood::Phi>,
}

impl Detector {
    /// Loads the last checkpoint of a finished `detect` run.
    ///
    /// # Errors
    /// If it has none, or its image set is not registered.
    pub fn load(ctx: &Context<'_>, id: RunId) -> Result<Self, StageError> {
        let run = ctx.store.run(id)?;
        let params: Params = params(&run)?;
        let classes = Source::find(ctx.store, &run, "images")?.classes().to_vec();
        let missing = || StageError::Mismatch(format!("run {id} has no checkpoint"));
        let (_, mut state) = training::last_model(ctx, &run)?.ok_or_else(missing)?;
        let phi = match &params.outlier {
            Some(loss) => {
                let phi = TrainedPhi::new(&loss.phi, 0, ctx.device)?;
                phi.load(&mut state)?;
                Some(phi.frozen()?)
            }
            None => None,
        };
        let network = params.training.network(classes.len(), 0, ctx)?;
        network.params().load_state_dict(&state)?;
        Ok(Self {
            training: params.training,
            classes,
            network,
            phi,
        })
    }

    /// Returns the names of the classes that it tells apart.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Returns phi, if it was trained with outliers.
    pub fn phi(&self) -> Option<&ood::Phi> {
        self.phi.as_ref()
    }

    /// Returns how images are brought to its input.
    pub fn preparation(&self) -> Preparation {
        self.training.preparation()
    }

    /// Returns the logits of every image, `[n, classes]`, flat.
    ///
    /// # Errors
    /// If the images are not of its size, or the user interrupts.
    pub fn logits(&self, ctx: &Context<'_>, images: &ImageSet) -> Result<Vec<f32>, StageError> {
        self.training.outputs(ctx, &self.network, images, Ok)
    }
}
