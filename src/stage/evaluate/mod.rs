//! `evaluate`: takes detection scores of what a classifier showed of the ID test set and of every OOD set
//! (`observe`, or an import), and from these the detection metrics. A network is run for those scores alone
//! that need its gradients or the maps between its layers (`network.rs`). Scores of another program are
//! measured as they are (`given.rs`).

mod check;
mod chosen;
mod draws;
mod given;
mod group;
mod held_out;
mod labels;
mod metrics;
mod network;
mod parts;
mod search;
mod sets;
mod shown;
mod stored;
mod tested;
mod work;

use std::collections::BTreeMap;

use dream_schema::Run;
use serde::{Deserialize, Serialize};

use super::{
    Asked, Context, ImageSource, Input, MetricName, Order, Refusals, Role, Source, Stage, StageError, detect,
    params,
};
use crate::engine::Precision;
use crate::ood::Convention;
use crate::stage::detect::OwnScore;
use crate::store::{Readable, Store};

pub use chosen::{ALL, DREAM, ScoreSpec, There, Tuned, all};
pub use draws::{Draws, MOST_DRAWS, drawn_whole};
pub use group::{Group, Groups};
pub use metrics::{EXTRA_METRICS, METRICS, SetScores};
pub use parts::all_metrics;
pub use search::choices;
pub(super) use sets::same_classifier;
pub(super) use shown::Shown;
pub use stored::StoredScores;
pub use tested::{Images, TestedSet, images, sets};

/// Name of the stage.
pub const NAME: &str = "evaluate";
/// Version of its algorithm: the first read the images itself.
pub const VERSION: u32 = 2;

/// What is measured, and by which convention.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The detection scores; none where what is read is imported scores.
    pub scores: Vec<ScoreSpec>,
    /// Whose definition of the metrics: `dream-ood`, `openood`, `pytorch-ood`.
    pub convention: Convention,
    /// Leaves out scores that cannot learn from these activations, with a note.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub where_possible: bool,
    /// The groups of the test sets that have one, by the names of the sets: near and far OOD sets, and ID
    /// sets under a covariate shift.
    #[serde(default, skip_serializing_if = "Groups::is_empty")]
    pub groups: Groups,
    /// Counts the images of shifted sets as in-distribution (OpenOOD v1.5's full-spectrum detection).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub full_spectrum: bool,
    /// Metrics beside the usual four: see [`EXTRA_METRICS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricName>,
    /// The network that an import of the ID set is said to be of, as the imports have it: their runs are
    /// known here by what is in them, which does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NamedNetwork>,
    /// Measures subsets of the OOD sets; without it, all of their images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draws: Option<Draws>,
}

/// A network of another program, by the name and seed that its imports give it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedNetwork {
    /// Its name.
    pub name: String,
    /// The seed that it was trained with.
    pub seed: u64,
}

/// What is evaluated of a classifier: [`Params`], and what is observed for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// See [`Params::scores`]. Beside others, scores that come with another method of training are left out.
    pub scores: Vec<ScoreSpec>,
    /// See [`Params::convention`].
    pub convention: Convention,
    /// See [`Params::where_possible`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub where_possible: bool,
    /// See [`Params::groups`].
    #[serde(default, skip_serializing_if = "Groups::is_empty")]
    pub groups: Groups,
    /// See [`Params::full_spectrum`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub full_spectrum: bool,
    /// See [`Params::metrics`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricName>,
    /// See [`Params::draws`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draws: Option<Draws>,
    /// How the classifier is computed, as [`observe`](super::observe) has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// The split of the ID set.
    pub split: String,
    /// The split of the OOD sets. Without it, of each its only split, or "test".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ood_split: Option<String>,
    /// The splits of OOD sets that have one of their own, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ood_splits: BTreeMap<String, String>,
    /// The split of the OOD set that hyperparameters are searched on; without it, its only one, or "test".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ood_validation_split: Option<String>,
    /// The split of the ID set that scores learn from beside the training images, for those that do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_split: Option<String>,
}

impl Settings {
    /// Returns the split of an OOD set that is looked at.
    pub fn split_of<'a>(&'a self, set: &'a ImageSource) -> &'a str {
        let own = self.ood_splits.get(set.name()).or(self.ood_split.as_ref());
        own.map_or_else(|| set.usual_split(), String::as_str)
    }

    /// Returns the parameters of an evaluation, of a classifier with a score of its own or without.
    pub fn params(&self, own: Option<OwnScore>) -> Params {
        let mut scores = self.scores.clone();
        let has = |score: &ScoreSpec| {
            let needed = OwnScore::from_name(score.name());
            needed.is_none() || needed == own
        };
        if scores.iter().any(has) {
            scores.retain(has);
        }
        Params {
            scores,
            convention: self.convention,
            where_possible: self.where_possible,
            groups: self.groups.clone(),
            full_spectrum: self.full_spectrum,
            metrics: self.metrics.clone(),
            network: None,
            draws: self.draws,
        }
    }
}

impl Params {
    /// Says whether all scores are there, and may have the values that are given.
    pub fn are_scores_known(&self) -> bool {
        self.scores.iter().all(|spec| chosen::Chosen::of(spec).is_ok())
    }

    /// Says whether a score learns from training images, and whether from validation images.
    pub fn learns(&self) -> [bool; 2] {
        let chosen = self
            .scores
            .iter()
            .filter_map(|spec| chosen::Chosen::of(spec).ok());
        chosen.fold([false; 2], |[train, validation], score| {
            let needs = score.needs();
            [train || needs.train, validation || needs.validation]
        })
    }
}

/// What an evaluation reads: runs with activations, or imports of scores.
#[derive(Clone, Debug)]
pub struct Observations {
    /// Of the ID test set.
    pub id: Input,
    /// Of the OOD sets, by name.
    pub ood: Vec<(String, Input)>,
    /// Of training images, where scores learn from them.
    pub train: Option<Input>,
    /// Of ID images that the classifier was not trained on, where scores learn from them.
    pub validation: Option<Input>,
    /// Of OOD images beside the test sets: where they are there, values of hyperparameters that are not given
    /// are those that tell them best from the validation images.
    pub ood_validation: Option<Input>,
}

/// An evaluation of a classifier.
#[derive(Clone, Debug)]
pub struct Evaluate;

/// Asks for the evaluation of what a classifier showed.
pub fn ask(params: &Params, observations: &Observations) -> Asked<Evaluate> {
    let mut asked = Asked::new(params, 0).reads(Role::Id, observations.id.clone());
    let learnt = [
        (Role::Train, &observations.train),
        (Role::Validation, &observations.validation),
        (Role::OodValidation, &observations.ood_validation),
    ];
    for (role, input) in learnt {
        if let Some(input) = input {
            asked = asked.reads(role, input.clone());
        }
    }
    observations.ood.iter().fold(asked, |asked, (name, input)| {
        asked.reads(Role::Ood(name.clone()), input.clone())
    })
}

impl Stage for Evaluate {
    const NAME: &'static str = NAME;
    const VERSION: u32 = VERSION;
    type Params = Params;

    fn check(store: &Store, asked: &mut Asked<Self>, refusals: &mut Refusals) -> Result<(), StageError> {
        check::check(store, asked, refusals)
    }

    /// Executes the run: the rows of a set are committed score by score, the metrics at the end. Sets and
    /// scores that are stored already are not made again.
    fn execute(ctx: &Context<'_>, order: &Order<'_, Params>) -> Result<(), StageError> {
        work::execute(ctx, order.run, &order.params)
    }
}

/// Returns the `detect` run whose classifier an evaluation is of, whichever version made it; none where the
/// activations are of another program's classifier.
///
/// # Errors
/// If the store fails.
pub fn detector(store: &Store, evaluation: &Run) -> Result<Option<Run>, StageError> {
    let own = |run: &Run| Role::Detector.input_of(run);
    let id = match (own(evaluation), Role::Id.input_of(evaluation)) {
        (Some(detector), _) => Some(detector),
        (None, Some(observed)) => own(&store.run(observed)?),
        (None, None) => None,
    };
    Ok(id.map(|id| store.run(id)).transpose()?)
}

/// Returns the convention of an evaluation, whichever version made it.
///
/// # Errors
/// If it has none.
pub fn convention(evaluation: &Run) -> Result<Convention, StageError> {
    /// What the versions have in common.
    #[derive(Deserialize)]
    struct Common {
        convention: Convention,
    }
    Ok(params::<Common>(evaluation)?.convention)
}

/// Says whether an evaluation counts the images of shifted sets as in-distribution.
///
/// # Errors
/// If its parameters are none of an evaluation.
pub fn full_spectrum(evaluation: &Run) -> Result<bool, StageError> {
    /// What the versions have in common.
    #[derive(Deserialize)]
    struct Common {
        #[serde(default)]
        full_spectrum: bool,
    }
    Ok(params::<Common>(evaluation)?.full_spectrum)
}

/// Returns how an evaluation draws subsets of its OOD sets, where it does.
///
/// # Errors
/// If its parameters are none of an evaluation.
pub fn draws(evaluation: &Run) -> Result<Option<Draws>, StageError> {
    /// What the versions have in common.
    #[derive(Deserialize)]
    struct Common {
        #[serde(default)]
        draws: Option<Draws>,
    }
    Ok(params::<Common>(evaluation)?.draws)
}

/// Returns the groups of an evaluation's test sets, whichever version made it.
///
/// # Errors
/// If its parameters are none of an evaluation.
pub fn groups(evaluation: &Run) -> Result<Groups, StageError> {
    /// What the versions have in common.
    #[derive(Deserialize)]
    struct Common {
        #[serde(default)]
        groups: Groups,
    }
    Ok(params::<Common>(evaluation)?.groups)
}

/// Returns the score that only a `detect` run's classifier has, because of how it was or will be trained.
///
/// # Errors
/// If it is of another stage, or the store fails.
pub fn own_score(store: &Store, detector: &Input) -> Result<Option<OwnScore>, StageError> {
    let known = detector.known(store, &Role::Detector, &[detect::NAME])?;
    Ok(known.params::<detect::Params>()?.own_score())
}
