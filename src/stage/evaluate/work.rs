//! An evaluation under way: a set and a score at a time.

use std::ops::Range;

use dream_schema::{Metric, Run, Score};

use super::{Params, ScoreName};
use crate::ood::{self, Convention, Detection};
use crate::stage::detect::Detector;
use crate::stage::metric::MetricName;
use crate::stage::pictures::{HELD_BYTES, Pictures};
use crate::stage::rows::stretch;
use crate::stage::{Context, ImageSource, Role, Source, StageError};
use crate::store::Store;

/// A set of test images.
pub(super) struct TestSet {
    /// Its name in the rows.
    name: String,
    pub source: ImageSource,
    split: String,
    /// Number of its pictures.
    count: u64,
    /// Whether it is the in-distribution set.
    is_id: bool,
}

impl TestSet {
    fn new(name: &str, source: ImageSource, split: &str, is_id: bool) -> Result<Self, StageError> {
        let missing = || {
            let set = source.name();
            StageError::Mismatch(format!("the image set `{set}` has no split `{split}`"))
        };
        Ok(Self {
            name: name.to_owned(),
            split: split.to_owned(),
            count: source.count(split).ok_or_else(missing)?,
            source,
            is_id,
        })
    }
}

/// Returns the ID set, then the OOD sets in the order of their roles.
pub(super) fn sets(store: &Store, run: &Run, params: &Params) -> Result<Vec<TestSet>, StageError> {
    let id = ImageSource::find(store, run, &Role::Id)?;
    let name = id.name().to_owned();
    let mut sets = vec![TestSet::new(&name, id, &params.split, true)?];
    for role in run.spec.sources.keys() {
        if let Some(name) = Role::ood_name(role) {
            let source = ImageSource::find(store, run, &Role::Ood(name.to_owned()))?;
            sets.push(TestSet::new(name, source, &params.ood_split, false)?);
        }
    }
    Ok(sets)
}

/// An evaluation under way. The rows of `scores` are numbered score by score, set by set, picture by picture;
/// those of `metrics` begin with the accuracy.
pub(super) struct Evaluation<'a> {
    pub ctx: &'a Context<'a>,
    pub run: &'a Run,
    pub detector: Detector,
    /// Those that the classifier has.
    pub scores: Vec<ScoreName>,
    pub sets: Vec<TestSet>,
}

/// The index of the accuracy among the metrics.
const ACCURACY: u64 = 0;

impl Evaluation<'_> {
    /// The indices of a set's rows of the score of a place in `scores`.
    fn indices(&self, set: usize, score: usize) -> Range<u64> {
        let count = |sets: &[TestSet]| sets.iter().map(|set| set.count).sum::<u64>();
        let start = score as u64 * count(&self.sets) + count(&self.sets[..set]);
        start..start + self.sets[set].count
    }

    /// Returns the scores of the images of a set, score by score, making and committing those that are not
    /// stored.
    pub fn set(&self, number: usize) -> Result<Vec<Vec<f32>>, StageError> {
        let (ctx, set) = (self.ctx, &self.sets[number]);
        let snapshot = ctx.store.snapshot()?;
        let stored = |score: usize| -> Result<Option<Vec<f32>>, StageError> {
            let indices = self.indices(number, score);
            let rows: Vec<Score> = stretch(&snapshot, self.run.id, 0, &indices)?;
            let whole = rows.len() as u64 == set.count;
            Ok(whole.then(|| rows.iter().map(|row| row.value).collect()))
        };
        let stored = (0..self.scores.len())
            .map(stored)
            .collect::<Result<Vec<_>, _>>()?;
        let accuracy = stretch::<Metric>(&snapshot, self.run.id, 0, &(ACCURACY..ACCURACY + 1))?;
        let measured = !set.is_id || !accuracy.is_empty();
        if measured && stored.iter().all(Option::is_some) {
            ctx.progress.skip(1);
            return Ok(stored.into_iter().flatten().collect());
        }
        ctx.check_interrupt()?;
        let (logits, labels) = self.look(set)?;
        let classes = self.detector.classes();
        if !measured {
            let labels = labels.as_deref().unwrap_or_default();
            let mut row = MetricName::Accuracy.row(ACCURACY, ood::accuracy(&logits, classes.len(), labels)?);
            row.dataset = Some(set.name.clone());
            ctx.store.put(self.run.id, &[row])?;
        }
        let predicted = ood::predictions(&logits, classes.len())?;
        let mut all = Vec::with_capacity(stored.len());
        for (score, stored) in stored.into_iter().enumerate() {
            all.push(match stored {
                Some(values) => values,
                None => {
                    let values = self.scores[score].values(&logits, &self.detector)?;
                    let rows = self.rows(number, score, &values, &predicted, labels.as_deref());
                    ctx.store.put(self.run.id, &rows)?;
                    values
                }
            });
        }
        ctx.progress.advance(1);
        Ok(all)
    }

    /// Returns the logits of a set, `[n, classes]`, and its labels. Those of an OOD set, if it has any, are
    /// not the classifier's.
    fn look(&self, set: &TestSet) -> Result<(Vec<f32>, Option<Vec<u32>>), StageError> {
        let TestSet { source, split, .. } = set;
        if !source.left_out(split).is_empty() {
            self.ctx.progress.note(&source.say_left_out(split));
        }
        let images = Pictures::of_set(source, split, self.detector.preparation(), true, HELD_BYTES)?;
        if images.len() as u64 != set.count {
            let (name, found, count) = (&set.name, images.len(), set.count);
            return Err(StageError::Mismatch(format!(
                "the image set `{name}` has {found} pictures in the split {split}, on record are {count}"
            )));
        }
        let labels = images.labels().filter(|_| set.is_id).map(<[u32]>::to_vec);
        Ok((self.detector.logits(self.ctx, &images)?, labels))
    }

    fn rows(
        &self,
        set: usize,
        score: usize,
        values: &[f32],
        predicted: &[u32],
        labels: Option<&[u32]>,
    ) -> Vec<Score> {
        let classes = self.detector.classes();
        let row = |(sample, ((index, value), predicted)): (usize, ((u64, &f32), &u32))| {
            let label = labels.and_then(|labels| labels.get(sample)).copied();
            Score {
                class_id: label,
                class_name: label.and_then(|label| classes.get(label as usize)).cloned(),
                index,
                dataset: self.sets[set].name.clone(),
                split: self.sets[set].split.clone(),
                score: self.scores[score].name().into(),
                sample: sample as i64,
                value: *value,
                label: label.map(|label| label as i32),
                predicted: *predicted as i32,
            }
        };
        let pairs = self.indices(set, score).zip(values).zip(predicted);
        pairs.enumerate().map(row).collect()
    }

    /// Returns all metrics behind the accuracy: of each score those of every OOD set, then their means, which
    /// have no data set; and how many images were left out.
    pub fn metrics(
        &self,
        values: &[Vec<Vec<f32>>],
        convention: Convention,
    ) -> Result<Vec<Metric>, StageError> {
        let mut metrics = Vec::new();
        let mut add = |name: MetricName, set: Option<&TestSet>, score: Option<ScoreName>, value: f64| {
            let index = ACCURACY + 1 + metrics.len() as u64;
            metrics.push(Metric {
                dataset: set.map(|set| set.name.clone()),
                score: score.map(|score| score.name().to_owned()),
                ..name.row(index, value)
            });
        };
        let is_id = |set: &TestSet| set.is_id;
        for (place, score) in self.scores.iter().enumerate() {
            let of = |set: usize| values[set][place].as_slice();
            let mut found = Vec::new();
            let mut detection = |set: Option<&TestSet>, d: &Detection| {
                add(MetricName::Fpr95, set, Some(*score), d.fpr95);
                add(MetricName::Auroc, set, Some(*score), d.auroc);
                add(MetricName::AuprIn, set, Some(*score), d.aupr_in);
                add(MetricName::AuprOut, set, Some(*score), d.aupr_out);
            };
            let id = self.sets.iter().position(is_id).unwrap_or_default();
            for (number, set) in self.sets.iter().enumerate().filter(|(_, set)| !set.is_id) {
                let d = ood::detection(of(id), of(number), convention)?;
                detection(Some(set), &d);
                found.push(d);
            }
            detection(None, &ood::mean(&found)?);
        }
        for set in &self.sets {
            let left_out = set.source.left_out(&set.split).len();
            if left_out > 0 {
                add(MetricName::ImagesLeftOut, Some(set), None, left_out as f64);
            }
        }
        Ok(metrics)
    }
}
