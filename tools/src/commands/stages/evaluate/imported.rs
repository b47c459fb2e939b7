//! `dream evaluate --id-scores`: scores that another program took.

use anyhow::{Result, bail};
use dream_ood::stage::evaluate::{Observations, Settings};
use dream_ood::stage::import;
use dream_ood::store::Readable as _;
use dream_schema::{RunId, Score};

use super::Evaluate;
use super::words::{TestSet, named_sets};
use crate::session::{Session, Usage};

/// Scores that were imported. What conflicts is spelt out as for activations.
#[derive(Debug, clap::Args)]
pub(super) struct Imported {
    /// In place of classifiers: scores of the in-distribution test images, an import (`dream import scores`).
    /// They are measured as they are; rows of tables have the name and seed of the network that the import
    /// was given
    #[arg(
        long,
        value_name = "RUN",
        requires = "ood_scores",
        conflicts_with_all = ["activations", "dataset", "ood", "scores", "ood_validation", "validation_split"]
    )]
    pub id_scores: Option<String>,
    /// Imported scores of out-of-distribution images, with the group of their set, as for --ood
    #[arg(
        long,
        value_name = "[GROUP=]RUN",
        num_args = 1..,
        requires = "id_scores",
        conflicts_with_all = ["detectors", "activations", "ood_activations", "train_activations",
                              "validation_activations", "ood_validation_activations", "dataset", "ood"]
    )]
    ood_scores: Vec<TestSet>,
}

impl Evaluate {
    /// Evaluates imported scores; none if `--check` ends here.
    pub(super) fn of_scores(
        &self,
        session: &Session<'_>,
        settings: &Settings,
        id: &str,
    ) -> Result<Option<Vec<RunId>>> {
        let id = session.resolve(id)?;
        dataset(session, id)?;
        let (ood, groups) = named_sets(session, "--ood-scores", &self.imported.ood_scores, dataset)?;
        let settings = Settings {
            scores: Vec::new(),
            where_possible: false,
            groups,
            ..settings.clone()
        };
        let observations = Observations {
            id: id.into(),
            ood,
            train: None,
            validation: None,
            ood_validation: None,
        };
        self.of_stored(session, settings.params(None), &observations)
    }
}

/// Returns the data set that imported scores are of.
fn dataset(session: &Session<'_>, run: RunId) -> Result<String> {
    let spec = session.store.run(run)?.spec;
    let row = session.store.row::<Score>(run, 0, 0)?;
    if let (Some(_), Some(row)) = (import::score_of(&spec), row) {
        return Ok(row.dataset);
    }
    let others = match session.store.row::<dream_schema::Activation>(run, 0, 0)? {
        Some(_) => "; --activations and --ood-activations name activations",
        None => "",
    };
    bail!(Usage(format!(
        "run {run} is no import of scores, as `dream import scores` takes them in{others}"
    )))
}
