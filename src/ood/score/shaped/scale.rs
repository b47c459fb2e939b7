//! SCALE: activation shaping without pruning.

use super::head::Layer;
use super::top::{kept, largest, ratio, sum};
use crate::ood::score::{
    Card, Fitted, Hyperparameter, Needs, Paper, Range, Reference, Score, ScoreError, Values, fitted,
};

/// The energy of the features scaled by exp(sum of all / sum of the largest). Features that are all zero are
/// not scaled (OpenOOD: NaN).
#[derive(Clone, Copy, Debug)]
pub struct Scale;

const PERCENTILE: Hyperparameter = Hyperparameter {
    name: "percentile",
    about: "percentage of the features that do not count as the largest",
    range: Range::Percent,
    default: 85.0,
    search: &[65.0, 70.0, 75.0, 80.0, 85.0, 90.0, 95.0],
};

static CARD: Card = Card {
    name: "scale",
    paper: Paper {
        title: "Scaling for Training Time and Post-hoc Out-of-distribution Detection Enhancement",
        venue: "ICLR 2024",
        url: "https://arxiv.org/abs/2310.00227",
    },
    formula: "logsumexp(W h' + b), h' = h exp(sum(h) / sum(largest of h))",
    needs: Needs::HEAD,
    hyperparameters: &[PERCENTILE],
};

impl Score for Scale {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn fit(&self, values: &Values, _: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        let percent = values.get(&PERCENTILE);
        fitted(move |observed| {
            Layer::new(observed.head()?).energy(observed.features()?, |row, out| {
                let places = largest(row, kept(row.len(), percent));
                let part = sum(places.iter().map(|at| row[*at]));
                let scale = ratio(sum(row.iter().copied()), part).exp();
                out.iter_mut()
                    .zip(row)
                    .for_each(|(out, x)| *out = f64::from(*x) * scale);
            })
        })
    }
}
