//! The cross-entropy to the uniform distribution.

use crate::ood::score::softmax::{log_sum_exp, mean};
use crate::ood::score::{Card, Fitted, Needs, Paper, Reference, Score, ScoreError, Values, each_row, fitted};

/// The cross-entropy of the softmax to the uniform distribution: `logsumexp(f) - mean_c f_c`. It is the score
/// `--use_xent` of the programs that accompany outlier exposure and DREAM-OOD, who print its negative.
#[derive(Clone, Copy, Debug)]
pub struct Xent;

static CARD: Card = Card {
    name: "xent",
    paper: Paper {
        title: "Deep Anomaly Detection with Outlier Exposure",
        venue: "ICLR 2019",
        url: "https://arxiv.org/abs/1812.04606",
    },
    formula: "logsumexp(f) - mean_c f_c",
    needs: Needs::LOGITS,
    hyperparameters: &[],
};

impl Score for Xent {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn fit(&self, _: &Values, _: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        fitted(|observed| {
            let logits = observed.logits()?;
            Ok(each_row(logits.len(), |row| {
                log_sum_exp(logits.row(row), 1.0) - mean(logits.row(row))
            }))
        })
    }
}
