//! The metrics of an evaluation, behind the accuracy: of each score those of every set, then the means of the
//! groups and of all OOD sets, which have no data set; the accuracy on shifted sets; and how many images were
//! left out.

use dream_schema::Metric;

use super::Params;
use super::draws::Draws;
use super::group::{self, Group};
use super::work::ACCURACY;
use crate::ood::{self, Convention, Spread, Summary};
use crate::stage::metric::MetricName;
use crate::stage::{Role, StageError};

/// The metrics that an evaluation has: those that are always stored, then the others.
pub const METRICS: &[MetricName] = &[
    MetricName::Fpr95,
    MetricName::Auroc,
    MetricName::AuprIn,
    MetricName::AuprOut,
    MetricName::Accuracy,
    MetricName::DetectionError,
    MetricName::CcrAtFpr1e1,
    MetricName::CcrAtFpr1e2,
    MetricName::CcrAtFpr1e3,
    MetricName::CcrAtFpr1e4,
    MetricName::Aurc,
    MetricName::MisclassificationAuroc,
];

/// The metrics that an evaluation stores only where they are asked for.
pub const EXTRA_METRICS: &[MetricName] = METRICS.split_at(5).1;

/// Says whether a metric asks if the images of a role are classified rightly: those of the ID set, a correct
/// classification rate also those of the shifted sets that count as in-distribution.
pub(super) fn judges(name: MetricName, role: &Role, params: &Params) -> bool {
    match role {
        Role::Id => name != MetricName::DetectionError,
        Role::Ood(_) => {
            params.full_spectrum && group::has_classes(&params.groups, role) && fpr_of(name).is_some()
        }
        _ => false,
    }
}

/// The scores of a set of test images.
#[derive(Clone, Debug)]
pub struct SetScores {
    /// Its name.
    pub name: String,
    /// Its group.
    pub group: Option<Group>,
    /// Whether it is the ID set.
    pub is_id: bool,
    /// Whether each image is classified rightly, where all of them have classes of the classifier.
    pub right: Option<Vec<bool>>,
    /// Of each score its value of each image.
    pub values: Vec<Vec<f32>>,
    /// Images that were left out of it.
    pub left_out: f64,
}

/// What metrics are taken of.
pub(super) struct Taken<'a> {
    /// The ID set, and the others.
    pub sets: &'a [SetScores],
    /// Whether shifted sets count as in-distribution.
    pub full_spectrum: bool,
    /// The scores by name.
    pub scores: &'a [String],
    /// What is measured beside the usual four.
    pub extra: &'a [MetricName],
    /// How subsets of the OOD images are drawn, where not all are measured.
    pub draws: Option<Draws>,
    pub convention: Convention,
}

/// The rows of an evaluation as they are found.
struct Found(Vec<Metric>);

/// What a number is over: a group, a set.
type Place<'a> = (Option<Group>, Option<&'a str>);

/// The metrics of a set.
type Numbers = Vec<(MetricName, f64)>;

impl Found {
    fn add(&mut self, name: MetricName, value: f64, score: Option<&str>, (group, set): Place<'_>) {
        let index = ACCURACY + 1 + self.0.len() as u64;
        self.0.push(Metric {
            dataset: set.map(str::to_owned),
            score: score.map(str::to_owned),
            ood_group: group.map(|group| group.name().to_owned()),
            ..name.row(index, value)
        });
    }
}

impl SetScores {
    fn is_shifted(&self) -> bool {
        self.group == Some(Group::Shifted)
    }

    fn place(&self) -> Place<'_> {
        (self.group, Some(&self.name))
    }
}

impl Taken<'_> {
    /// Returns the metrics in the order of their indices.
    pub fn metrics(&self) -> Result<Vec<Metric>, StageError> {
        let mut found = Found(Vec::new());
        for place in 0..self.scores.len() {
            self.of_score(place, &mut found)?;
        }
        self.accuracies(&mut found);
        for set in self.sets.iter().filter(|set| set.left_out > 0.0) {
            found.add(MetricName::ImagesLeftOut, set.left_out, None, set.place());
        }
        Ok(found.0)
    }

    /// Returns the sets that count as in-distribution, and the others.
    fn sides(&self) -> (Vec<&SetScores>, Vec<&SetScores>) {
        let is_id = |set: &&SetScores| set.is_id || self.full_spectrum && set.is_shifted();
        self.sets.iter().partition(is_id)
    }

    fn of_score(&self, place: usize, found: &mut Found) -> Result<(), StageError> {
        let score = Some(self.scores[place].as_str());
        let (id, others) = self.sides();
        let right: Option<Vec<bool>> = id.iter().try_fold(Vec::new(), |mut all, set| {
            all.extend(set.right.as_ref()?);
            Some(all)
        });
        let id: Vec<f32> = id
            .iter()
            .flat_map(|set| set.values[place].iter().copied())
            .collect();
        let mut measured: Vec<(Option<Group>, Vec<Numbers>)> = Vec::new();
        for (number, set) in others.into_iter().enumerate() {
            let draws = self.of_draws(number, &id, right.as_deref(), &set.values[place])?;
            for (name, value) in self.over_draws(&draws) {
                found.add(name, value, score, set.place());
            }
            measured.push((set.group, draws));
        }
        let mut mean = |of: &dyn Fn(Option<Group>) -> bool, group: Option<Group>| {
            let of: Vec<_> = measured.iter().filter(|(group, _)| of(*group)).collect();
            let Some((_, first)) = of.first() else { return };
            // Of each draw the mean over sets, so that their spread is that of the mean.
            let draw = |(draw, numbers): (usize, &Numbers)| -> Numbers {
                let mean = |(number, (name, _)): (usize, &(MetricName, f64))| {
                    let sum = of.iter().map(|(_, draws)| draws[draw][number].1).sum::<f64>();
                    (*name, sum / of.len() as f64)
                };
                numbers.iter().enumerate().map(mean).collect()
            };
            let draws: Vec<Numbers> = first.iter().enumerate().map(draw).collect();
            for (name, value) in self.over_draws(&draws) {
                found.add(name, value, score, (group, None));
            }
        };
        for group in Group::ALL {
            mean(&|of| of == Some(group), Some(group));
        }
        mean(&|of| of != Some(Group::Shifted), None);
        let own = self.sets.iter().find(|set| set.is_id);
        if let Some((set, right)) = own.and_then(|set| Some((set, set.right.as_ref()?))) {
            for name in self.extra {
                if let Some(value) = of_id(*name, &set.values[place], right)? {
                    found.add(*name, value, score, set.place());
                }
            }
        }
        Ok(())
    }

    /// The metrics of an OOD set: of all its images, or of each subset that is drawn.
    fn of_draws(
        &self,
        number: usize,
        id: &[f32],
        right: Option<&[bool]>,
        ood: &[f32],
    ) -> Result<Vec<Numbers>, StageError> {
        let Some(draws) = self.draws else {
            return Ok(vec![self.of_set(id, right, ood)?]);
        };
        let of = |images: Vec<usize>| {
            let drawn: Vec<f32> = images.iter().map(|image| ood[*image]).collect();
            self.of_set(id, right, &drawn)
        };
        let drawn = draws.of(number, ood.len(), id.len());
        drawn.map(of).collect()
    }

    /// The means over draws, with the population's standard deviation.
    fn over_draws(&self, drawn: &[Numbers]) -> Numbers {
        if let (None, [all]) = (self.draws, drawn) {
            return all.clone();
        }
        let names = drawn.first().into_iter().flatten().map(|(name, _)| *name);
        let (mut means, mut spreads) = (Numbers::new(), Numbers::new());
        for (place, name) in names.enumerate() {
            let values: Vec<f64> = drawn.iter().map(|numbers| numbers[place].1).collect();
            let summary = Summary::with(&values, Spread::Population);
            means.push((name, summary.mean));
            let spread = name.spread().zip(summary.spread);
            spreads.extend(spread);
        }
        means.extend(spreads);
        means
    }

    /// The metrics of an OOD set: the same of every set.
    fn of_set(&self, id: &[f32], right: Option<&[bool]>, ood: &[f32]) -> Result<Numbers, StageError> {
        let usual = ood::detection(id, ood, self.convention)?;
        let mut numbers = vec![
            (MetricName::Fpr95, usual.fpr95),
            (MetricName::Auroc, usual.auroc),
            (MetricName::AuprIn, usual.aupr_in),
            (MetricName::AuprOut, usual.aupr_out),
        ];
        for name in self.extra {
            let value = match (name, fpr_of(*name), right) {
                (MetricName::DetectionError, ..) => Some(ood::detection_error(id, ood)?),
                (_, Some(fpr), Some(right)) => Some(ood::ccr_at_fpr(id, right, ood, fpr)?),
                _ => None,
            };
            numbers.extend(value.map(|value| (*name, value)));
        }
        Ok(numbers)
    }

    /// The accuracy on each shifted set, its mean, and where they count as in-distribution that on all ID
    /// images.
    fn accuracies(&self, found: &mut Found) {
        let count = |right: &Vec<bool>| right.iter().filter(|right| **right).count();
        let known = self
            .sets
            .iter()
            .filter_map(|set| Some((set, set.right.as_ref()?)));
        let mut of_shifted = Vec::new();
        for (set, right) in known.clone().filter(|(set, _)| set.is_shifted()) {
            let accuracy = count(right) as f64 / right.len() as f64;
            found.add(MetricName::Accuracy, accuracy, None, set.place());
            of_shifted.push(accuracy);
        }
        if of_shifted.is_empty() {
            return;
        }
        let mean = of_shifted.iter().sum::<f64>() / of_shifted.len() as f64;
        found.add(MetricName::Accuracy, mean, None, (Some(Group::Shifted), None));
        if self.full_spectrum {
            let of_id = known.filter(|(set, _)| set.is_id || set.is_shifted());
            let (right, all) = of_id.fold((0, 0), |(right, all), (_, of)| {
                (right + count(of), all + of.len())
            });
            found.add(
                MetricName::Accuracy,
                right as f64 / all as f64,
                None,
                (None, None),
            );
        }
    }
}

/// The false positive rate at which a correct classification rate is taken.
fn fpr_of(name: MetricName) -> Option<f64> {
    match name {
        MetricName::CcrAtFpr1e1 => Some(1e-1),
        MetricName::CcrAtFpr1e2 => Some(1e-2),
        MetricName::CcrAtFpr1e3 => Some(1e-3),
        MetricName::CcrAtFpr1e4 => Some(1e-4),
        _ => None,
    }
}

/// A metric of the ID set alone; none where it is not one, or has no value.
fn of_id(name: MetricName, values: &[f32], right: &[bool]) -> Result<Option<f64>, StageError> {
    match name {
        MetricName::Aurc => Ok(Some(ood::aurc(values, right)?)),
        MetricName::MisclassificationAuroc => Ok(ood::misclassification_auroc(values, right)?),
        _ => Ok(None),
    }
}
