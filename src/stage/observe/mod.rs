//! `observe`: passes the images of a split through a classifier once, and stores what it shows of each.
//! Scores are arithmetic on these rows.

mod network;
mod rows;

use dream_schema::{Run, Table};
use serde::{Deserialize, Serialize};

use super::arithmetic::settled;
use super::detect::Detector;
use super::pictures::{HELD_BYTES, Pictures};
use super::{
    Arithmetic, Asked, Context, ImageSource, Input, Known, MetricName, Order, Refusals, Role, Source, Stage,
    StageError, StateSource, detect,
};
use crate::engine::{Precision, Work};
use crate::store::{Readable, Store};
use crate::words::words;
use half::f16;

pub use network::Network;
use rows::Rows;
pub(super) use rows::put_head;

/// Name of the stage.
pub const NAME: &str = "observe";
/// Version of its algorithm.
pub const VERSION: u32 = 1;

/// Images whose rows are committed at once. Results do not depend on it.
const STRETCH: usize = 2000;

words! {
    /// As what numbers are stored. They are read as f32 all the same.
    #[derive(Default)]
    pub enum Dtype {
        /// As the classifier gives them.
        #[default]
        F32 = "f32",
        /// Rounded to 11 significant bits and at most 65504, in half the room.
        F16 = "f16",
    }
}

impl Dtype {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the numbers as they are stored.
    fn round(self, numbers: &[f32]) -> Vec<f32> {
        match self {
            Self::F32 => numbers.to_vec(),
            Self::F16 => numbers.iter().map(|x| f16::from_f32(*x).to_f32()).collect(),
        }
    }
}

/// What is looked at, and with what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The split of the image set.
    pub split: String,
    /// The labels of a set that numbers its classes, and does not name them, are the classifier's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub numbered: bool,
    /// Labels are matched with the classifier's by the names of the classes, for a set that has some of them,
    /// or all of them in another order.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub matched: bool,
    /// As what logits and features are stored.
    #[serde(default, skip_serializing_if = "Dtype::is_default")]
    pub dtype: Dtype,
    /// How the network is computed; without it, in f32. `tf32` and `bf16` are for GPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// The network, where the classifier is weights in a file; of a `detect` run it is on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
}

impl Params {
    /// Brings the precision into its one form for a network that is computed as `work`.
    fn settle(&mut self, work: Work, refusals: &mut Refusals) {
        self.precision = settled(self.precision, work);
        if let (Work::Other, Some(precision)) = (work, self.precision) {
            let found = format!("{precision}: networks of this form and width are computed in f32");
            refusals.refuse("precision", found);
        }
    }

    /// Returns what is computed, and how.
    fn arithmetic(&self) -> Arithmetic {
        Arithmetic {
            key: "precision",
            work: Work::Residual,
            precision: self.precision.unwrap_or(Precision::F32),
        }
    }
}

/// What looks at the images.
#[derive(Clone, Debug)]
pub enum Classifier {
    /// A `detect` run.
    Run(Input),
    /// Weights in a file, of the network of [`Params::network`].
    Weights(Box<StateSource>),
}

/// Activations of the images of a split.
#[derive(Clone, Debug)]
pub struct Observe;

/// Asks for what `classifier` shows of `images`.
pub fn ask(params: &Params, classifier: &Classifier, images: &ImageSource) -> Asked<Observe> {
    let asked = Asked::new(params, 0).from(Role::Images, images);
    match classifier {
        Classifier::Run(run) => asked.reads(Role::Detector, run.clone()),
        Classifier::Weights(weights) => asked.from(Role::Initial, weights.as_ref()),
    }
}

impl Stage for Observe {
    const NAME: &'static str = NAME;
    const VERSION: u32 = VERSION;
    type Params = Params;

    fn check(store: &Store, asked: &mut Asked<Self>, refusals: &mut Refusals) -> Result<(), StageError> {
        let images = refusals
            .take(Role::Images, asked.source::<ImageSource>(&Role::Images))?
            .flatten();
        if let Some(images) = &images {
            images.require_split("split", &asked.params.split, refusals);
        }
        match asked.params.network.clone() {
            Some(network) => {
                network.check(refusals);
                let work = network.work();
                asked.params.settle(work, refusals);
                let weights = asked.source::<StateSource>(&Role::Initial);
                match refusals.take(Role::Initial, weights)?.flatten() {
                    // A finished run is answered without its weights.
                    Some(_) if asked.is_answered(store) => {}
                    Some(weights) => {
                        network.check_weights(&weights, refusals)?;
                        if let Some(images) = &images {
                            check_labels(images, &network.classes, &asked.params, refusals)?;
                        }
                    }
                    None => refusals.refuse(Role::Initial, "`observe` needs the weights of the network"),
                }
            }
            None => {
                let known = asked.known(store, &Role::Detector, &[detect::NAME], refusals)?;
                if let Some(known) = &known {
                    let work = known.params::<detect::Params>()?.training.work();
                    asked.params.settle(work, refusals);
                }
                let trained_on = known.map(|known| known.source::<ImageSource>(store, &Role::Images));
                let trained_on = refusals.take(Role::Detector, trained_on.transpose())?.flatten();
                if let (Some(images), Some(trained_on)) = (&images, trained_on) {
                    check_labels(images, trained_on.classes(), &asked.params, refusals)?;
                }
            }
        }
        Ok(())
    }

    fn arithmetic(params: &Params) -> Arithmetic {
        params.arithmetic()
    }

    /// Executes the run: rows are committed a stretch at a time, the metrics at the end.
    fn execute(ctx: &Context<'_>, order: &Order<'_, Params>) -> Result<(), StageError> {
        execute(ctx, order.run, &order.params)
    }
}

/// Refuses activations as those of training images that are of other images than the classifier's own.
pub(super) fn check_training_images(
    store: &Store,
    known: &Known,
    role: &Role,
    refusals: &mut Refusals,
) -> Result<(), StageError> {
    let detector = known.input(&Role::Detector).filter(|_| known.stage == NAME);
    if let Some(detector) = detector {
        let detector = detector.known(store, &Role::Detector, &[detect::NAME])?;
        let (own, split) = (
            detector.params::<detect::Params>()?.training.split,
            known.params::<Params>()?.split,
        );
        let found = match known.same_source(&detector, &Role::Images) {
            false => {
                "activations of another image set than the one that the classifier was trained on".to_owned()
            }
            true => format!("activations of the split `{split}`; the classifier was trained on `{own}`"),
        };
        refusals.require(
            known.same_source(&detector, &Role::Images) && own == split,
            &role.to_string(),
            found,
            "those of its training images",
        );
    }
    Ok(())
}

/// Returns how many images a run looked at, or one that is still to be made will, as far as that is known.
///
/// # Errors
/// If the store fails.
pub(super) fn count(store: &Store, known: &Known) -> Result<Option<u64>, StageError> {
    if let Some(run) = known.run {
        return Ok(Some(store.count(run, Table::Activations)?));
    }
    let images = known.source::<ImageSource>(store, &Role::Images).ok();
    let split = known.params::<Params>()?.split;
    Ok(images.and_then(|images| images.count(&split)))
}

/// Refuses labels that are to be taken as they are, or matched by name, and are not those of the classifier.
fn check_labels(
    images: &ImageSource,
    classes: &[String],
    params: &Params,
    refusals: &mut Refusals,
) -> Result<(), StageError> {
    if params.matched {
        refusals.take(Role::Images, images.places_among(classes))?;
    }
    if params.numbered {
        refusals.take(Role::Images, images.check_classes(classes, "the classifier"))?;
    }
    Ok(())
}

fn execute(ctx: &Context<'_>, run: &Run, params: &Params) -> Result<(), StageError> {
    let source = ImageSource::find(ctx.store, run, &Role::Images)?;
    source.verify_images(ctx)?;
    let detector = load(ctx, run, params)?;
    let split = &params.split;
    if !source.left_out(split).is_empty() {
        ctx.progress.note(&source.say_left_out(split));
    }
    let images = Pictures::of_set(&source, split, detector.preparation(), true, HELD_BYTES)?;
    let rows = Rows::new(&source, params, &detector, &images)?;
    if let Some(note) = source
        .say_numbered(detector.classes())
        .filter(|_| params.numbered)
    {
        ctx.progress.note(&note);
    }
    put_head(ctx, run.id, &detector.head()?)?;

    // Stretches are committed in order, so the rows that are there are the first ones.
    let done = ctx.store.count(run.id, Table::Activations)? as usize;
    ctx.progress.begin(NAME, images.len() as u64, "images");
    ctx.progress.skip(done as u64);
    let samples: Vec<u32> = (done as u32..images.len() as u32).collect();
    for stretch in samples.chunks(STRETCH) {
        let shown = detector.shown(ctx, &images, stretch)?;
        ctx.store.put(run.id, &rows.of(stretch, &shown)?)?;
        ctx.progress.advance(stretch.len() as u64);
    }
    put_metrics(ctx, run, &source, params)
}

/// Loads the classifier that an `observe` run looked with.
///
/// # Errors
/// If its checkpoint or its weights are not there, or have changed.
pub(super) fn classifier(ctx: &Context<'_>, run: &Run) -> Result<Detector, StageError> {
    let params: Params = super::params(run)?;
    params.arithmetic().within(ctx, |ctx| load(ctx, run, &params))
}

fn load(ctx: &Context<'_>, run: &Run, params: &Params) -> Result<Detector, StageError> {
    match &params.network {
        Some(network) => network.load(ctx, &StateSource::find(ctx.store, run, &Role::Initial)?),
        None => Detector::load(ctx, super::required_input(run, &Role::Detector)?),
    }
}

/// Stores the accuracy, where the images have labels, and how many were left out.
fn put_metrics(
    ctx: &Context<'_>,
    run: &Run,
    source: &ImageSource,
    params: &Params,
) -> Result<(), StageError> {
    let mut metrics = Vec::new();
    let mut add = |name: MetricName, value: f64| {
        let mut row = name.row(metrics.len() as u64, value);
        row.dataset = Some(source.name().to_owned());
        metrics.push(row);
    };
    if let Some(accuracy) = rows::accuracy(ctx.store, run.id)? {
        add(MetricName::Accuracy, accuracy);
    }
    let left_out = source.left_out(&params.split).len();
    if left_out > 0 {
        add(MetricName::ImagesLeftOut, left_out as f64);
    }
    Ok(ctx.store.put(run.id, &metrics)?)
}
