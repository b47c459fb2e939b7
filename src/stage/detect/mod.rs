//! `detect`: trains the classifier, with or without the loss on imagined outliers (DREAM-OOD, Eqs. 7 and 8).

mod detector;
mod outliers;
mod pair;

use dream_schema::{Run, RunId, Table};
use serde::{Deserialize, Serialize};

pub use super::phi::PhiName;
use super::pictures::Look;
use super::training::{self, Trainer, Training};
use super::{
    Asked, Context, ImageSource, Input, Known, Order, Refusals, Role, Source, Stage, StageError, StateSource,
    embed, imagine, import,
};
use crate::nn::{self, ResNet};
use crate::store::{Readable, Store};

pub use detector::Detector;
pub(super) use detector::phi;
use outliers::Outliers;
pub use pair::Pair;

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
    /// Starts from the plain classifier and trains it on, instead of from scratch; the rest of the training
    /// stays.
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

/// What a classifier is trained from, beside its image set.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Imagined outliers: an `imagine` run, where there is a loss on them.
    pub outliers: Option<Input>,
    /// The plain classifier to fine-tune: a `detect` run.
    pub initial: Option<Input>,
    /// Weights to start from: in place of the plain classifier where there is fine-tuning.
    pub weights: Option<StateSource>,
}

/// A classifier.
#[derive(Clone, Debug)]
pub struct Detect;

/// Asks for a classifier of `images`.
pub fn ask(params: &Params, seed: u64, from: Inputs, images: &ImageSource) -> Asked<Detect> {
    let mut asked = Asked::new(params, seed).from(Role::Images, images);
    for (role, input) in [(Role::Outliers, from.outliers), (Role::Initial, from.initial)] {
        if let Some(input) = input {
            asked = asked.reads(role, input);
        }
    }
    match &from.weights {
        Some(weights) => asked.from(Role::Initial, weights),
        None => asked,
    }
}

impl Stage for Detect {
    const NAME: &'static str = NAME;
    const VERSION: u32 = VERSION;
    type Params = Params;

    fn check(store: &Store, asked: &mut Asked<Self>, refusals: &mut Refusals) -> Result<(), StageError> {
        let (params, training) = (&asked.params, asked.params.effective());
        training.check(refusals);
        if let Some(loss) = &params.outlier {
            let beta = (0.0..=1000.0).contains(&loss.beta);
            refusals.require(beta, "outlier.beta", loss.beta, "0 to 1000, such as 1");
            let batch = (1..=65_536).contains(&loss.batch_size);
            refusals.require(batch, "outlier.batch_size", loss.batch_size, "1 to 65536");
            if let Some(tune) = &loss.fine_tune {
                let pace = (tune.epochs, tune.batch_size, tune.lr);
                training::check_pace("outlier.fine_tune", pace, refusals);
            }
        }
        let images = refusals
            .take(Role::Images, asked.source::<ImageSource>(&Role::Images))?
            .flatten();
        if let Some(images) = &images {
            training.check_set(images, refusals);
        }
        let weights = refusals
            .take(Role::Initial, asked.source::<StateSource>(&Role::Initial))?
            .flatten();
        training.check_head(weights.is_some(), refusals);
        // A finished run is answered without its weights.
        if let Some(weights) = weights.as_ref().filter(|_| !asked.is_answered(store)) {
            let outputs = images.as_ref().map(|images| images.classes().len());
            let outputs = outputs.filter(|count| *count > 0);
            training::check_initial(weights, &training, outputs, refusals)?;
        }
        let fine_tunes = params.outlier.as_ref().is_some_and(|o| o.fine_tune.is_some());
        let wanted = [
            (Role::Outliers, params.outlier.is_some(), imagine::NAME),
            (Role::Initial, fine_tunes && weights.is_none(), NAME),
        ];
        for (role, needed, stage) in wanted {
            if !needed {
                if asked.input(&role).is_some() {
                    refusals.refuse(
                        &role,
                        format!("a run is given as {role}, but the parameters have no use for it"),
                    );
                }
                continue;
            }
            let imported = [stage, import::NAME];
            let stages = if role == Role::Outliers {
                &imported[..]
            } else {
                &imported[..1]
            };
            let known = asked.known(store, &role, stages, refusals)?;
            let known = known.filter(|known| import::require(known, Table::Images, &role, refusals));
            let Some(known) = known else { continue };
            match (&role, &images) {
                (Role::Initial, Some(images)) => check_classes(store, &known, images, &role, refusals)?,
                (Role::Outliers, Some(images)) => check_imagined(store, &known, images, refusals)?,
                _ => {}
            }
            if role == Role::Outliers {
                let empty = match known.run {
                    Some(run) => store.count(run, Table::Images)? == 0,
                    None => known.params::<imagine::Params>()?.per_class == 0,
                };
                refusals.require(!empty, &role.to_string(), "a run without a picture", "pictures");
            }
        }
        Ok(())
    }

    /// Executes the run; an epoch's checkpoint and metrics are committed together.
    fn execute(ctx: &Context<'_>, order: &Order<'_, Params>) -> Result<(), StageError> {
        execute(ctx, order.run, &order.params)
    }
}

/// Refuses a set whose classes are not those of the classifier that is `known`.
pub(super) fn check_classes(
    store: &Store,
    known: &Known,
    set: &ImageSource,
    role: &Role,
    refusals: &mut Refusals,
) -> Result<(), StageError> {
    let Some(own) = refusals.take(role, known.source::<ImageSource>(store, &Role::Images))? else {
        return Ok(());
    };
    // What is not registered yet may not know its classes, and one that numbers them may be named by the
    // other.
    if !own.classes().is_empty() && !own.may_have_classes(set.classes()) {
        refusals.take(role, set.check_classes(own.classes(), "the classifier"))?;
    }
    Ok(())
}

/// Refuses a set whose classes are not those that the outliers were imagined of.
fn check_imagined(
    store: &Store,
    known: &Known,
    set: &ImageSource,
    refusals: &mut Refusals,
) -> Result<(), StageError> {
    let Some(embeddings) = known.input(&Role::Embeddings) else {
        return Ok(());
    };
    let embeddings = embeddings.known(store, &Role::Embeddings, embed::STAGES)?;
    let classes = embed::classes(store, &embeddings)?;
    let names: Vec<String> = classes.into_iter().map(|class| class.class_name).collect();
    refusals.take(Role::Outliers, set.check_classes(&names, "the outliers"))?;
    Ok(())
}

fn execute(ctx: &Context<'_>, run: &Run, params: &Params) -> Result<(), StageError> {
    let training = &params.effective();
    let source = ImageSource::find(ctx.store, run, &Role::Images)?;
    source.verify_images()?;
    let [images, test] = training.open(&source)?;
    let classes = source.classes();
    let labels = training::labels(&images, classes, source.name())?;

    let network = training.network(classes.len(), run.spec.seed, ctx)?;
    if let Some(initial) = Role::Initial.input_of(run) {
        load_initial(ctx, initial, &network)?;
    }
    training::initialize(ctx, run, training, &network)?;
    let outliers = Outliers::load(ctx, run, params, training)?;
    let extra = outliers.as_ref().map_or(Vec::new(), |o| o.phi.vars());
    let seed = run.spec.seed;
    let beside = outliers
        .as_ref()
        .map(|outliers| move |look: &Look, number: usize| outliers.batch(look, seed, number));
    let trainer = Trainer {
        ctx,
        run,
        training,
        network,
        extra,
        source: &source,
        images: &images,
        test: &test,
        labels,
        classes,
        beside: beside.as_ref().map(|beside| beside as _),
    };
    trainer.train(
        if outliers.is_some() { "detect" } else { "plain" },
        Ok,
        |network, step| match (&outliers, step.beside) {
            (Some(outliers), Some(pictures)) => outliers.loss.of(&outliers.phi, network, step, pictures),
            _ => Ok(nn::cross_entropy(
                &network.forward(step.images, true)?,
                step.labels,
            )?),
        },
    )
}

fn load_initial(ctx: &Context<'_>, initial: RunId, network: &ResNet) -> Result<(), StageError> {
    let missing = || StageError::Mismatch(format!("run {initial} has no checkpoint to start from"));
    let mut state = training::used_model(ctx, &ctx.store.run(initial)?)?.ok_or_else(missing)?;
    state.retain(|name, _| !super::phi::is_phi(name));
    Ok(network.tensors().load_state_dict(&state)?)
}
