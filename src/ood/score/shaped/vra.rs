//! VRA: activations cut off at both ends.

use super::head::{Layer, percentile};
use crate::ood::observed::same;
use crate::ood::score::{
    Card, Extent, Fitted, Hyperparameter, Needs, Paper, Range, Reference, Score, ScoreError, Values, fitted,
    widened,
};

/// The energy of features kept between two percentiles of all features of the validation set.
///
/// This is OpenOOD's form, which raises small features to the lower bound; the paper's own VRA sets them to
/// zero. pytorch-ood takes percentiles of each feature by itself.
#[derive(Clone, Copy, Debug)]
pub struct Vra;

const LOW: Hyperparameter = Hyperparameter {
    name: "low",
    about: "percentage of the validation features that lie below the lower bound",
    range: Range::Percent,
    default: 10.0,
    search: &[1.0, 5.0, 10.0, 15.0],
};
const HIGH: Hyperparameter = Hyperparameter {
    name: "high",
    about: "percentage of the validation features that lie below the upper bound, more than low",
    range: Range::Percent,
    default: 90.0,
    search: &[85.0, 90.0, 95.0, 99.0],
};

static CARD: Card = Card {
    name: "vra",
    paper: Paper {
        title: "VRA: Variational Rectified Activation for Out-of-distribution Detection",
        venue: "NeurIPS 2023",
        url: "https://arxiv.org/abs/2302.11716",
    },
    formula: "logsumexp(W clip(h, l, u) + b), l and u percentiles of the validation features",
    needs: Needs {
        validation: true,
        ..Needs::HEAD
    },
    hyperparameters: &[LOW, HIGH],
};

impl Score for Vra {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn check(&self, values: &Values, _: Extent) -> Result<(), ScoreError> {
        let (low, high) = (values.get(&LOW), values.get(&HIGH));
        if low > high {
            return Err(ScoreError::Range {
                name: LOW.name,
                expected: format!("at most high, {high}"),
                actual: low,
            });
        }
        Ok(())
    }

    fn fit(&self, values: &Values, reference: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        let (low, high) = (values.get(&LOW), values.get(&HIGH));
        self.check(values, Extent::default())?;
        let validation = reference.validation()?.features()?;
        let width = validation.width();
        let all = widened(validation.values());
        let (low, high) = (percentile(all.clone(), low), percentile(all, high));
        fitted(move |observed| {
            let features = observed.features()?;
            same("width of the features", width, features.width())?;
            Layer::new(observed.head()?).energy(features, |row, out| {
                let pairs = out.iter_mut().zip(row);
                pairs.for_each(|(out, x)| *out = f64::from(*x).max(low).min(high));
            })
        })
    }
}
