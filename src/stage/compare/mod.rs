//! Detection tables: the metrics of several evaluations side by side, with mean and spread over seeds.

mod over;
mod paired;
mod settings;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use dream_schema::{Metric, Run, RunId};

use super::evaluate::{Draws, EXTRA_METRICS, Group, StoredScores};
use super::metric::MetricName;
use super::{Refusals, Role, StageError, detect, evaluate, params, required_input};
use crate::ood::Convention;
use crate::store::{Readable, Store};

pub use over::Over;
pub use paired::{PAIRED_METRICS, Paired, paired};
pub use settings::{Settings, settings};
pub use table::{Cell, Comparison, Line, Mark};

/// The results of one kind of network, over all its seeds.
#[derive(Clone, Debug)]
pub struct Network {
    /// `plain`, `dream`, the name of another method of training, or `other`.
    pub kind: &'static str,
    /// `plain`, `dream` for one trained with imagined outliers, `other` for one of another program; with the
    /// start of a run's id where two kinds share a name, and with the draws of its evaluation, or the start
    /// of that one's id, where evaluations of one network have different numbers.
    pub name: String,
    /// Whose definition of the metrics.
    pub convention: Convention,
    /// The seeds, in the order in which the evaluations were named.
    pub seeds: Vec<u64>,
    /// The evaluations, seed by seed.
    pub evaluations: Vec<RunId>,
    /// The ID test set.
    pub id: String,
    /// Accuracy on the ID test set, a fraction, seed by seed.
    pub accuracy: Vec<f64>,
    /// What searches for hyperparameters chose, as in `knn:k=50`, with the seed.
    pub chosen: Vec<(u64, String)>,
    /// Accuracy on shifted sets, and the mean over them, seed by seed.
    pub shifted: BTreeMap<Over, Vec<f64>>,
    /// (score, what it is over, metric) to its values, seed by seed.
    pub metrics: BTreeMap<(String, Over, MetricName), Vec<f64>>,
}

impl Network {
    /// Returns its scores.
    pub fn scores(&self) -> Vec<String> {
        let scores: BTreeSet<_> = self.metrics.keys().map(|(score, _, _)| score.clone()).collect();
        scores.into_iter().collect()
    }

    /// Returns the scores that a table shows: `wanted` alone, in their order, or all.
    pub fn shown(&self, wanted: &[String]) -> Vec<String> {
        let known = self.scores();
        match wanted.is_empty() {
            true => known,
            false => wanted
                .iter()
                .filter(|score| known.contains(score))
                .cloned()
                .collect(),
        }
    }

    /// Returns the pairs of a score and what metrics are over: the rows of a table.
    pub fn rows(&self) -> Vec<(String, Over)> {
        let keys = self.metrics.keys();
        let pairs: BTreeSet<_> = keys
            .map(|(score, over, _)| (score.clone(), over.clone()))
            .collect();
        pairs.into_iter().collect()
    }

    /// Returns what its detection metrics are over, in the order of a table: the ID set, which other metrics
    /// may be of, is none of it.
    pub fn columns(&self) -> Vec<Over> {
        let keys = self
            .metrics
            .keys()
            .filter(|(_, _, metric)| *metric == MetricName::Auroc);
        let columns: BTreeSet<_> = keys.map(|(_, over, _)| over.clone()).collect();
        columns.into_iter().collect()
    }
}

/// Returns the networks of `evaluations`, with metrics of `extra` also where they were not stored: they are
/// taken of the scores. See [`networks`].
///
/// # Errors
/// As [`networks`].
pub fn networks_with(
    store: &Store,
    evaluations: &[RunId],
    extra: &[MetricName],
) -> Result<Vec<Network>, StageError> {
    let mut all = networks(store, evaluations)?;
    let extra: Vec<MetricName> = EXTRA_METRICS
        .iter()
        .copied()
        .filter(|name| extra.contains(name))
        .collect();
    if extra.is_empty() {
        return Ok(all);
    }
    for network in &mut all {
        network
            .metrics
            .retain(|(_, _, metric), _| !extra.contains(metric));
        for evaluation in &network.evaluations {
            let scores = StoredScores::load(store, &store.run(*evaluation)?)?;
            for row in scores.metrics(&extra)? {
                let metric = MetricName::of(&row).filter(|metric| extra.contains(metric));
                if let Some((metric, score)) = metric.zip(row.score.clone()) {
                    let key = (score, Over::of(&row), metric);
                    network.metrics.entry(key).or_default().push(row.value);
                }
            }
        }
    }
    Ok(all)
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
    let first = |runs: &[(Run, RunId)]| runs.first().map(|(classifier, _)| classifier.id);
    let network = |(kind, runs): &(Kind, Vec<(Run, RunId)>)| {
        let mut name = kind.name.to_owned();
        let same_name = || groups.iter().filter(|(other, _)| other.name == kind.name);
        let of_it = || same_name().filter(|(_, others)| first(others) == first(runs));
        // One network that was evaluated twice is told from others by what was asked, not by its run.
        let is_drawn = of_it().any(|(other, _)| other.draws != kind.draws);
        if same_name().count() > of_it().count() || of_it().count() > 1 && !is_drawn {
            let id = first(runs).map(|id| id.to_string()).unwrap_or_default();
            name.push_str(&format!(" {id:.6}"));
        }
        if let (true, Some(draws)) = (is_drawn, kind.draws) {
            name.push_str(&format!(" {} draws", draws.repeats));
        }
        summarise(store, kind, name, runs)
    };
    let mut networks = groups.iter().map(network).collect::<Result<Vec<_>, _>>()?;
    tell_apart(&mut networks);
    Ok(networks)
}

/// Tells those of one name apart by their evaluations, where these have different numbers of one thing.
fn tell_apart(networks: &mut [Network]) {
    let differ = |a: &Network, b: &Network| {
        let other = |key| b.metrics.get(key);
        a.name == b.name
            && (a.metrics.iter()).any(|(key, values)| other(key).is_some_and(|other| other != values))
    };
    let mixed = networks
        .iter()
        .map(|one| networks.iter().any(|other| differ(one, other)));
    let mixed: Vec<bool> = mixed.collect();
    for (network, _) in networks.iter_mut().zip(mixed).filter(|(_, mixed)| *mixed) {
        if let Some(evaluation) = network.evaluations.first() {
            network.name.push_str(&format!(" {:.6}", evaluation.to_string()));
        }
    }
}

/// Refuses evaluations that cannot stand in one table: of other conventions, or with other images or another
/// group under one name.
///
/// # Errors
/// [`StageError::Refused`] with all that is wrong; also if the store fails.
pub fn check(store: &Store, evaluations: &[RunId]) -> Result<(), StageError> {
    let mut refusals = Refusals::of("compare");
    let mut first: Option<(RunId, Convention)> = None;
    let mut seen: BTreeMap<String, (RunId, (String, String))> = BTreeMap::new();
    let mut groups: BTreeMap<String, (RunId, Option<Group>)> = BTreeMap::new();
    for id in evaluations {
        let evaluation = store.run(*id)?;
        let known = super::input(store, "evaluation", *id, &[evaluate::NAME]);
        if refusals.take(id, known)?.is_none() {
            continue;
        }
        let own = evaluate::convention(&evaluation)?;
        let (other, convention) = *first.get_or_insert((*id, own));
        if own != convention {
            let found =
                format!("its metrics are by the convention {own}, those of run {other} by {convention}");
            refusals.refuse(id, found);
        }
        let own = evaluate::groups(&evaluation)?;
        for (role, read) in evaluate::sets(store, &evaluation)? {
            if let Some(set) = Role::ood_name(&role) {
                let group = own.get(set).copied();
                let (other, known) = *groups.entry(set.to_owned()).or_insert((*id, group));
                if group != known {
                    let name = |group: Option<Group>| group.map_or("none", Group::name);
                    let found = format!(
                        "its set `{set}` is of the group {}, that of run {other} of {}",
                        name(group),
                        name(known)
                    );
                    refusals.refuse(id, found);
                }
            }
            let Some(read) = read else { continue };
            let (other, known) = seen.entry(role.clone()).or_insert_with(|| (*id, read.clone()));
            if *known != read {
                let set = Role::ood_name(&role).unwrap_or("the ID set");
                let found = format!("its images of `{set}` are not those of run {other}");
                refusals.refuse(id, found);
            }
        }
    }
    refusals.finish()
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
    draws: Option<Draws>,
    settings: Vec<String>,
}

impl Kind {
    fn of(store: &Store, evaluation: &Run, classifier: &Run) -> Result<Self, StageError> {
        let name = match classifier.spec.stage == detect::NAME {
            true => match params::<detect::Params>(classifier)?
                .outlier
                .map(|recipe| recipe.method)
            {
                Some(detect::Method::Phi(_)) => "dream",
                Some(method) => method.name(),
                None => "plain",
            },
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
            draws: evaluate::draws(evaluation)?,
            settings,
        })
    }
}

fn summarise(store: &Store, kind: &Kind, name: String, runs: &[(Run, RunId)]) -> Result<Network, StageError> {
    let mut values: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    let (mut id, mut accuracy) = (String::new(), Vec::new());
    let mut shifted: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    let mut chosen = Vec::new();
    for (classifier, evaluation) in runs {
        let rows = store.rows::<Metric>(*evaluation, None)?;
        let choices = evaluate::choices(&rows).into_iter();
        chosen.extend(choices.map(|(label, _)| (classifier.spec.seed, label)));
        for row in rows {
            // What a newer program measures besides has no place in this table.
            let Some(metric) = MetricName::of(&row) else {
                continue;
            };
            let over = Over::of(&row);
            match row.score {
                Some(_) if [MetricName::SearchAuroc, MetricName::ChosenAuroc].contains(&metric) => {}
                Some(score) => {
                    let key = (score, over, metric);
                    values.entry(key).or_default().push(row.value);
                }
                None if metric == MetricName::Accuracy && over.group.is_some() => {
                    shifted.entry(over).or_default().push(row.value);
                }
                // Without a set, it is that over ID and shifted sets.
                None if metric == MetricName::Accuracy => {
                    if let Some(set) = over.set {
                        accuracy.push(row.value);
                        id = set;
                    }
                }
                None => {}
            }
        }
    }
    let seeds = runs.iter().map(|(classifier, _)| classifier.spec.seed).collect();
    let evaluations = runs.iter().map(|(_, evaluation)| *evaluation).collect();
    Ok(Network {
        kind: kind.name,
        name,
        convention: kind.convention,
        seeds,
        evaluations,
        id,
        accuracy,
        chosen,
        shifted,
        metrics: values,
    })
}
