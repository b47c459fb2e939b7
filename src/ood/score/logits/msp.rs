//! Maximum softmax probability.

use crate::ood::score::softmax::confidence;
use crate::ood::score::{Card, Fitted, Needs, Paper, Reference, Score, ScoreError, Values, each_row, fitted};

/// The probability of the likeliest class: `max_c p_c`.
#[derive(Clone, Copy, Debug)]
pub struct Msp;

static CARD: Card = Card {
    name: "msp",
    paper: Paper {
        title: "A Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural Networks",
        venue: "ICLR 2017",
        url: "https://arxiv.org/abs/1610.02136",
    },
    formula: "max_c p_c",
    needs: Needs::LOGITS,
    hyperparameters: &[],
};

impl Score for Msp {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn fit(&self, _: &Values, _: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        fitted(|observed| {
            let logits = observed.logits()?;
            Ok(each_row(logits.len(), |row| confidence(logits.row(row), 1.0)))
        })
    }
}
