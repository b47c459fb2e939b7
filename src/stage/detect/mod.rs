//! `detect`: trains the classifier, plain, with the loss on imagined outliers (DREAM-OOD, Eqs. 7 and 8), or
//! by one of the methods that this is compared with.

mod beside;
mod check;
mod detector;
mod initial;
mod method;
mod own;
mod pair;
mod recipe;

use dream_schema::Run;
use serde::{Deserialize, Serialize};

pub use super::phi::PhiName;
use super::pictures::Look;
use super::training::{self, Objective, Trainer, Training};
use super::{
    Arithmetic, Asked, Context, ImageSource, Input, Order, Refusals, Role, Source, Stage, StageError,
    StateSource,
};
use crate::store::Store;

use beside::Imagined;
pub(super) use check::check_classes;
pub use detector::Detector;
pub(super) use detector::phi;
pub use method::{DreamId, EnergyMargins, ExtraClass, LogitNorm, MixOe, Npos, OutlierExposure, PhiLoss, Vos};
pub use own::OwnScore;
pub use pair::Pair;
use recipe::Setup;
pub use recipe::{Beside, Method, Recipe, owners};

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
    /// What is minimised in place of the cross-entropy; the plain classifier has none.
    #[serde(default)]
    pub outlier: Option<Recipe>,
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
    /// Outputs of the network beside those of the classes.
    fn extra_outputs(&self) -> usize {
        let recipe = self.outlier.as_ref();
        recipe.map_or(0, |recipe| recipe.method.regularizer().extra_outputs())
    }

    /// Returns which phi is trained, if one is.
    fn phi(&self) -> Option<PhiName> {
        match &self.outlier.as_ref()?.method {
            Method::Phi(loss) => Some(loss.phi),
            Method::Vos(vos) => Some(vos.phi),
            Method::Npos(npos) => Some(npos.phi),
            Method::OutlierExposure(_)
            | Method::EnergyMargins(_)
            | Method::ExtraClass(_)
            | Method::MixOe(_)
            | Method::DreamId(_)
            | Method::LogitNorm(_) => None,
        }
    }

    /// Returns the score that comes with the method, which no other classifier has.
    pub(super) fn own_score(&self) -> Option<OwnScore> {
        match (self.phi(), self.extra_outputs()) {
            (Some(_), _) => Some(OwnScore::Dream),
            (None, 0) => None,
            (None, _) => Some(OwnScore::ExtraClass),
        }
    }

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
    /// Imagined pictures: an `imagine` run, where the method takes some.
    pub pictures: Option<(Role, Input)>,
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
    let initial = from.initial.map(|initial| (Role::Initial, initial));
    for (role, input) in from.pictures.into_iter().chain(initial) {
        asked = asked.reads(role, input);
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
        asked.params.training.settle();
        check::check(store, asked, refusals)
    }

    fn arithmetic(params: &Params) -> Arithmetic {
        params.training.arithmetic()
    }

    /// Executes the run; an epoch's checkpoint and metrics are committed together.
    fn execute(ctx: &Context<'_>, order: &Order<'_, Params>) -> Result<(), StageError> {
        execute(ctx, order.run, &order.params)
    }
}

fn execute(ctx: &Context<'_>, run: &Run, params: &Params) -> Result<(), StageError> {
    let training = &params.effective();
    let source = ImageSource::find(ctx.store, run, &Role::Images)?;
    source.verify_images(ctx)?;
    let [images, test] = training.open(&source)?;
    let classes = source.classes();
    let labels = training::labels(&images, classes, source.name())?;

    let seed = run.spec.seed;
    let network = training.network(classes.len() + params.extra_outputs(), seed, ctx)?;
    initial::load(ctx, run, training, &network, classes.len())?;
    let beside = params.outlier.as_ref().and_then(|recipe| recipe.method.beside());
    let imagined = beside.map(|beside| Imagined::load(ctx, run, &beside, training));
    let imagined = imagined.transpose()?;
    let setup = Setup {
        ctx,
        seed,
        training,
        images: &images,
        labels,
        classes,
    };
    let (name, mut objective): (_, Box<dyn Objective + '_>) = match &params.outlier {
        Some(recipe) => ("detect", recipe.method.regularizer().objective(&setup)?),
        None => ("plain", Box::new(training::CrossEntropy)),
    };
    let beside = imagined
        .as_ref()
        .map(|imagined| move |look: &Look, number: usize| imagined.batch(look, seed, number));
    let trainer = Trainer {
        ctx,
        run,
        training,
        network,
        extra: objective.parameters(),
        source: &source,
        images: &images,
        test: &test,
        labels,
        classes,
        beside: beside.as_ref().map(|beside| beside as _),
    };
    trainer.train(name, objective.as_mut())
}
