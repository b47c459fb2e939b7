//! SHE: the pattern that a modern Hopfield network stores of each class.

use super::Means;
use crate::ood::observed::same;
use crate::ood::score::linear::{dot, norm};
use crate::ood::score::softmax::argmax;
use crate::ood::score::{
    Card, Fitted, Hyperparameter, Needs, Paper, Range, Reference, Score, ScoreError, Values, each_row,
    fitted, widened,
};

/// How alike the features are to the mean features of the correctly classified training pictures of the
/// predicted class; of all training pictures where that class has none (OpenOOD: NaN). The cosine of features
/// that are all zero is 0.
#[derive(Clone, Copy, Debug)]
pub struct She;

const METRIC: Hyperparameter = Hyperparameter {
    name: "metric",
    about: "0: inner product (the paper's), 1: negative Euclidean distance, 2: cosine",
    range: Range::Choice(3),
    default: 0.0,
    search: &[0.0, 1.0, 2.0],
};

static CARD: Card = Card {
    name: "she",
    paper: Paper {
        title: "Out-of-Distribution Detection based on In-Distribution Data Patterns Memorization with \
                Modern Hopfield Energy",
        venue: "ICLR 2023",
        url: "https://openreview.net/forum?id=KkazG4lgKL",
    },
    formula: "h . mu_y, y = argmax f, mu_y the mean h of correctly classified training pictures",
    needs: Needs {
        logits: true,
        labels: true,
        ..Needs::TRAIN_FEATURES
    },
    hyperparameters: &[METRIC],
};

impl Score for She {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn fit(&self, values: &Values, reference: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        let metric = values.whole(&METRIC);
        let means = Means::of_right(reference.train()?)?;
        fitted(move |observed| {
            let (features, logits) = (observed.features()?, observed.logits()?);
            same("classes", means.classes(), logits.width())?;
            same("width of the features", means.width(), features.width())?;
            Ok(each_row(features.len(), |row| {
                let h = widened(features.row(row));
                let mean = means.of_class(argmax(logits.row(row)));
                match metric {
                    0 => dot(&h, mean),
                    1 => {
                        let squares = h.iter().zip(mean).map(|(h, m)| (h - m) * (h - m));
                        -squares.sum::<f64>().sqrt()
                    }
                    _ => dot(&h, mean) / (norm(&h) * norm(mean)).max(f64::MIN_POSITIVE),
                }
            }))
        })
    }
}
