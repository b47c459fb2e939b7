//! Detection tables: the metrics of several evaluations side by side, with mean and spread over seeds.

mod kind;
mod over;
mod paired;
mod settings;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use dream_schema::{Metric, Run, RunId};

use super::evaluate::{Draws, EXTRA_METRICS, Group, StoredScores, TestedSet};
use super::metric::MetricName;
use super::{Refusals, Role, StageError, evaluate, import};
use crate::ood::Convention;
use crate::store::{Readable, Store};

use kind::{Kind, classifier};
pub use over::Over;
pub use paired::{PAIRED_METRICS, Paired, paired};
pub use settings::{Settings, settings};
pub use table::{Cell, Comparison, Line, Mark};

/// What is said of numbers for which images of shifted sets count as in-distribution.
pub const FULL_SPECTRUM: &str = "full spectrum: images of shifted sets count as in-distribution";

/// The results of one kind of network, over all its seeds.
#[derive(Clone, Debug)]
pub struct Network {
    /// `plain`, `dream` for one trained with imagined outliers, the name of another method of training; of
    /// another program's network the name under which it was taken in, or `other`.
    pub kind: String,
    /// Its kind; with the start of a run's id where two kinds share a name, with [`FULL_SPECTRUM`]'s first
    /// words, and with the draws of its evaluation, or the start of that one's id, where evaluations of one
    /// network have the same scores.
    pub name: String,
    /// Whose definition of the metrics.
    pub convention: Convention,
    /// Whether images of shifted sets count as in-distribution.
    pub full_spectrum: bool,
    /// The seeds, in the order in which the evaluations were named.
    pub seeds: Vec<u64>,
    /// The evaluations, seed by seed.
    pub evaluations: Vec<RunId>,
    /// The ID test set.
    pub id: String,
    /// Accuracy on the ID test set, a fraction, seed by seed.
    pub accuracy: Vec<f64>,
    /// Accuracy on the ID test set and the shifted sets together, seed by seed, where these count as
    /// in-distribution.
    pub accuracy_of_all: Vec<f64>,
    /// How subsets of OOD sets were drawn; none where all images count.
    pub draws: Option<Draws>,
    /// Those of which every draw is all images, in any of its evaluations.
    pub drawn_whole: BTreeSet<String>,
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

    /// Says of which test sets every draw is all images, where that is so of any.
    pub fn say_drawn_whole(&self) -> Option<String> {
        let sets = Vec::from_iter(self.drawn_whole.iter().map(String::as_str));
        let name = &self.name;
        (!sets.is_empty()).then(|| {
            let sets = sets.join(", ");
            format!("{name}: every draw from {sets} is all images: there, numbers are as without draws")
        })
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
        // Two networks of one name and seed are two, and two evaluations of one network no two seeds.
        let is_twice = |runs: &[(Run, RunId)]| {
            let is_named = import::network_of(&classifier.spec).is_some();
            let is_of_seed = |other: &Run| is_named && other.spec.seed == classifier.spec.seed;
            let mut others = runs.iter().map(|(other, _)| other);
            others.any(|other| kind::is_one_network(other, &classifier) || is_of_seed(other))
        };
        match groups.iter_mut().find(|(k, runs)| *k == kind && !is_twice(runs)) {
            Some((_, runs)) => runs.push((classifier, *id)),
            None => groups.push((kind, vec![(classifier, *id)])),
        }
    }
    let first = |runs: &[(Run, RunId)]| runs.first().map(|(classifier, _)| classifier.id);
    let network = |(kind, runs): &(Kind, Vec<(Run, RunId)>)| {
        let mut name = kind.name.clone();
        let same_name = || groups.iter().filter(|(other, _)| other.name == kind.name);
        let of_it = || same_name().filter(|(_, others)| first(others) == first(runs));
        // One network that was evaluated twice is told from others by what was asked, not by its run.
        let is_drawn = of_it().any(|(other, _)| other.draws != kind.draws);
        // A network that has a name, of which each score is an import: these have names of their own.
        let is_given = runs.iter().any(|(classifier, _)| {
            import::score_of(&classifier.spec)
                .and(import::network_of(&classifier.spec))
                .is_some()
        });
        let is_twice = same_name().count() > of_it().count() || of_it().count() > 1 && !is_drawn;
        if is_twice && !is_given {
            let id = first(runs).map(|id| id.to_string()).unwrap_or_default();
            name.push_str(&format!(" {id:.6}"));
        }
        if let (true, Some(draws)) = (is_drawn, kind.draws) {
            name.push_str(&format!(" {} draws", draws.repeats));
        }
        if kind.full_spectrum {
            name.push_str(" full spectrum");
        }
        summarise(store, kind, name, runs)
    };
    let mut networks = groups.iter().map(network).collect::<Result<Vec<_>, _>>()?;
    tell_apart(&mut networks);
    Ok(networks)
}

/// Tells those of one name apart by their evaluations, where these have a score in common: its lines would be
/// called the same.
fn tell_apart(networks: &mut [Network]) {
    let same = |a: &Network, b: &Network| {
        let scores = b.scores();
        a.name == b.name && a.scores().iter().any(|score| scores.contains(score))
    };
    let mixed = networks.iter().enumerate().map(|(place, one)| {
        let mut others = networks.iter().enumerate().filter(|(other, _)| *other != place);
        others.any(|(_, other)| same(one, other))
    });
    let mixed: Vec<bool> = mixed.collect();
    for (network, _) in networks.iter_mut().zip(mixed).filter(|(_, mixed)| *mixed) {
        if let Some(evaluation) = network.evaluations.first() {
            network.name.push_str(&format!(" {:.6}", evaluation.to_string()));
        }
    }
}

/// Refuses evaluations that cannot stand in one table: of other conventions, with shifted sets on another
/// side, or with other images or another group under one name.
///
/// # Errors
/// [`StageError::Refused`] with all that is wrong; also if the store fails.
pub fn check(store: &Store, evaluations: &[RunId]) -> Result<(), StageError> {
    let mut refusals = Refusals::of("compare");
    let mut first: Option<(RunId, Convention, bool)> = None;
    let mut seen: BTreeMap<String, (RunId, TestedSet)> = BTreeMap::new();
    let mut groups: BTreeMap<String, (RunId, Option<Group>)> = BTreeMap::new();
    for id in evaluations {
        let evaluation = store.run(*id)?;
        let known = super::input(store, "evaluation", *id, &[evaluate::NAME]);
        if refusals.take(id, known)?.is_none() {
            continue;
        }
        let (own, whole) = (
            evaluate::convention(&evaluation)?,
            evaluate::full_spectrum(&evaluation)?,
        );
        let (other, convention, is_whole) = *first.get_or_insert((*id, own, whole));
        if own != convention {
            let found =
                format!("its metrics are by the convention {own}, those of run {other} by {convention}");
            refusals.refuse(id, found);
        }
        if whole != is_whole {
            let (does, other_does) = if whole { ("", "do not") } else { ("do not ", "do") };
            let found = format!(
                "its metrics {does}count images of shifted sets as in-distribution (full spectrum), those of \
                 run {other} {other_does}"
            );
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
            let (other, known) = seen.entry(role.clone()).or_insert_with(|| (*id, read.clone()));
            if !known.may_be(&read) {
                let set = Role::ood_name(&role).unwrap_or("the ID set");
                let mut found = format!("its images of `{set}` are not those of run {other}");
                if read.in_words() != known.in_words() {
                    found.push_str(&format!(": {}, and {}", read.in_words(), known.in_words()));
                }
                refusals.refuse(id, found);
            }
        }
    }
    refusals.finish()
}

fn summarise(store: &Store, kind: &Kind, name: String, runs: &[(Run, RunId)]) -> Result<Network, StageError> {
    let mut values: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    let (mut id, mut accuracy, mut accuracy_of_all) = (String::new(), Vec::new(), Vec::new());
    let mut shifted: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    let (mut chosen, mut drawn_whole) = (Vec::new(), BTreeSet::new());
    for (classifier, evaluation) in runs {
        drawn_whole.extend(evaluate::drawn_whole(store, &store.run(*evaluation)?)?);
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
                None if metric == MetricName::Accuracy => match over.set {
                    Some(set) => {
                        accuracy.push(row.value);
                        id = set;
                    }
                    None => accuracy_of_all.push(row.value),
                },
                None => {}
            }
        }
    }
    let seeds = runs.iter().map(|(classifier, _)| classifier.spec.seed).collect();
    let evaluations = runs.iter().map(|(_, evaluation)| *evaluation).collect();
    Ok(Network {
        kind: kind.name.clone(),
        name,
        convention: kind.convention,
        full_spectrum: kind.full_spectrum,
        seeds,
        evaluations,
        id,
        accuracy,
        accuracy_of_all,
        draws: kind.draws,
        drawn_whole,
        chosen,
        shifted,
        metrics: values,
    })
}
