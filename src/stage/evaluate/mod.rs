//! `evaluate`: scores the ID test set and every OOD set with a trained classifier, and takes the detection
//! metrics.

mod work;

use dream_schema::Run;
use serde::{Deserialize, Serialize};

use super::{
    Asked, Context, ImageSource, Input, Order, Refusals, Role, Source, Stage, StageError, detect,
    required_input,
};
use crate::ood::{self, Convention};
use crate::store::Store;
use crate::words::words;

use work::{Evaluation, sets};

/// Name of the stage.
pub const NAME: &str = "evaluate";
/// Version of its algorithm.
pub const VERSION: u32 = 1;

/// What is measured, and by which convention.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The detection scores: `msp`, `max_logit`, `energy`, `dream`. Only a classifier with phi has `dream`,
    /// phi(E(x)).
    pub scores: Vec<ScoreName>,
    /// Whose definition of the metrics: `dream-ood`, `openood`, `pytorch-ood`.
    pub convention: Convention,
    /// The split of the ID set.
    pub split: String,
    /// The split of the OOD sets.
    pub ood_split: String,
}

words! {
    /// A detection score; higher means more in-distribution. In the order of the names, as tables have it.
    #[derive(PartialOrd, Ord)]
    pub enum ScoreName {
        /// phi(E(x)), the log-odds of being in-distribution (DREAM-OOD, Eq. 8).
        Dream = "dream",
        /// Energy E(x): logsumexp of the logits.
        Energy = "energy",
        /// Maximum logit.
        MaxLogit = "max_logit",
        /// Maximum softmax probability.
        Msp = "msp",
    }
}

impl ScoreName {
    /// Returns the score of every row of `logits`, `[n, classes]`.
    fn values(self, logits: &[f32], detector: &detect::Detector) -> Result<Vec<f32>, StageError> {
        let classes = detector.classes().len();
        Ok(match self {
            ScoreName::Msp => ood::msp(logits, classes)?,
            ScoreName::MaxLogit => ood::max_logit(logits, classes)?,
            ScoreName::Energy => ood::energy(logits, classes, 1.0)?,
            ScoreName::Dream => {
                let missing = || StageError::Mismatch("the classifier has no phi to score with".into());
                let phi = detector.phi().ok_or_else(missing)?;
                ood::phi(&ood::energy(logits, classes, 1.0)?, phi)?
            }
        })
    }
}

/// An evaluation of a classifier.
#[derive(Clone, Debug)]
pub struct Evaluate;

/// Asks for the evaluation of the classifier of the run `detector`.
pub fn ask(
    params: &Params,
    detector: impl Into<Input>,
    id: &ImageSource,
    ood: &[ImageSource],
) -> Asked<Evaluate> {
    let asked = Asked::new(params, 0)
        .reads(Role::Detector, detector)
        .from(Role::Id, id);
    ood.iter().fold(asked, |asked, set| {
        asked.from(Role::Ood(set.name().to_owned()), set)
    })
}

impl Stage for Evaluate {
    const NAME: &'static str = NAME;
    const VERSION: u32 = VERSION;
    type Params = Params;

    fn check(store: &Store, asked: &mut Asked<Self>, refusals: &mut Refusals) -> Result<(), StageError> {
        let scores = &asked.params.scores;
        refusals.require(!scores.is_empty(), "scores", "there is none", "one at least");
        for (n, score) in scores.iter().enumerate() {
            if scores[..n].contains(score) {
                refusals.refuse("scores", format!("`{}` is named twice", score.name()));
            }
        }
        let mut sets: Vec<(Role, ImageSource)> = Vec::new();
        for (role, entry) in asked.sources() {
            if let Some(set) = refusals.take(role, ImageSource::of(entry.clone()))? {
                sets.push((role.clone(), set));
            }
        }
        for (n, (role, set)) in sets.iter().enumerate() {
            let same = |(other, known): &(Role, ImageSource)| {
                other == role || known.is_registered() && known.digest() == set.digest() && *other == Role::Id
            };
            if sets[..n].iter().any(same) {
                refusals.refuse(role, format!("the image set `{}` is named twice", set.name()));
            }
            let (key, split) = match role {
                Role::Id => ("split", &asked.params.split),
                _ => ("ood_split", &asked.params.ood_split),
            };
            set.require_split(key, split, refusals);
        }
        refusals.require(
            sets.len() > 1,
            "ood",
            "there is no OOD set to evaluate on",
            "one at least",
        );
        let known = asked.known(store, &Role::Detector, &[detect::NAME], refusals)?;
        let id = sets.iter().find(|(role, _)| *role == Role::Id);
        if let (Some(known), Some((role, id))) = (known, id) {
            id.require_labels(role, refusals);
            detect::check_classes(store, &known, id, role, refusals)?;
        }
        Ok(())
    }

    fn execute(ctx: &Context<'_>, order: &Order<'_, Params>) -> Result<(), StageError> {
        execute(ctx, order.run, &order.params)
    }
}

/// Executes the run: the rows of a set are committed score by score, the metrics at the end. Sets and scores
/// that are stored already are not made again.
///
/// # Errors
/// If an image set is not what it was, or the classifier gives NaN.
fn execute(ctx: &Context<'_>, run: &Run, params: &Params) -> Result<(), StageError> {
    let sets = sets(ctx.store, run, params)?;
    ctx.progress.begin("evaluate", sets.len() as u64, "sets");
    for set in &sets {
        ctx.check_interrupt()?;
        set.source.verify_images()?;
    }
    let detector = detect::Detector::load(ctx, required_input(run, &Role::Detector)?)?;
    let has = |score: &ScoreName| *score != ScoreName::Dream || detector.phi().is_some();
    let evaluation = Evaluation {
        ctx,
        run,
        scores: params.scores.iter().copied().filter(has).collect(),
        detector,
        sets,
    };
    let all = 0..evaluation.sets.len();
    let values = all
        .map(|set| evaluation.set(set))
        .collect::<Result<Vec<_>, _>>()?;
    let metrics = evaluation.metrics(&values, params.convention)?;
    Ok(ctx.store.put(run.id, &metrics)?)
}
