//! The largest logit.

use crate::ood::score::softmax::maximum;
use crate::ood::score::{Card, Fitted, Needs, Paper, Reference, Score, ScoreError, Values, each_row, fitted};

/// The largest logit: `max_c f_c`.
#[derive(Clone, Copy, Debug)]
pub struct MaxLogit;

static CARD: Card = Card {
    name: "max_logit",
    paper: Paper {
        title: "Scaling Out-of-Distribution Detection for Real-World Settings",
        venue: "ICML 2022",
        url: "https://arxiv.org/abs/1911.11132",
    },
    formula: "max_c f_c",
    needs: Needs::LOGITS,
    hyperparameters: &[],
};

impl Score for MaxLogit {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn fit(&self, _: &Values, _: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        fitted(|observed| {
            let logits = observed.logits()?;
            Ok(each_row(logits.len(), |row| maximum(logits.row(row))))
        })
    }
}
