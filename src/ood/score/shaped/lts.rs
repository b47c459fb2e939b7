//! LTS: logits scaled by how the features are spread.

use super::top::{kept, largest, ratio, sum};
use crate::ood::score::softmax::log_sum_exp_of;
use crate::ood::score::{
    Card, Fitted, Hyperparameter, Needs, Paper, Range, Reference, Score, ScoreError, Values, each_row, fitted,
};

/// The energy of the logits times (sum of the positive features / sum of the largest of them) squared.
///
/// The product is the authors'; pytorch-ood divided before version 0.4. The percentage is 95 for CIFAR-100 in
/// the authors' configuration. Features none of which is positive leave the logits as they are (pytorch-ood:
/// NaN).
#[derive(Clone, Copy, Debug)]
pub struct Lts;

const PERCENTILE: Hyperparameter = Hyperparameter {
    name: "percentile",
    about: "percentage of the features that do not count as the largest",
    range: Range::Percent,
    default: 95.0,
    search: &[65.0, 70.0, 75.0, 80.0, 85.0, 90.0, 95.0],
};

static CARD: Card = Card {
    name: "lts",
    paper: Paper {
        title: "Logit Scaling for Out-of-Distribution Detection",
        venue: "Machine Vision and Applications, 2025",
        url: "https://arxiv.org/abs/2409.01175",
    },
    formula: "logsumexp(f s), s = (sum(relu h) / sum(largest of relu h))^2",
    needs: Needs {
        features: true,
        ..Needs::LOGITS
    },
    hyperparameters: &[PERCENTILE],
};

impl Score for Lts {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn fit(&self, values: &Values, _: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        let percent = values.get(&PERCENTILE);
        fitted(move |observed| {
            let (features, logits) = (observed.features()?, observed.logits()?);
            Ok(each_row(features.len(), |row| {
                let active: Vec<f32> = features.row(row).iter().map(|x| x.max(0.0)).collect();
                let places = largest(&active, kept(active.len(), percent));
                let part = sum(places.iter().map(|at| active[*at]));
                let scale = ratio(sum(active), part).powi(2);
                let scaled: Vec<f64> = logits.row(row).iter().map(|f| f64::from(*f) * scale).collect();
                log_sum_exp_of(&scaled)
            }))
        })
    }
}
