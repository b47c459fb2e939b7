//! ReAct: rectified activations.

use super::head::{Layer, percentile};
use crate::ood::observed::same;
use crate::ood::score::{
    Card, Fitted, Hyperparameter, Needs, Paper, Range, Reference, Score, ScoreError, Values, fitted, widened,
};

/// The energy of features cut off at a percentile of all features of the validation set.
///
/// The paper takes the training set; OpenOOD the validation set, as here, because its activations were not
/// trained on.
#[derive(Clone, Copy, Debug)]
pub struct React;

const PERCENTILE: Hyperparameter = Hyperparameter {
    name: "percentile",
    about: "percentage of the validation features that lie below the cut",
    range: Range::Percent,
    default: 90.0,
    search: &[85.0, 90.0, 95.0, 99.0],
};

static CARD: Card = Card {
    name: "react",
    paper: Paper {
        title: "ReAct: Out-of-distribution Detection With Rectified Activations",
        venue: "NeurIPS 2021",
        url: "https://arxiv.org/abs/2111.12797",
    },
    formula: "logsumexp(W min(h, c) + b), c a percentile of the validation features",
    needs: Needs {
        validation: true,
        ..Needs::HEAD
    },
    hyperparameters: &[PERCENTILE],
};

impl Score for React {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn fit(&self, values: &Values, reference: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        let validation = reference.validation()?.features()?;
        let width = validation.width();
        let cut = percentile(widened(validation.values()), values.get(&PERCENTILE));
        fitted(move |observed| {
            let features = observed.features()?;
            same("width of the features", width, features.width())?;
            Layer::new(observed.head()?).energy(features, |row, out| {
                out.iter_mut()
                    .zip(row)
                    .for_each(|(out, x)| *out = f64::from(*x).min(cut));
            })
        })
    }
}
