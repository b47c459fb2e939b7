//! CARef and CADRef: how far features are from those of their class.

use crate::ood::observed::{Observed, same};
use crate::ood::score::features::Means;
use crate::ood::score::softmax::{argmax, log_sum_exp};
use crate::ood::score::{Card, Fitted, Needs, Paper, Reference, Score, ScoreError, Values, each_row, fitted};

/// The L1 distance of the features from the mean features of the training pictures predicted as their class,
/// relative to their own size, negated. A class as which no training picture was predicted takes the mean of
/// all; features that are all zero score the lowest number there is, unless the mean is zero too.
#[derive(Clone, Copy, Debug)]
pub struct CaRef;

/// As [`CaRef`], with what speaks for the predicted class (by the sign of its weights) divided by the energy,
/// and what speaks against it by the mean energy of the training set. Energies are meant to be positive.
#[derive(Clone, Copy, Debug)]
pub struct CadRef;

const PAPER: Paper = Paper {
    title: "CADRef: Robust Out-of-Distribution Detection via Class-Aware Decoupled Relative \
            Feature Leveraging",
    venue: "CVPR 2025",
    url: "https://arxiv.org/abs/2503.00325",
};

const NEEDS: Needs = Needs {
    logits: true,
    ..Needs::TRAIN_FEATURES
};

static CAREF: Card = Card {
    name: "caref",
    paper: PAPER,
    formula: "-|h - mu_y|_1 / |h|_1, y = argmax f, mu_y the mean h of training pictures predicted as y",
    needs: NEEDS,
    hyperparameters: &[],
};

static CADREF: Card = Card {
    name: "cadref",
    paper: PAPER,
    formula: "-(e_+ / E + e_- / mean E) / |h|_1, e_+ and e_- the L1 norms of the parts of h - mu_y with and \
              against the sign of w_y, E = logsumexp(f)",
    needs: Needs { head: true, ..NEEDS },
    hyperparameters: &[],
};

/// A share of a whole; 0 of 0 is 0, and what has no whole is a number that sums of it are still finite for.
fn share(part: f64, whole: f64) -> f64 {
    if part == 0.0 {
        0.0
    } else {
        (part / whole).clamp(-1e300, 1e300)
    }
}

fn size(row: &[f32]) -> f64 {
    row.iter()
        .map(|x| f64::from(x.abs()))
        .sum::<f64>()
        .max(f64::MIN_POSITIVE)
}

fn check(means: &Means, observed: &Observed<'_>) -> Result<(), ScoreError> {
    same("classes", means.classes(), observed.logits()?.width())?;
    same(
        "width of the features",
        means.width(),
        observed.features()?.width(),
    )
}

impl Score for CaRef {
    fn card(&self) -> &'static Card {
        &CAREF
    }

    fn fit(&self, _: &Values, reference: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        let means = Means::of_predicted(reference.train()?)?;
        fitted(move |observed| {
            check(&means, observed)?;
            let (features, logits) = (observed.features()?, observed.logits()?);
            Ok(each_row(features.len(), |row| {
                let h = features.row(row);
                let mean = means.of_class(argmax(logits.row(row)));
                let away = h.iter().zip(mean).map(|(x, mean)| (f64::from(*x) - mean).abs());
                -share(away.sum(), size(h))
            }))
        })
    }
}

impl Score for CadRef {
    fn card(&self) -> &'static Card {
        &CADREF
    }

    fn fit(&self, _: &Values, reference: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        let train = reference.train()?;
        let means = Means::of_predicted(train)?;
        let energies = train.logits()?.iter().map(|row| log_sum_exp(row, 1.0));
        let mean_energy = energies.sum::<f64>() / train.len() as f64;
        fitted(move |observed| {
            check(&means, observed)?;
            let (features, logits) = (observed.features()?, observed.logits()?);
            let weight = observed.head()?.weight;
            Ok(each_row(features.len(), |row| {
                let (h, predicted) = (features.row(row), argmax(logits.row(row)));
                let (mut with, mut against) = (0.0, 0.0);
                let means = means.of_class(predicted).iter().zip(weight.row(predicted));
                for (x, (mean, w)) in h.iter().zip(means) {
                    let away = f64::from(*x) - mean;
                    match *w {
                        0.0 => {}
                        w if (away > 0.0) == (w > 0.0) => with += away.abs(),
                        _ => against += away.abs(),
                    }
                }
                let size = size(h);
                let energy = log_sum_exp(logits.row(row), 1.0);
                -share(share(with, size), energy) - share(share(against, size), mean_energy)
            }))
        })
    }
}
