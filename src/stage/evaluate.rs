//! `evaluate`: scores the ID test set and every OOD set with a trained classifier, and takes the detection
//! metrics.

use std::ops::Range;

use dream_schema::{Metric, Run, Score};
use serde::{Deserialize, Serialize};

use super::metric::MetricName;
use super::pictures::{HELD_BYTES, Pictures};
use super::rows::stretch;
use super::{
    Asked, Context, ImageSource, Input, Order, Refusals, Role, Source, Stage, StageError, detect,
    required_input,
};
use crate::ood::{self, Convention, Detection};
use crate::store::Store;
use crate::words::words;

/// Name of the stage.
pub const NAME: &str = "evaluate";
/// Version of its algorithm.
pub const VERSION: u32 = 1;

/// What is measured, and by which convention.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The detection scores: `msp`, `max_logit`, `energy`, `dream`. Only a classifier with phi has `dream`,
    /// phi(E(x)).
    pub scores: Vec<ScoreName>,
    /// Whose definition of the metrics: `dream-ood`, `openood`, `pytorch-ood`.
    pub convention: Convention,
    /// The split of the ID set.
    pub split: String,
    /// The split of the OOD sets.
    pub ood_split: String,
}

words! {
    /// A detection score; higher means more in-distribution. In the order of the names, as tables have it.
    #[derive(PartialOrd, Ord)]
    pub enum ScoreName {
        /// phi(E(x)), the log-odds of being in-distribution (DREAM-OOD, Eq. 8).
        Dream = "dream",
        /// Energy E(x): logsumexp of the logits.
        Energy = "energy",
        /// Maximum logit.
        MaxLogit = "max_logit",
        /// Maximum softmax probability.
        Msp = "msp",
    }
}

impl ScoreName {
    /// Returns the score of every row of `logits`, `[n, classes]`.
    fn values(self, logits: &[f32], detector: &detect::Detector) -> Result<Vec<f32>, StageError> {
        let classes = detector.classes().len();
        Ok(match self {
            ScoreName::Msp => ood::msp(logits, classes)?,
            ScoreName::MaxLogit => ood::max_logit(logits, classes)?,
            ScoreName::Energy => ood::energy(logits, classes, 1.0)?,
            ScoreName::Dream => {
                let missing = || StageError::Mismatch("the classifier has no phi to score with".into());
                let phi = detector.phi().ok_or_else(missing)?;
                ood::phi(&ood::energy(logits, classes, 1.0)?, phi)?
            }
        })
    }
}

/// An evaluation of a classifier.
#[derive(Clone, Debug)]
pub struct Evaluate;

/// Asks for the evaluation of the classifier of the run `detector`.
pub fn ask(
    params: &Params,
    detector: impl Into<Input>,
    id: &ImageSource,
    ood: &[ImageSource],
) -> Asked<Evaluate> {
    let asked = Asked::new(params, 0)
        .reads(Role::Detector, detector)
        .from(Role::Id, id);
    ood.iter().fold(asked, |asked, set| {
        asked.from(Role::Ood(set.name().to_owned()), set)
    })
}

impl Stage for Evaluate {
    const NAME: &'static str = NAME;
    const VERSION: u32 = VERSION;
    type Params = Params;

    fn check(store: &Store, asked: &mut Asked<Self>, refusals: &mut Refusals) -> Result<(), StageError> {
        let mut sets: Vec<(Role, ImageSource)> = Vec::new();
        for (role, entry) in asked.sources() {
            if let Some(set) = refusals.take(role, ImageSource::of(entry.clone()))? {
                sets.push((role.clone(), set));
            }
        }
        for (n, (role, set)) in sets.iter().enumerate() {
            let same = |(other, known): &(Role, ImageSource)| {
                other == role || known.is_registered() && known.digest() == set.digest() && *other == Role::Id
            };
            if sets[..n].iter().any(same) {
                refusals.refuse(role, format!("the image set `{}` is named twice", set.name()));
            }
            let (key, split) = match role {
                Role::Id => ("split", &asked.params.split),
                _ => ("ood_split", &asked.params.ood_split),
            };
            set.require_split(key, split, refusals);
        }
        refusals.require(
            sets.len() > 1,
            "ood",
            "there is no OOD set to evaluate on",
            "one at least",
        );
        let known = asked.known(store, &Role::Detector, &[detect::NAME], refusals)?;
        let id = sets.iter().find(|(role, _)| *role == Role::Id);
        if let (Some(known), Some((role, id))) = (known, id) {
            id.require_labels(role, refusals);
            detect::check_classes(store, &known, id, role, refusals)?;
        }
        Ok(())
    }

    fn execute(ctx: &Context<'_>, order: &Order<'_, Params>) -> Result<(), StageError> {
        execute(ctx, order.run, &order.params)
    }
}

/// A set of test images.
struct TestSet {
    /// Its name in the rows.
    name: String,
    source: ImageSource,
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
fn sets(store: &Store, run: &Run, params: &Params) -> Result<Vec<TestSet>, StageError> {
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

/// Executes the run: the rows of a set are committed score by score, the metrics at the end. Sets and scores
/// that are stored already are not made again.
///
/// # Errors
/// If an image set is not what it was, or the classifier gives NaN.
fn execute(ctx: &Context<'_>, run: &Run, params: &Params) -> Result<(), StageError> {
    let sets = sets(ctx.store, run, params)?;
    ctx.progress.begin("evaluate", sets.len() as u64, "sets");
    for set in &sets {
        ctx.check_interrupt()?;
        set.source.verify_images()?;
    }
    let detector = detect::Detector::load(ctx, required_input(run, &Role::Detector)?)?;
    let has = |score: &ScoreName| *score != ScoreName::Dream || detector.phi().is_some();
    let evaluation = Evaluation {
        ctx,
        run,
        scores: params.scores.iter().copied().filter(has).collect(),
        detector,
        sets,
    };
    let all = 0..evaluation.sets.len();
    let values = all
        .map(|set| evaluation.set(set))
        .collect::<Result<Vec<_>, _>>()?;
    let metrics = evaluation.metrics(&values, params.convention)?;
    Ok(ctx.store.put(run.id, &metrics)?)
}

/// An evaluation under way. The rows of `scores` are numbered score by score, set by set, picture by picture;
/// those of `metrics` begin with the accuracy.
struct Evaluation<'a> {
    ctx: &'a Context<'a>,
    run: &'a Run,
    detector: detect::Detector,
    /// Those that the classifier has.
    scores: Vec<ScoreName>,
    sets: Vec<TestSet>,
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
    fn set(&self, number: usize) -> Result<Vec<Vec<f32>>, StageError> {
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
    fn metrics(&self, values: &[Vec<Vec<f32>>], convention: Convention) -> Result<Vec<Metric>, StageError> {
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
