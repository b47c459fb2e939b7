//! ASH: activation shaping.

use super::head::Layer;
use super::top::{kept, largest, ratio, sum};
use crate::ood::score::{
    Card, Fitted, Hyperparameter, Needs, Paper, Range, Reference, Score, ScoreError, Values, fitted,
};

/// The energy of the features of which only the largest are kept.
///
/// Of features that are equal the first are kept (PyTorch's `topk` leaves it open); at least one is kept.
#[derive(Clone, Copy, Debug)]
pub struct AshP;

/// The energy of features of which the largest share the sum of all equally and the others are zero. Ties as
/// in [`AshP`].
#[derive(Clone, Copy, Debug)]
pub struct AshB;

/// The energy of features of which only the largest are kept, and scaled by exp(sum of all / sum of the
/// kept). Ties as in [`AshP`]; features that are all zero are not scaled (OpenOOD: NaN).
#[derive(Clone, Copy, Debug)]
pub struct AshS;

/// pytorch-ood's default is 65 for all three kinds; OpenOOD's is 90.
const PERCENTILE: Hyperparameter = Hyperparameter {
    name: "percentile",
    about: "percentage of the features that are pruned",
    range: Range::Percent,
    default: 90.0,
    search: &[65.0, 70.0, 75.0, 80.0, 85.0, 90.0, 95.0],
};

const PAPER: Paper = Paper {
    title: "Extremely Simple Activation Shaping for Out-of-Distribution Detection",
    venue: "ICLR 2023",
    url: "https://arxiv.org/abs/2209.09858",
};

static ASH_P: Card = Card {
    name: "ash_p",
    paper: PAPER,
    formula: "logsumexp(W h' + b), h' = the largest of h, the others zero",
    needs: Needs::HEAD,
    hyperparameters: &[PERCENTILE],
};

static ASH_B: Card = Card {
    name: "ash_b",
    paper: PAPER,
    formula: "logsumexp(W h' + b), h' = sum(h) / k at the k largest of h, the others zero",
    needs: Needs::HEAD,
    hyperparameters: &[PERCENTILE],
};

static ASH_S: Card = Card {
    name: "ash_s",
    paper: PAPER,
    formula: "logsumexp(W h' + b), h' = h exp(sum(h) / sum(largest of h)) at the largest of h, \
              the others zero",
    needs: Needs::HEAD,
    hyperparameters: &[PERCENTILE],
};

/// The energy of the largest features after `change(kept value, sum of all, sum of kept, number of kept)`.
fn shaped(
    values: &Values,
    change: impl Fn(f64, f64, f64, usize) -> f64 + Send + Sync + 'static,
) -> Result<Box<dyn Fitted>, ScoreError> {
    let percent = values.get(&PERCENTILE);
    fitted(move |observed| {
        Layer::new(observed.head()?).energy(observed.features()?, |row, out| {
            let places = largest(row, kept(row.len(), percent));
            let all = sum(row.iter().copied());
            let part = sum(places.iter().map(|at| row[*at]));
            for at in &places {
                out[*at] = change(f64::from(row[*at]), all, part, places.len());
            }
        })
    })
}

impl Score for AshP {
    fn card(&self) -> &'static Card {
        &ASH_P
    }

    fn fit(&self, values: &Values, _: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        shaped(values, |own, _, _, _| own)
    }
}

impl Score for AshB {
    fn card(&self) -> &'static Card {
        &ASH_B
    }

    fn fit(&self, values: &Values, _: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        shaped(values, |_, all, _, count| all / count as f64)
    }
}

impl Score for AshS {
    fn card(&self) -> &'static Card {
        &ASH_S
    }

    fn fit(&self, values: &Values, _: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        shaped(values, |own, all, part, _| own * ratio(all, part).exp())
    }
}
