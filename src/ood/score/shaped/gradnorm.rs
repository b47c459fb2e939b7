//! GradNorm: the gradient of the last layer.

use crate::ood::score::softmax::softmax;
use crate::ood::score::{Card, Fitted, Needs, Paper, Reference, Score, ScoreError, Values, each_row, fitted};

/// The L1 norm of the gradient, by the last layer's weights, of the cross-entropy to the uniform
/// distribution.
///
/// It has a closed form, so no network runs. The loss is the sum over the classes, as in OpenOOD; the paper
/// and pytorch-ood take the mean, a factor that is the same for all pictures. pytorch-ood counts the gradient
/// of the bias too unless told otherwise.
#[derive(Clone, Copy, Debug)]
pub struct GradNorm;

static CARD: Card = Card {
    name: "gradnorm",
    paper: Paper {
        title: "On the Importance of Gradients for Detecting Distributional Shifts in the Wild",
        venue: "NeurIPS 2021",
        url: "https://arxiv.org/abs/2110.00218",
    },
    formula: "|h|_1 sum_c |C p_c - 1|, C the number of classes",
    needs: Needs {
        features: true,
        ..Needs::LOGITS
    },
    hyperparameters: &[],
};

impl Score for GradNorm {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn fit(&self, _: &Values, _: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        fitted(|observed| {
            let (features, logits) = (observed.features()?, observed.logits()?);
            let classes = logits.width() as f64;
            Ok(each_row(features.len(), |row| {
                let size: f64 = features.row(row).iter().map(|x| f64::from(x.abs())).sum();
                let slopes = softmax(logits.row(row))
                    .into_iter()
                    .map(|p| (classes * p - 1.0).abs());
                size * slopes.sum::<f64>()
            }))
        })
    }
}
