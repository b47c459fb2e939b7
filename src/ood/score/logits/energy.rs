//! The negative free energy.

use crate::ood::score::softmax::log_sum_exp;
use crate::ood::score::{
    Card, Fitted, Hyperparameter, Needs, Paper, Range, Reference, Score, ScoreError, Values, each_row, fitted,
};

/// The negative free energy `T logsumexp(f / T)`.
#[derive(Clone, Copy, Debug)]
pub struct Energy;

const TEMPERATURE: Hyperparameter = Hyperparameter {
    name: "temperature",
    about: "T, by which the logits are divided",
    range: Range::Positive,
    default: 1.0,
    search: &[1.0],
};

static CARD: Card = Card {
    name: "energy",
    paper: Paper {
        title: "Energy-based Out-of-distribution Detection",
        venue: "NeurIPS 2020",
        url: "https://arxiv.org/abs/2010.03759",
    },
    formula: "T logsumexp(f / T)",
    needs: Needs::LOGITS,
    hyperparameters: &[TEMPERATURE],
};

impl Score for Energy {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn fit(&self, values: &Values, _: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        let temperature = values.get(&TEMPERATURE);
        fitted(move |observed| {
            let logits = observed.logits()?;
            Ok(each_row(logits.len(), |row| {
                log_sum_exp(logits.row(row), temperature)
            }))
        })
    }
}
