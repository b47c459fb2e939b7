//! NCI: how near the features are to the predicted class's weights.

use crate::ood::observed::same;
use crate::ood::score::linear::mean;
use crate::ood::score::softmax::argmax;
use crate::ood::score::{
    Card, Fitted, Hyperparameter, Needs, Paper, Range, Reference, Score, ScoreError, Values, each_row, fitted,
};

/// The part of the predicted class's weights along the features less the training mean, and the size of the
/// features. At the mean itself, which has no direction, the first part is 0.
#[derive(Clone, Copy, Debug)]
pub struct Nci;

const ALPHA: Hyperparameter = Hyperparameter {
    name: "alpha",
    about: "how much the L1 norm of the features counts",
    range: Range::NotNegative,
    default: 1e-4,
    search: &[1e-4, 1e-3, 1e-2, 1e-1],
};

static CARD: Card = Card {
    name: "nci",
    paper: Paper {
        title: "Detecting Out-of-Distribution Through the Lens of Neural Collapse",
        venue: "CVPR 2025",
        url: "https://arxiv.org/abs/2311.01479",
    },
    formula: "w_y . (h - mu) / |h - mu| + alpha |h|_1, y = argmax f",
    needs: Needs {
        logits: true,
        head: true,
        ..Needs::TRAIN_FEATURES
    },
    hyperparameters: &[ALPHA],
};

impl Score for Nci {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn fit(&self, values: &Values, reference: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        let alpha = values.get(&ALPHA);
        let mean = mean(reference.train()?.features()?);
        fitted(move |observed| {
            let (features, logits) = (observed.features()?, observed.logits()?);
            let weight = observed.head()?.weight;
            same("width of the features", mean.len(), features.width())?;
            Ok(each_row(features.len(), |row| {
                let w = weight.row(argmax(logits.row(row)));
                let (mut along, mut squares, mut size) = (0.0, 0.0, 0.0);
                for ((x, mean), w) in features.row(row).iter().zip(&mean).zip(w) {
                    let away = f64::from(*x) - mean;
                    along += f64::from(*w) * away;
                    squares += away * away;
                    size += f64::from(x.abs());
                }
                along / squares.sqrt().max(f64::MIN_POSITIVE) + alpha * size
            }))
        })
    }
}
