//! Detection tables: the metrics of several evaluations side by side, with mean and spread over seeds.

use std::collections::{BTreeMap, BTreeSet};

use dream_schema::{Metric, Run, RunId};

use super::metric::MetricName;
use super::{Role, StageError, detect, evaluate, params, required_input};
use crate::ood::Convention;
use crate::store::{Readable, Store};

/// The results of one kind of network, over all its seeds.
#[derive(Clone, Debug)]
pub struct Network {
    /// `plain`, `dream` for one trained with imagined outliers, `other` for one of another program; with the
    /// start of a run's id where two kinds share a name.
    pub name: String,
    /// Whose definition of the metrics.
    pub convention: Convention,
    /// The seeds, in the order in which the evaluations were named.
    pub seeds: Vec<u64>,
    /// The evaluations, seed by seed.
    pub evaluations: Vec<RunId>,
    /// Accuracy on the ID test set, a fraction, seed by seed.
    pub accuracy: Vec<f64>,
    /// (score, OOD set, metric) to its values, seed by seed; the set is none for the mean over all sets.
    pub metrics: BTreeMap<(String, Option<String>, MetricName), Vec<f64>>,
}

impl Network {
    /// Returns its scores.
    pub fn scores(&self) -> Vec<String> {
        let scores: BTreeSet<_> = self.metrics.keys().map(|(score, _, _)| score.clone()).collect();
        scores.into_iter().collect()
    }

    /// Returns the pairs of a score and an OOD set that have metrics: the rows of a table, of every score the
    /// mean over all sets last.
    pub fn rows(&self) -> Vec<(String, Option<String>)> {
        let keys = self.metrics.keys();
        let pairs: BTreeSet<_> = keys
            .map(|(score, set, _)| (score.clone(), set.is_none(), set.clone()))
            .collect();
        pairs.into_iter().map(|(score, _, set)| (score, set)).collect()
    }

    /// Returns the names of its OOD sets.
    pub fn datasets(&self) -> Vec<String> {
        let names: BTreeSet<_> = self
            .metrics
            .keys()
            .filter_map(|(_, set, _)| set.clone())
            .collect();
        names.into_iter().collect()
    }
}

/// Returns the networks of `evaluations` in the order in which they first come. Runs that differ by their
/// seed alone are taken together.
///
/// # Errors
/// If one is no finished `evaluate` run.
pub fn networks(store: &Store, evaluations: &[RunId]) -> Result<Vec<Network>, StageError> {
    let mut groups: Vec<(Kind, Vec<(Run, RunId)>)> = Vec::new();
    let mut seen = BTreeSet::new();
    // A run that is named twice is no second seed.
    for id in evaluations.iter().filter(|id| seen.insert(**id)) {
        let evaluation = store.run(*id)?;
        super::input(store, "evaluation", *id, &[evaluate::NAME])?;
        let classifier = classifier(store, &evaluation)?;
        let kind = Kind::of(store, &evaluation, &classifier)?;
        match groups.iter_mut().find(|(k, _)| *k == kind) {
            Some((_, runs)) => runs.push((classifier, *id)),
            None => groups.push((kind, vec![(classifier, *id)])),
        }
    }
    let names: Vec<&'static str> = groups.iter().map(|(kind, _)| kind.name).collect();
    let network = |(kind, runs): &(Kind, Vec<(Run, RunId)>)| {
        let shared = names.iter().filter(|name| **name == kind.name).count() > 1;
        let first = runs
            .first()
            .map(|(classifier, _)| classifier.id.to_string())
            .unwrap_or_default();
        let name = if shared {
            format!("{} {:.6}", kind.name, first)
        } else {
            kind.name.to_owned()
        };
        summarise(store, name, kind.convention, runs)
    };
    groups.iter().map(network).collect()
}

/// Returns the run that an evaluation's classifier is of: a `detect` run, or where another program trained it
/// the one that has its activations.
fn classifier(store: &Store, evaluation: &Run) -> Result<Run, StageError> {
    match evaluate::detector(store, evaluation)? {
        Some(detector) => Ok(detector),
        None => Ok(store.run(required_input(evaluation, &Role::Id)?)?),
    }
}

/// What tells kinds of networks apart: everything but the seed, all the way up the lineage.
#[derive(PartialEq)]
struct Kind {
    name: &'static str,
    convention: Convention,
    settings: Vec<String>,
}

impl Kind {
    fn of(store: &Store, evaluation: &Run, classifier: &Run) -> Result<Self, StageError> {
        let name = match classifier.spec.stage == detect::NAME {
            true if params::<detect::Params>(classifier)?.outlier.is_some() => "dream",
            true => "plain",
            false => "other",
        };
        let settings = super::lineage::ancestors(store, evaluation.id)?;
        let mut settings: Vec<String> = settings
            .iter()
            .map(|run| serde_json::json!([run.spec.stage, run.spec.params, run.spec.sources]).to_string())
            .collect();
        settings.sort_unstable();
        Ok(Self {
            name,
            convention: evaluate::convention(evaluation)?,
            settings,
        })
    }
}

fn summarise(
    store: &Store,
    name: String,
    convention: Convention,
    runs: &[(Run, RunId)],
) -> Result<Network, StageError> {
    let mut values: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    let mut accuracy = Vec::new();
    for (_, evaluation) in runs {
        for row in store.rows::<Metric>(*evaluation, None)? {
            // What a newer program measures besides has no place in this table.
            let Some(metric) = MetricName::of(&row) else {
                continue;
            };
            match row.score {
                Some(score) => {
                    let key = (score, row.dataset, metric);
                    values.entry(key).or_default().push(row.value);
                }
                None if metric == MetricName::Accuracy => accuracy.push(row.value),
                None => {}
            }
        }
    }
    let seeds = runs.iter().map(|(classifier, _)| classifier.spec.seed).collect();
    let evaluations = runs.iter().map(|(_, evaluation)| *evaluation).collect();
    Ok(Network {
        name,
        convention,
        seeds,
        evaluations,
        accuracy,
        metrics: values,
    })
}
