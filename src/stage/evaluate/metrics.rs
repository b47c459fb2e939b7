//! The metrics of an evaluation, behind the accuracy: of each score those of every set, then the means of the
//! groups and of all OOD sets, which have no data set; the accuracy on shifted sets; and how many images were
//! left out.

use dream_schema::Metric;

use super::group::{Group, Groups};
use super::work::{ACCURACY, TestSet};
use crate::ood::{self, Convention, Detection};
use crate::stage::StageError;
use crate::stage::metric::MetricName;

/// What metrics are taken of.
pub(super) struct Taken<'a> {
    /// The ID set, and the others.
    pub sets: &'a [TestSet],
    pub groups: &'a Groups,
    /// Whether shifted sets count as in-distribution.
    pub full_spectrum: bool,
    /// The scores by name.
    pub scores: &'a [&'a str],
    /// Of each set those of each score, of each image.
    pub values: &'a [Vec<Vec<f32>>],
    /// Of each set how many images are classified rightly, of how many; none without labels.
    pub right: &'a [Option<(usize, usize)>],
    pub convention: Convention,
}

/// The rows of an evaluation as they are found.
struct Found(Vec<Metric>);

impl Found {
    fn add(&mut self, name: MetricName, value: f64, (group, set): (Option<Group>, Option<&str>)) {
        let index = ACCURACY + 1 + self.0.len() as u64;
        self.0.push(Metric {
            dataset: set.map(str::to_owned),
            ood_group: group.map(|group| group.name().to_owned()),
            ..name.row(index, value)
        });
    }

    fn detection(&mut self, score: &str, d: &Detection, place: (Option<Group>, Option<&str>)) {
        let start = self.0.len();
        self.add(MetricName::Fpr95, d.fpr95, place);
        self.add(MetricName::Auroc, d.auroc, place);
        self.add(MetricName::AuprIn, d.aupr_in, place);
        self.add(MetricName::AuprOut, d.aupr_out, place);
        for row in &mut self.0[start..] {
            row.score = Some(score.to_owned());
        }
    }
}

impl Taken<'_> {
    fn group(&self, set: &TestSet) -> Option<Group> {
        self.groups.get(&set.name).copied().filter(|_| !set.is_id)
    }

    fn is_shifted(&self, set: &TestSet) -> bool {
        self.group(set) == Some(Group::Shifted)
    }

    /// Returns the metrics in the order of their indices.
    pub fn metrics(&self) -> Result<Vec<Metric>, StageError> {
        let mut found = Found(Vec::new());
        for (place, score) in self.scores.iter().enumerate() {
            self.of_score(place, score, &mut found)?;
        }
        self.accuracies(&mut found);
        for set in self.sets.iter().filter(|set| set.left_out > 0.0) {
            let place = (self.group(set), Some(set.name.as_str()));
            found.add(MetricName::ImagesLeftOut, set.left_out, place);
        }
        Ok(found.0)
    }

    fn of_score(&self, place: usize, score: &str, found: &mut Found) -> Result<(), StageError> {
        let counts_as_id = |set: &TestSet| set.is_id || self.full_spectrum && self.is_shifted(set);
        let sets = || self.sets.iter().zip(self.values);
        let id: Vec<f32> = sets()
            .filter(|(set, _)| counts_as_id(set))
            .flat_map(|(_, values)| values[place].iter().copied())
            .collect();
        let mut detections: Vec<(Option<Group>, Detection)> = Vec::new();
        for (set, values) in sets().filter(|(set, _)| !counts_as_id(set)) {
            let group = self.group(set);
            let detection = ood::detection(&id, &values[place], self.convention)?;
            found.detection(score, &detection, (group, Some(&set.name)));
            detections.push((group, detection));
        }
        let mut mean = |of: &dyn Fn(Option<Group>) -> bool, group: Option<Group>| {
            let of = detections.iter().filter(|(group, _)| of(*group));
            let of: Vec<Detection> = of.map(|(_, detection)| *detection).collect();
            if !of.is_empty() {
                found.detection(score, &ood::mean(&of)?, (group, None));
            }
            Ok::<_, StageError>(())
        };
        for group in Group::ALL {
            mean(&|of| of == Some(group), Some(group))?;
        }
        mean(&|of| of != Some(Group::Shifted), None)
    }

    /// The accuracy on each shifted set, its mean, and where they count as in-distribution that on all ID
    /// images.
    fn accuracies(&self, found: &mut Found) {
        let shifted = Some(Group::Shifted);
        let known = self.sets.iter().zip(self.right);
        let known = known.filter_map(|(set, right)| Some((set, (*right)?)));
        let share = |(right, all): (usize, usize)| right as f64 / all as f64;
        let mut of_shifted = Vec::new();
        for (set, right) in known.clone().filter(|(set, _)| self.is_shifted(set)) {
            found.add(MetricName::Accuracy, share(right), (shifted, Some(&set.name)));
            of_shifted.push(share(right));
        }
        if of_shifted.is_empty() {
            return;
        }
        let mean = of_shifted.iter().sum::<f64>() / of_shifted.len() as f64;
        found.add(MetricName::Accuracy, mean, (shifted, None));
        if self.full_spectrum {
            let of_id = known.filter(|(set, _)| set.is_id || self.is_shifted(set));
            let all = of_id.fold((0, 0), |all, (_, of)| (all.0 + of.0, all.1 + of.1));
            found.add(MetricName::Accuracy, share(all), (None, None));
        }
    }
}
