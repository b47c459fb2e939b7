//! Scores: how much a picture looks like the training set, by what a classifier showed of it.
//!
//! **Every score is larger for in-distribution pictures**, whatever its paper or another toolkit says.
//!
//! A score is a type without fields that implements [`Score`]. Its [`Card`] says where it comes from, what it
//! computes, what it needs and which numbers it leaves open. [`Score::fit`] learns from [`Reference`] sets,
//! and what comes back scores any [`Observed`] set. [`SCORES`] lists all of them; [`by_name`] finds one.
//! Scores that run the network themselves are in [`network`]; [`all`] lists and [`find`] finds those of both
//! kinds.
//!
//! Where OpenOOD, pytorch-ood and a paper differ, the paper decides and the score's own page says how the
//! others differ. Sums run in `f64` (products of all rows with all training rows in `f32`) and in an order
//! that does not depend on the number of threads; the score of a row does not depend on the other rows of its
//! set. Of equal numbers the first counts as the largest. Bad input is a [`ScoreError`], or follows a rule on
//! the score's page.
//!
//! Numbers are compared with OpenOOD, pytorch-ood, libmr and the authors' programs (`tools/check/scores.py`).

mod error;
mod features;
mod linear;
mod logits;
pub mod network;
mod registry;
mod shaped;
mod softmax;
#[cfg(test)]
mod tests;
mod values;

pub use error::ScoreError;
pub use registry::{Entry, all, by_name, find, near};
pub use values::{Hyperparameter, Range, Values};

use super::observed::{Observed, Rows};
use rayon::prelude::*;

/// What a score reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Logits, of every set that it reads.
    pub logits: bool,
    /// Features, of every set that it reads.
    pub features: bool,
    /// The classifier's last layer.
    pub head: bool,
    /// Pictures that the classifier was trained on.
    pub train: bool,
    /// ID pictures that it was not trained on.
    pub validation: bool,
    /// The labels of those sets.
    pub labels: bool,
    /// The network itself, and the pictures of every set that it reads.
    pub network: bool,
}

impl Needs {
    const NOTHING: Self = Self {
        logits: false,
        features: false,
        head: false,
        train: false,
        validation: false,
        labels: false,
        network: false,
    };

    /// Features of the scored pictures and of the training set.
    const TRAIN_FEATURES: Self = Self {
        features: true,
        train: true,
        ..Self::NOTHING
    };

    /// Features of the scored pictures and the last layer.
    const HEAD: Self = Self {
        features: true,
        head: true,
        ..Self::NOTHING
    };

    /// Nothing but logits of the scored pictures.
    pub(crate) const LOGITS: Self = Self {
        logits: true,
        ..Self::NOTHING
    };
}

/// Where a score was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paper {
    #[expect(missing_docs)]
    pub title: &'static str,
    /// Conference or journal, with the year.
    pub venue: &'static str,
    #[expect(missing_docs)]
    pub url: &'static str,
}

/// What there is to know of a score before it is used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Card {
    /// The name by which it is asked for.
    pub name: &'static str,
    #[expect(missing_docs)]
    pub paper: Paper,
    /// What it computes: f logits, p their softmax, h features, W and b the last layer.
    pub formula: &'static str,
    #[expect(missing_docs)]
    pub needs: Needs,
    /// The numbers that it leaves open, in the order of [`Values::iter`].
    pub hyperparameters: &'static [Hyperparameter],
}

/// The sets that a score learns from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference<'a> {
    /// Pictures that the classifier was trained on.
    pub train: Option<Observed<'a>>,
    /// ID pictures that it was not trained on.
    pub validation: Option<Observed<'a>>,
}

impl<'a> Reference<'a> {
    fn train(&self) -> Result<&Observed<'a>, ScoreError> {
        let what = "training pictures";
        self.train.as_ref().ok_or(ScoreError::Missing { what })
    }

    fn validation(&self) -> Result<&Observed<'a>, ScoreError> {
        let what = "validation pictures";
        self.validation.as_ref().ok_or(ScoreError::Missing { what })
    }
}

/// How large the set is that a score learns from, as far as that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Pictures that the classifier was trained on.
    pub train: Option<usize>,
    /// Features of a picture.
    pub features: Option<usize>,
}

impl Extent {
    /// That of pictures which were observed.
    fn of(train: Rows<'_>) -> Self {
        Self {
            train: Some(train.len()),
            features: Some(train.width()),
        }
    }

    /// Refuses fewer features than `needed`.
    fn require_features(self, needed: usize, why: &'static str) -> Result<(), ScoreError> {
        let what = "features a picture";
        require_enough(self.features, needed, what, why)
    }
}

/// Refuses fewer of something than are needed, where their number is known.
fn require_enough(
    actual: Option<usize>,
    needed: usize,
    what: &'static str,
    why: &'static str,
) -> Result<(), ScoreError> {
    match actual.filter(|actual| *actual < needed) {
        Some(actual) => Err(ScoreError::TooFew {
            what,
            needed,
            actual,
            why,
        }),
        None => Ok(()),
    }
}

/// A way to tell in-distribution pictures from others.
pub trait Score: Send + Sync {
    /// What there is to know of it.
    fn card(&self) -> &'static Card;

    /// Refuses values that do not go together, or ask for more than there is to learn from.
    ///
    /// # Errors
    /// [`ScoreError::Range`], [`ScoreError::TooFew`].
    fn check(&self, _values: &Values, _extent: Extent) -> Result<(), ScoreError> {
        Ok(())
    }

    /// Learns what it must from `reference`.
    ///
    /// # Errors
    /// A set, features, labels or a last layer that it needs and that are not there; fewer rows than it
    /// needs.
    fn fit(&self, values: &Values, reference: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError>;

    /// Returns values of its hyperparameters: the defaults, with `given` in their place.
    ///
    /// # Errors
    /// A name that it does not have, or a value outside its range.
    fn values(&self, given: &[(&str, f64)]) -> Result<Values, ScoreError> {
        let card = self.card();
        Values::new(card.name, card.hyperparameters, given)
    }
}

/// A score that has learnt what it must.
pub trait Fitted: Send + Sync {
    /// Returns the score of each picture: larger for in-distribution pictures, and finite.
    ///
    /// # Errors
    /// What it needs of `observed` is not there, or has another width than what it was fitted to.
    fn score(&self, observed: &Observed<'_>) -> Result<Vec<f32>, ScoreError>;
}

/// A fitted score that is one function of a set.
struct Closure<F>(F);

impl<F> Fitted for Closure<F>
where
    F: Fn(&Observed<'_>) -> Result<Vec<f32>, ScoreError> + Send + Sync,
{
    fn score(&self, observed: &Observed<'_>) -> Result<Vec<f32>, ScoreError> {
        self.0(observed)
    }
}

fn fitted<F>(score: F) -> Result<Box<dyn Fitted>, ScoreError>
where
    F: Fn(&Observed<'_>) -> Result<Vec<f32>, ScoreError> + Send + Sync + 'static,
{
    Ok(Box::new(Closure(score)))
}

/// A number of each row, kept within `f32`; the lowest where sums of numbers near `f32`'s ends have no value.
fn each_row(rows: usize, score: impl Fn(usize) -> f64 + Send + Sync) -> Vec<f32> {
    let finite = |value: f64| match value.is_nan() {
        true => f32::MIN,
        false => value.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32,
    };
    (0..rows).into_par_iter().map(|row| finite(score(row))).collect()
}

/// `rows` as `f64`, row after row.
fn widened(rows: &[f32]) -> Vec<f64> {
    rows.iter().map(|value| f64::from(*value)).collect()
}

/// The k-nearest-neighbour score of training pictures: minus the squared distance to the k-th nearest of
/// them, features divided by their norm.
///
/// # Errors
/// Fewer training pictures than `k`; a `k` of 0.
pub fn knn(k: usize, reference: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
    let values = features::Knn.values(&[("k", k as f64)])?;
    features::Knn.fit(&values, reference)
}

/// The probability of each class.
pub fn softmax(logits: &[f32]) -> Vec<f64> {
    softmax::softmax(logits)
}

/// All scores of what a classifier showed, in the order in which they are listed.
pub static SCORES: &[&dyn Score] = &[
    &logits::Msp,
    &logits::MaxLogit,
    &logits::Energy,
    &logits::Temperature,
    &logits::Entropy,
    &logits::Xent,
    &logits::Gen,
    &logits::Klm,
    &logits::LogitGap,
    &logits::OpenMax,
    &features::Mds,
    &features::Rmds,
    &features::Ssd,
    &features::Knn,
    &features::Vim,
    &features::Residual,
    &features::She,
    &features::NnGuide,
    &features::Fdbd,
    &features::Nci,
    &features::Relation,
    &features::Cfood,
    &features::Neco,
    &features::Gmm,
    &shaped::React,
    &shaped::Vra,
    &shaped::Dice,
    &shaped::AshP,
    &shaped::AshB,
    &shaped::AshS,
    &shaped::Scale,
    &shaped::Lts,
    &shaped::GradNorm,
    &shaped::Weiper,
    &shaped::CaRef,
    &shaped::CadRef,
];
