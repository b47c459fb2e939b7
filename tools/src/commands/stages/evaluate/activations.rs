//! `dream evaluate --activations`: activations that are in the store, of any classifier.

use anyhow::{Result, bail};
use dream_ood::stage::detect::OwnScore;
use dream_ood::stage::evaluate::{self, Observations, Settings, There};
use dream_ood::stage::{Role, import};
use dream_ood::store::Readable as _;
use dream_schema::{Activation, RunId, Table};

use super::words::{TestSet, named_sets};
use super::{Evaluate, all_scores, tell_left_out};
use crate::session::{Session, Usage};

/// Activations that are in the store, of any classifier.
///
/// `requires` says nothing to clap where what is required conflicts with what is given: that conflict is
/// spelt out.
#[derive(Debug, clap::Args)]
pub(super) struct Stored {
    /// In place of classifiers: activations of the in-distribution test images, of `observe` or an import
    #[arg(long, value_name = "RUN", requires = "ood_activations", conflicts_with_all = ["dataset", "ood"])]
    pub activations: Option<String>,
    /// Activations of out-of-distribution images, with the group of their set, as for --ood
    #[arg(long, value_name = "[GROUP=]RUN", num_args = 1.., requires = "activations",
          conflicts_with_all = ["detectors", "dataset", "ood"])]
    ood_activations: Vec<TestSet>,
    /// Activations of training images, for scores that learn from them
    #[arg(
        long,
        value_name = "RUN",
        requires = "activations",
        conflicts_with_all = ["detectors", "dataset", "ood"]
    )]
    train_activations: Option<String>,
    /// Activations of in-distribution images held out of training, for scores that learn from them
    #[arg(
        long,
        value_name = "RUN",
        requires = "activations",
        conflicts_with_all = ["detectors", "dataset", "ood", "validation_split"]
    )]
    validation_activations: Option<String>,
    /// Activations of out-of-distribution images beside the test sets, to search hyperparameters on
    #[arg(
        long,
        value_name = "RUN",
        requires = "validation_activations",
        conflicts_with_all = ["detectors", "dataset", "ood", "validation_split", "ood_validation"]
    )]
    ood_validation_activations: Option<String>,
}

impl Evaluate {
    /// Evaluates activations; none if `--check` ends here.
    pub(super) fn of_activations(
        &self,
        session: &Session<'_>,
        settings: &Settings,
        id: &str,
    ) -> Result<Option<Vec<RunId>>> {
        let Stored {
            ood_activations,
            train_activations,
            validation_activations,
            ood_validation_activations,
            ..
        } = &self.stored;
        let resolve = |name: &str| session.resolve(name);
        let optional = |name: &Option<String>| name.as_deref().map(resolve).transpose();
        let (ood, groups) = named_sets(session, "--ood-activations", ood_activations, dataset)?;
        let mut settings = Settings {
            groups,
            ..settings.clone()
        };
        let id = resolve(id)?;
        refuse_scores(session, id)?;
        let own = match Role::Detector.input_of(&session.store.run(id)?) {
            Some(detector) => evaluate::own_score(&session.store, &detector.into())?,
            None => None,
        };
        let observations = Observations {
            id: id.into(),
            ood,
            train: optional(train_activations)?.map(Into::into),
            validation: optional(validation_activations)?.map(Into::into),
            ood_validation: optional(ood_validation_activations)?.map(Into::into),
        };
        if self.asks_for_all() {
            settings.scores = all_scores(session, There::of(&session.store, &observations)?);
            let others = OwnScore::ALL.iter().filter(|score| own != Some(**score));
            others.for_each(|score| tell_left_out(session, *score));
        }
        let mut params = settings.params(own);
        if self.names_scores() {
            // What is named is computed or refused.
            params.scores.clone_from(&settings.scores);
        }
        let [trains, validates] = params.learns();
        let unread = [
            ("--train-activations", train_activations, trains),
            (
                "--validation-activations",
                validation_activations,
                validates || ood_validation_activations.is_some(),
            ),
        ];
        let is_unread = |(_, given, read): &&(&str, &Option<String>, bool)| given.is_some() && !read;
        // What a mistyped score would read is not known: that is refused as such.
        if let Some((option, ..)) = unread.iter().find(is_unread)
            && !self.asks_for_all()
            && params.are_scores_known()
        {
            bail!(Usage(format!(
                "{option}: none of the scores learns from these images"
            )));
        }
        self.of_stored(session, params, &observations)
    }
}

/// Refuses scores in place of activations.
fn refuse_scores(session: &Session<'_>, run: RunId) -> Result<()> {
    match import::score_of(&session.store.run(run)?.spec) {
        Some(_) => bail!(Usage(format!(
            "run {run} is an import of scores: --id-scores and --ood-scores name those"
        ))),
        None => Ok(()),
    }
}

/// Returns the data set that the activations of a run are of.
fn dataset(session: &Session<'_>, run: RunId) -> Result<String> {
    refuse_scores(session, run)?;
    match session.store.row::<Activation>(run, 0, 0)? {
        Some(row) => Ok(row.dataset),
        None => bail!(Usage(format!(
            "run {run} has no rows in the table {}",
            Table::Activations
        ))),
    }
}
