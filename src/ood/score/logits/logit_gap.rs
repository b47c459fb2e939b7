//! LogitGap: how far the largest logit is ahead.

use crate::ood::score::{
    Card, Fitted, Hyperparameter, Needs, Paper, Range, Reference, Score, ScoreError, Values, each_row, fitted,
};

/// How far the largest logit is ahead of the mean of the N that follow; of all others where there are fewer
/// than N. A classifier of one class scores 0.
#[derive(Clone, Copy, Debug)]
pub struct LogitGap;

const TOP: Hyperparameter = Hyperparameter {
    name: "top",
    about: "N, the number of logits after the largest that count",
    range: Range::Whole(1),
    default: 1000.0,
    search: &[5.0, 10.0, 20.0, 50.0, 100.0, 1000.0],
};

static CARD: Card = Card {
    name: "logit_gap",
    paper: Paper {
        title: "Revisiting Logit Distributions for Reliable Out-of-Distribution Detection",
        venue: "NeurIPS 2025",
        url: "https://arxiv.org/abs/2510.20134",
    },
    formula: "f_(1) - mean(f_(2), .., f_(N + 1)), the logits in falling order",
    needs: Needs::LOGITS,
    hyperparameters: &[TOP],
};

impl Score for LogitGap {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn fit(&self, values: &Values, _: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        let top = values.whole(&TOP);
        fitted(move |observed| {
            let logits = observed.logits()?;
            Ok(each_row(logits.len(), |row| {
                let mut sorted = logits.row(row).to_vec();
                sorted.sort_by(|a, b| b.total_cmp(a));
                let largest = f64::from(sorted[0]);
                let others = &sorted[1..sorted.len().min(1 + top)];
                let gaps = others.iter().map(|other| largest - f64::from(*other));
                gaps.sum::<f64>() / others.len().max(1) as f64
            }))
        })
    }
}
