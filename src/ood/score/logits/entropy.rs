//! The negative entropy.

use crate::ood::score::softmax::softmax;
use crate::ood::score::{Card, Fitted, Needs, Paper, Reference, Score, ScoreError, Values, each_row, fitted};

/// The negative entropy of the softmax, `sum_c p_c ln p_c`, with `0 ln 0 = 0`.
#[derive(Clone, Copy, Debug)]
pub struct Entropy;

static CARD: Card = Card {
    name: "entropy",
    paper: Paper {
        title: "Entropy Maximization and Meta Classification for Out-of-Distribution Detection in Semantic \
                Segmentation",
        venue: "ICCV 2021",
        url: "https://arxiv.org/abs/2012.06575",
    },
    formula: "sum_c p_c ln p_c",
    needs: Needs::LOGITS,
    hyperparameters: &[],
};

impl Score for Entropy {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn fit(&self, _: &Values, _: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        let term = |p: &f64| if *p > 0.0 { p * p.ln() } else { 0.0 };
        fitted(move |observed| {
            let logits = observed.logits()?;
            Ok(each_row(logits.len(), |row| {
                softmax(logits.row(row)).iter().map(term).sum()
            }))
        })
    }
}
