//! Methods against the first of them, over the same images, seed by seed.

use dream_schema::RunId;

use super::{Network, Over};
use crate::ood::{self, Bootstrap, Convention, Drawn, Positive};
use crate::stage::evaluate::{self, Group, Images, StoredScores};
use crate::stage::{MetricName, Role, StageError};
use crate::store::{Readable, Store};

/// The place of an image in its set, and its label.
type Place = (i64, Option<i32>);

/// A method against another one: a metric on a set, or its mean over sets.
#[derive(Clone, Debug)]
pub struct Paired {
    /// The network.
    pub network: String,
    /// Its score.
    pub score: String,
    /// The seed of both classifiers.
    pub seed: u64,
    /// What the metric is over.
    pub over: Over,
    /// The metric.
    pub metric: MetricName,
    /// The metric of the method less that of the first one.
    pub difference: f64,
    /// The middle 95 % of the differences of bootstrap draws.
    pub interval: [f64; 2],
    /// p-value of no difference, two-sided: DeLong's for the AUROC on a set, the bootstrap's for all others.
    pub p: f64,
}

/// A method: a network and one of its scores.
type Method<'a> = (&'a Network, String);

/// The metrics that two methods can be compared by.
pub const PAIRED_METRICS: &[MetricName] = &[
    MetricName::Fpr95,
    MetricName::Auroc,
    MetricName::AuprIn,
    MetricName::AuprOut,
    MetricName::DetectionError,
];

/// Compares every method with the first, score by score as in a table of the same `scores`.
///
/// # Errors
/// Fewer than two methods; networks of different seeds, or whose evaluations have other images or another
/// order of them; a metric that is none of [`PAIRED_METRICS`].
pub fn paired(
    store: &Store,
    networks: &[Network],
    scores: &[String],
    metrics: &[MetricName],
    bootstrap: Bootstrap,
) -> Result<Vec<Paired>, StageError> {
    let refuse = |what: String| Err(StageError::Mismatch(what));
    if let Some(metric) = metrics.iter().find(|metric| !PAIRED_METRICS.contains(metric)) {
        return refuse(format!("two methods are not compared by the metric {metric}"));
    }
    let methods: Vec<Method<'_>> = (networks.iter())
        .flat_map(|network| {
            network
                .shown(scores)
                .into_iter()
                .map(move |score| (network, score))
        })
        .collect();
    let Some((first, others)) = methods.split_first().filter(|(_, others)| !others.is_empty()) else {
        return refuse("a comparison needs two methods at least".to_owned());
    };
    let mut found = Vec::new();
    for other in others {
        if other.0.seeds != first.0.seeds {
            return refuse(format!(
                "`{}` has the seeds {:?}, `{}` {:?}: methods are compared seed by seed",
                first.0.name, first.0.seeds, other.0.name, other.0.seeds
            ));
        }
        for place in 0..first.0.seeds.len() {
            let pair = Pair {
                first: Side::load(store, first, place)?,
                other: Side::load(store, other, place)?,
            };
            pair.check(other)?;
            let evaluation = |(network, _): &Method<'_>| network.evaluations[place];
            check_images(store, evaluation(first), evaluation(other))?;
            for metric in metrics {
                pair.compare(other, place, *metric, bootstrap, &mut found)?;
            }
        }
    }
    Ok(found)
}

/// Refuses evaluations whose rows are not of the same images one by one, as far as the places of images in
/// their splits and their classes tell.
fn check_images(store: &Store, first: RunId, other: RunId) -> Result<(), StageError> {
    if first == other {
        return Ok(());
    }
    let load = |run: RunId| {
        let run = store.run(run)?;
        Ok::<_, StageError>((evaluate::sets(store, &run)?, evaluate::images(store, &run)?))
    };
    let ((sets, images), (other_sets, other_images)) = (load(first)?, load(other)?);
    for (role, own) in &images {
        let (Some(theirs), Some(set), Some(their_set)) =
            (other_images.get(role), sets.get(role), other_sets.get(role))
        else {
            continue;
        };
        let refuse = |what: String| {
            let dataset = &set.dataset;
            Err(StageError::Mismatch(format!(
                "the rows of `{dataset}` in the runs {first} and {other} are not of the same images, and \
                 methods are compared row by row: {what}"
            )))
        };
        let pairs = || own.iter().zip(theirs).enumerate();
        if let Some((row, (own, theirs))) = pairs().find(|(_, (own, theirs))| own.0 != theirs.0) {
            let (own, theirs) = (own.0, theirs.0);
            return refuse(format!(
                "row {row} is image {own} in one and image {theirs} in the other"
            ));
        }
        // Classes of one registered set are numbered by each classifier, in one order of images.
        if set.digest.is_some() && their_set.digest.is_some() {
            continue;
        }
        let differ = |(_, (own, theirs)): &(usize, (&Place, &Place))| {
            own.1.zip(theirs.1).is_some_and(|(own, theirs)| own != theirs)
        };
        let mut others = pairs().filter(differ);
        let Some((row, (one, another))) = others.next() else {
            continue;
        };
        // Programs may number classes that no classifier has each in its own way.
        let is_known = Role::Id.is(role) || is_reordered(own, theirs);
        if is_known {
            let (count, rows) = (1 + others.count(), own.len());
            let class = |image: &(i64, Option<i32>)| image.1.unwrap_or(-1);
            let (one, another) = (class(one), class(another));
            return refuse(format!(
                "{count} of {rows} have another class, the first is row {row} (class {one} in one, {another} \
                 in the other)"
            ));
        }
    }
    Ok(())
}

/// Says whether classes are the same in another order.
fn is_reordered(one: &Images, other: &Images) -> bool {
    let sorted = |images: &Images| {
        let mut classes: Vec<Option<i32>> = images.iter().map(|image| image.1).collect();
        classes.sort_unstable();
        classes
    };
    sorted(one) == sorted(other)
}

/// A score of an evaluation.
struct Side {
    id: Vec<f32>,
    ood: Vec<(Over, Vec<f32>)>,
    convention: Convention,
}

impl Side {
    fn load(store: &Store, (network, score): &Method<'_>, place: usize) -> Result<Self, StageError> {
        let evaluation = store.run(network.evaluations[place])?;
        let stored = StoredScores::load(store, &evaluation)?;
        let missing = || StageError::Mismatch(format!("run {} has no score `{score}`", evaluation.id));
        let number = stored
            .scores
            .iter()
            .position(|other| other == score)
            .ok_or_else(missing)?;
        let mut ood: Vec<(Over, Vec<f32>)> = stored
            .others()
            .map(|set| {
                let over = Over {
                    group: set.group,
                    set: Some(set.name.clone()),
                };
                (over, set.values[number].clone())
            })
            .collect();
        ood.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Self {
            id: stored.id(number),
            ood,
            convention: stored.convention(),
        })
    }

    /// The metric on each set, of the images of a draw or of all.
    fn values(&self, metric: MetricName, drawn: Option<&Drawn>) -> Result<Vec<f64>, StageError> {
        let of = |values: &[f32], side: usize| -> Vec<f32> {
            match drawn {
                Some(drawn) => drawn[side].iter().map(|image| values[*image]).collect(),
                None => values.to_vec(),
            }
        };
        let id = of(&self.id, 0);
        let sets = self.ood.iter().enumerate();
        sets.map(|(place, (_, ood))| value(metric, &id, &of(ood, place + 1), self.convention))
            .collect()
    }
}

fn value(metric: MetricName, id: &[f32], ood: &[f32], convention: Convention) -> Result<f64, StageError> {
    let by = convention.interpolation();
    Ok(match metric {
        MetricName::Fpr95 => ood::fpr_at_tpr(id, ood, 0.95, convention)?,
        MetricName::AuprIn => ood::aupr(id, ood, Positive::Id, by)?,
        MetricName::AuprOut => ood::aupr(id, ood, Positive::Ood, by)?,
        MetricName::DetectionError => ood::detection_error(id, ood)?,
        _ => ood::auroc(id, ood)?,
    })
}

/// Two methods, the scores of the same images.
struct Pair {
    first: Side,
    other: Side,
}

impl Pair {
    /// Refuses methods of other images.
    fn check(&self, (network, score): &Method<'_>) -> Result<(), StageError> {
        let sizes = |side: &Side| -> Vec<(Over, usize)> {
            let sets = side.ood.iter().map(|(over, values)| (over.clone(), values.len()));
            std::iter::once((Over::default(), side.id.len()))
                .chain(sets)
                .collect()
        };
        match sizes(&self.first) == sizes(&self.other) {
            true => Ok(()),
            false => Err(StageError::Mismatch(format!(
                "`{}, {score}` was not evaluated on the images of the first method",
                network.name
            ))),
        }
    }

    /// What rows are over, with the places of the sets that each is the mean of.
    fn rows(&self) -> Vec<(Over, Vec<usize>)> {
        let sets = || self.first.ood.iter().map(|(over, _)| over).enumerate();
        let mut rows: Vec<(Over, Vec<usize>)> =
            sets().map(|(place, over)| (over.clone(), vec![place])).collect();
        let mut mean = |group: Option<Group>, of: &dyn Fn(Option<Group>) -> bool| {
            let places: Vec<usize> = sets()
                .filter(|(_, over)| of(over.group))
                .map(|(place, _)| place)
                .collect();
            if places.len() > 1 {
                rows.push((Over { group, set: None }, places));
            }
        };
        for group in Group::ALL {
            mean(Some(group), &|of| of == Some(group));
        }
        mean(None, &|of| of != Some(Group::Shifted));
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        rows
    }

    fn compare(
        &self,
        (network, score): &Method<'_>,
        place: usize,
        metric: MetricName,
        bootstrap: Bootstrap,
        found: &mut Vec<Paired>,
    ) -> Result<(), StageError> {
        let differences = |drawn: Option<&Drawn>| -> Result<Vec<f64>, StageError> {
            let (first, other) = (
                self.first.values(metric, drawn)?,
                self.other.values(metric, drawn)?,
            );
            Ok(other
                .iter()
                .zip(first)
                .map(|(other, first)| other - first)
                .collect())
        };
        let sets = self.first.ood.iter().map(|(_, values)| values.len());
        let sizes: Vec<usize> = std::iter::once(self.first.id.len()).chain(sets).collect();
        let all = differences(None)?;
        let drawn = bootstrap.each(&sizes, |drawn| differences(Some(drawn)))?;
        for (over, places) in self.rows() {
            let mean = |values: &Vec<f64>| {
                places.iter().map(|place| values[*place]).sum::<f64>() / places.len() as f64
            };
            let drawn: Vec<f64> = drawn.iter().map(mean).collect();
            let p = match (&over.set, metric) {
                (Some(_), MetricName::Auroc) => self.delong(places[0])?,
                _ => ood::bootstrap_p(&drawn),
            };
            found.push(Paired {
                network: network.name.clone(),
                score: score.clone(),
                seed: network.seeds[place],
                over,
                metric,
                difference: mean(&all),
                interval: ood::interval_95(&drawn).unwrap_or([f64::NAN; 2]),
                p,
            });
        }
        Ok(())
    }

    fn delong(&self, place: usize) -> Result<f64, StageError> {
        let (over, first) = &self.first.ood[place];
        let (_, other) = &self.other.ood[place];
        let test = ood::delong((&self.other.id, other), (&self.first.id, first));
        match test {
            Ok(test) => Ok(test.p),
            Err(error) => Err(StageError::Mismatch(format!(
                "the paired test on `{over}`: {error}"
            ))),
        }
    }
}
