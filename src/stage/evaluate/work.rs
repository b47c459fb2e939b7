//! An evaluation under way: what scores learn (`learn.rs`), then a set and a score at a time.

mod learn;

use std::ops::Range;

use arrow::datatypes::Int32Type;
use dream_schema::columns::Columns;
use dream_schema::{Metric, Run, RunId, Score, Table};

use super::Params;
use super::chosen::Chosen;
use super::given;
use super::group::{Group, Groups};
use super::metrics::{SetScores, Taken};
use super::network::{self, Classifier, Fault, Set};
use super::search::Search;
use super::shown::{Head, Shown};
use crate::ood::score::network::NetworkFitted;
use crate::ood::score::{Fitted, ScoreError};
use crate::ood::{self, Phi};
use crate::stage::metric::MetricName;
use crate::stage::rows::stretch;
use crate::stage::{Context, Role, StageError, required_input};
use crate::store::{Projection, Readable, Snapshot};

/// A set of test images.
pub(super) struct TestSet {
    /// Its name in the rows.
    pub name: String,
    /// The run that has its activations.
    run: RunId,
    /// Number of its images.
    count: u64,
    /// Whether it is the in-distribution set.
    pub is_id: bool,
    /// Whether its labels are classes of the classifier.
    has_classes: bool,
    /// Images that were left out of it.
    pub left_out: f64,
}

/// An evaluation under way. The rows of `scores` are numbered score by score, set by set, image by image;
/// those of `metrics` begin with the accuracy.
struct Evaluation<'a> {
    ctx: &'a Context<'a>,
    run: &'a Run,
    snapshot: Snapshot,
    scores: Vec<Chosen>,
    sets: Vec<TestSet>,
    head: Option<Head>,
    /// Where scores run it.
    classifier: Option<Classifier>,
}

/// The index of the accuracy among the metrics.
pub(super) const ACCURACY: u64 = 0;

/// A score before the first set is scored.
enum Ready {
    /// It has learnt what it must.
    Fitted(Box<dyn Fitted>),
    /// It has, and runs the network.
    Network(Box<dyn NetworkFitted>),
    /// It is phi of the energy.
    Phi(Phi),
    /// It is the log-odds of not being in the class of outliers.
    ExtraClass,
    /// It is imported.
    Given,
    /// Nothing is left to do: all its rows are stored.
    Stored,
    /// It cannot learn from what is there.
    LeftOut,
}

/// The values of each score of a set's images, where all of them are stored.
type Stored = Vec<Option<Vec<f32>>>;

/// Executes the run.
///
/// # Errors
/// If activations do not fit each other, or not what a score needs.
pub(super) fn execute(ctx: &Context<'_>, run: &Run, params: &Params) -> Result<(), StageError> {
    let snapshot = ctx.store.snapshot()?;
    let of_id = required_input(run, &Role::Id)?;
    let chosen = match given::chosen(&snapshot.run(of_id)?.spec) {
        Some(given) => given,
        None => {
            let chosen = params.scores.iter().map(Chosen::of);
            chosen.collect::<Result<_, _>>().map_err(StageError::Mismatch)?
        }
    };
    let mut evaluation = Evaluation {
        ctx,
        run,
        scores: chosen,
        sets: sets(&snapshot, run, &params.groups)?,
        head: Head::load(&snapshot, of_id)?,
        classifier: None,
        snapshot,
    };
    let sets = 0..evaluation.sets.len();
    let stored = sets.clone().map(|set| evaluation.stored(set));
    let stored = stored.collect::<Result<Vec<Stored>, _>>()?;
    let images = evaluation.images_to_pass(&stored)?;
    if images > 0 {
        let observed: Vec<RunId> = run.spec.inputs.iter().map(|input| input.run).collect();
        network::verify(ctx, &observed)?;
        evaluation.classifier = Some(Classifier::load(ctx, of_id)?);
    }
    let steps = (evaluation.scores.len() + sets.len()) as u64;
    ctx.progress.begin("evaluate", steps + images, "steps");
    let ready = evaluation.learn(&stored, params.where_possible)?;
    let values = stored
        .into_iter()
        .enumerate()
        .map(|(set, stored)| evaluation.set(set, &ready, stored))
        .collect::<Result<Vec<_>, _>>()?;
    let taken = evaluation.scores.iter().zip(&ready);
    let taken = taken.filter(|(_, ready)| !matches!(ready, Ready::LeftOut));
    let scores: Vec<String> = taken.map(|(score, _)| score.label.clone()).collect();
    for set in evaluation.sets.iter().filter(|set| set.count == 1) {
        let name = &set.name;
        ctx.progress.note(&format!(
            "`{name}` has one image: its metrics are of where that stands among the others"
        ));
    }
    for (place, score) in scores.iter().enumerate() {
        let mut all = values.iter().flat_map(|set| &set[place]);
        let first = all.next();
        if all.all(|value| Some(value) == first) {
            ctx.progress.note(&format!(
                "`{score}` is the same for every image: it tells nothing apart, and its AUROC is 50 %"
            ));
        }
    }
    let is_id = |set: &&TestSet| set.is_id || params.full_spectrum && set.has_classes;
    let (id, others): (Vec<_>, Vec<_>) = evaluation.sets.iter().partition(is_id);
    let ids = id.iter().map(|set| set.count).sum::<u64>() as usize;
    for set in others {
        let (name, count) = (&set.name, set.count);
        if params
            .draws
            .is_some_and(|draws| draws.takes_all(count as usize, ids))
        {
            ctx.progress.note(&format!(
                "every draw from `{name}` is all of its {count} images: beside {ids} ID images as many are \
                 drawn, or more"
            ));
        }
    }
    let sets = evaluation.sets.iter().zip(values).enumerate();
    let sets = sets.map(|(number, (set, values))| {
        Ok::<_, StageError>(SetScores {
            name: set.name.clone(),
            group: params.groups.get(&set.name).copied().filter(|_| !set.is_id),
            is_id: set.is_id,
            right: evaluation.right(number, &ready, params)?,
            values,
            left_out: set.left_out,
        })
    });
    let taken = Taken {
        sets: &sets.collect::<Result<Vec<_>, _>>()?,
        full_spectrum: params.full_spectrum,
        scores: &scores,
        extra: &params.metrics,
        draws: params.draws,
        convention: params.convention,
    };
    Ok(ctx.store.put(run.id, &taken.metrics()?)?)
}

/// Returns the ID set, then the OOD sets in the order of their roles.
fn sets(snapshot: &Snapshot, run: &Run, groups: &Groups) -> Result<Vec<TestSet>, StageError> {
    let set = |name: Option<&str>, input: RunId| -> Result<TestSet, StageError> {
        let table = given::table_of(&snapshot.run(input)?.spec);
        let count = snapshot.count(input, table)?;
        if count == 0 {
            return Err(StageError::Mismatch(format!("run {input} has no {table}")));
        }
        Ok(TestSet {
            name: name.unwrap_or_default().to_owned(),
            run: input,
            count,
            is_id: name.is_none(),
            has_classes: name.is_none_or(|name| groups.get(name) == Some(&Group::Shifted)),
            left_out: super::shown::left_out(snapshot, input)?,
        })
    };
    let mut sets = vec![set(None, required_input(run, &Role::Id)?)?];
    for input in &run.spec.inputs {
        if let Some(name) = Role::ood_name(&input.role) {
            sets.push(set(Some(name), input.run)?);
        }
    }
    sets[1..].sort_by(|a, b| a.name.cmp(&b.name));
    sets[0].name = super::shown::dataset(snapshot, sets[0].run)?;
    Ok(sets)
}

impl Evaluation<'_> {
    /// The indices of a set's rows of the score of a place in `scores`.
    fn indices(&self, set: usize, score: usize) -> Range<u64> {
        let count = |sets: &[TestSet]| sets.iter().map(|set| set.count).sum::<u64>();
        let start = score as u64 * count(&self.sets) + count(&self.sets[..set]);
        start..start + self.sets[set].count
    }

    /// Returns what is stored of a set.
    fn stored(&self, set: usize) -> Result<Stored, StageError> {
        let of_score = |score: usize| {
            let rows: Vec<Score> = stretch(&self.snapshot, self.run.id, 0, &self.indices(set, score))?;
            let whole = rows.len() as u64 == self.sets[set].count;
            Ok(whole.then(|| rows.iter().map(|row| row.value).collect()))
        };
        (0..self.scores.len()).map(of_score).collect()
    }

    /// How many images the network will see for scores that have work left, those of searches too.
    fn images_to_pass(&self, stored: &[Stored]) -> Result<u64, StageError> {
        let mut searched = 0;
        for role in [Role::Validation, Role::OodValidation] {
            if let (Some(run), Some(_)) = (role.input_of(self.run), Role::OodValidation.input_of(self.run)) {
                searched += self.snapshot.count(run, Table::Activations)?;
            }
        }
        let scores = self.scores.iter().enumerate();
        let images = scores
            .filter(|(_, score)| score.needs().network)
            .map(|(place, score)| {
                let sets = self.sets.iter().zip(stored);
                let left = sets.filter(|(_, stored)| stored[place].is_none());
                match left.map(|(set, _)| set.count).sum() {
                    0 => 0,
                    left => left + Search::settings_of(score) * searched,
                }
            });
        Ok(images.sum())
    }

    /// Returns the scores of the images of a set, score by score, making and committing those that are not
    /// stored.
    fn set(&self, number: usize, ready: &[Ready], stored: Stored) -> Result<Vec<Vec<f32>>, StageError> {
        let set = &self.sets[number];
        let is_done =
            |(ready, stored): (&Ready, &Option<_>)| stored.is_some() || matches!(ready, Ready::LeftOut);
        let accuracy = stretch::<Metric>(&self.snapshot, self.run.id, 0, &(ACCURACY..ACCURACY + 1))?;
        let measured = !set.is_id || !accuracy.is_empty();
        if measured && ready.iter().zip(&stored).all(is_done) {
            self.ctx.progress.skip(1);
            return Ok(stored.into_iter().flatten().collect());
        }
        let mut shown = Shown::load(&self.snapshot, set.run)?;
        // What labels an OOD set has are not classes of the classifier.
        shown.labels = shown.labels.filter(|_| set.has_classes);
        let predicted = shown.predicted()?;
        if !measured && let Some(accuracy) = shown.accuracy()? {
            let mut row = MetricName::Accuracy.row(ACCURACY, accuracy);
            row.dataset = Some(set.name.clone());
            self.ctx.store.put(self.run.id, &[row])?;
        }
        let runs =
            |(ready, stored): (&Ready, &Option<_>)| matches!(ready, Ready::Network(_)) && stored.is_none();
        let images = match ready.iter().zip(&stored).any(runs) {
            true => self.images(Some(set.run), None)?,
            false => None,
        };
        let mut all = Vec::with_capacity(stored.len());
        for (score, (ready, stored)) in ready.iter().zip(stored).enumerate() {
            self.ctx.check_interrupt()?;
            all.push(match (stored, ready) {
                (_, Ready::LeftOut) => continue,
                (Some(values), _) => values,
                (None, Ready::Network(fitted)) => self.pass(
                    number,
                    score,
                    fitted.as_ref(),
                    images.as_ref(),
                    &shown,
                    predicted.as_deref(),
                )?,
                (None, ready) => {
                    let values = self.values(score, ready, set, &shown)?;
                    let rows = self.rows(number, score, 0, &values, &shown, predicted.as_deref());
                    self.ctx.store.put(self.run.id, &rows)?;
                    values
                }
            });
        }
        self.ctx.progress.advance(1);
        Ok(all)
    }

    /// Returns whether each image of a set is classified rightly, as the rows of the first score tell; none
    /// of images without classes, and where no metric asks for it.
    fn right(
        &self,
        number: usize,
        ready: &[Ready],
        params: &Params,
    ) -> Result<Option<Vec<bool>>, StageError> {
        let set = &self.sets[number];
        let is_asked = !params.metrics.is_empty() || params.groups.values().any(|g| *g == Group::Shifted);
        let first = ready.iter().position(|ready| !matches!(ready, Ready::LeftOut));
        let Some(first) = first.filter(|_| set.has_classes && is_asked) else {
            return Ok(None);
        };
        let snapshot = self.ctx.store.snapshot()?;
        let rows: Vec<Score> = stretch(&snapshot, self.run.id, 0, &self.indices(number, first))?;
        let right = rows.iter().map(|row| match (row.label, row.predicted) {
            (Some(label), predicted @ 0..) => Some(label == predicted),
            _ => None,
        });
        let right: Option<Vec<bool>> = right.collect();
        if right.is_none() {
            let why = match rows.iter().filter(|row| row.predicted < 0).count() {
                // Rows of scores have a class only where all images have one.
                0 => {
                    let (without, all) = self.without_class(set)?;
                    format!("{without} of the {all} images have no class")
                }
                without => format!("the class that the network gives {without} of the images is not known"),
            };
            self.ctx.progress.note(&format!(
                "`{}`: {why}: no metric is taken of whether they are classified rightly",
                set.name
            ));
        }
        Ok(right)
    }

    /// Returns how many images of a set have no class, and how many there are.
    fn without_class(&self, set: &TestSet) -> Result<(usize, usize), StageError> {
        let (mut without, mut all) = (0, 0);
        let table = given::table_of(&self.snapshot.run(set.run)?.spec);
        let blocks = self
            .snapshot
            .blocks(table, Some(set.run), None, &Projection::Narrow)?;
        for rows in blocks {
            let (_, rows) = rows?;
            let labels = Columns::new(table, &rows).optional_numbers::<Int32Type>("label")?;
            without += labels
                .iter()
                .filter(|label| label.is_none_or(|label| label < 0))
                .count();
            all += labels.len();
        }
        Ok((without, all))
    }

    /// Returns the values of a score of every image of a set.
    fn values(
        &self,
        score: usize,
        ready: &Ready,
        set: &TestSet,
        shown: &Shown,
    ) -> Result<Vec<f32>, StageError> {
        let chosen = &self.scores[score];
        match ready {
            Ready::Fitted(fitted) => {
                let view = shown.view(self.head.as_ref());
                let values = view.and_then(|view| fitted.score(&view));
                values.map_err(|error| of_score(chosen, &set.name, &error))
            }
            Ready::Phi(phi) => Ok(ood::phi(&ood::energy(&shown.logits, shown.classes, 1.0)?, phi)?),
            Ready::ExtraClass => {
                let (logits, classes) = (&shown.logits, shown.classes);
                Ok(ood::extra_class(logits, classes, &shown.outlier_logits)?)
            }
            Ready::Given => {
                let missing = || of_score(chosen, &set.name, &ScoreError::Missing { what: "the scores" });
                Ok(shown.given.as_ref().ok_or_else(missing)?.values.clone())
            }
            // The snapshot had the rows when this was said of the score; the network's are made elsewhere.
            Ready::Stored | Ready::LeftOut | Ready::Network(_) => {
                let label = &chosen.label;
                Err(StageError::Mismatch(format!(
                    "the rows of the score `{label}` are gone"
                )))
            }
        }
    }

    /// Returns the values of a score that runs the network; rows are committed a stretch at a time, after
    /// those that are there.
    fn pass(
        &self,
        number: usize,
        score: usize,
        fitted: &dyn NetworkFitted,
        images: Option<&Set<'_>>,
        shown: &Shown,
        predicted: Option<&[i32]>,
    ) -> Result<Vec<f32>, StageError> {
        let (chosen, set) = (&self.scores[score], &self.sets[number]);
        let (Some(images), Some(classifier)) = (images, &self.classifier) else {
            let what = "the network and its images";
            return Err(of_score(chosen, &set.name, &ScoreError::Missing { what }));
        };
        self.ctx
            .progress
            .detail(&format!("{} of {}", chosen.label, set.name));
        let lens = classifier.lens()?;
        let rows: Vec<Score> = stretch(&self.snapshot, self.run.id, 0, &self.indices(number, score))?;
        let mut values: Vec<f32> = rows.iter().map(|row| row.value).collect();
        self.ctx.progress.skip(values.len() as u64);
        let left: Vec<u32> = (values.len() as u32..set.count as u32).collect();
        for samples in left.chunks(network::STRETCH) {
            let done = values.len();
            let scored = images.score(fitted, &lens, samples);
            values.extend(scored.map_err(|fault| of_fault(chosen, &set.name, fault))?);
            let rows = self.rows(number, score, done, &values[done..], shown, predicted);
            self.ctx.store.put(self.run.id, &rows)?;
        }
        Ok(values)
    }

    /// The rows of a score of the images from `first` on.
    fn rows(
        &self,
        number: usize,
        score: usize,
        first: usize,
        values: &[f32],
        shown: &Shown,
        predicted: Option<&[i32]>,
    ) -> Vec<Score> {
        let set = &self.sets[number];
        let labels = shown.labels.as_ref();
        let row = |(image, (index, value)): (usize, (u64, &f32))| {
            let image = first + image;
            let label = labels.map(|labels| labels[image]);
            Score {
                class_id: label,
                class_name: label.and_then(|_| shown.class_names[image].clone()),
                index,
                dataset: set.name.clone(),
                split: shown.split.clone(),
                score: self.scores[score].label.clone(),
                sample: shown.samples[image],
                value: *value,
                label: label.map(|label| label as i32),
                predicted: predicted.map_or(-1, |predicted| predicted[image]),
            }
        };
        self.indices(number, score)
            .skip(first)
            .zip(values)
            .enumerate()
            .map(row)
            .collect()
    }
}

/// The same of a score that runs the network.
fn of_fault(score: &Chosen, set: &str, fault: Fault) -> StageError {
    match fault {
        Fault::Score(error) => of_score(score, set, &error),
        Fault::Other(error) => error,
    }
}

/// Says which score of which set failed.
fn of_score(score: &Chosen, set: &str, error: &ScoreError) -> StageError {
    let of_set = match set {
        "" => String::new(),
        set => format!(" of `{set}`"),
    };
    StageError::Mismatch(format!("the score `{}`{of_set}: {error}", score.label))
}
