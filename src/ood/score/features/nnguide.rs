//! NNGuide: the energy, guided by the nearest training pictures.

use super::neighbours::{Bank, Largest, number, picked, scan, some, unit};
use crate::ood::observed::same;
use crate::ood::score::softmax::log_sum_exp;
use crate::ood::score::{
    Card, Extent, Fitted, Hyperparameter, Needs, Paper, Range, Reference, Score, ScoreError, Values,
    each_row, fitted, require_enough,
};

/// The energy times the mean of the k largest products of the unit features with a bank of training pictures,
/// each of them scaled by its energy.
///
/// The bank is a random share of the training set, as in the paper (OpenOOD: the first batches that make it
/// up).
#[derive(Clone, Copy, Debug)]
pub struct NnGuide;

const K: Hyperparameter = Hyperparameter {
    name: "k",
    about: "number of nearest pictures of the bank",
    range: Range::Whole(1),
    default: 100.0,
    search: &[100.0],
};
const SHARE: Hyperparameter = Hyperparameter {
    name: "share",
    about: "share of the training pictures that make up the bank",
    range: Range::Share,
    default: 0.01,
    search: &[0.01],
};
const SEED: Hyperparameter = Hyperparameter {
    name: "seed",
    about: "which pictures the bank takes",
    range: Range::Whole(0),
    default: 0.0,
    search: &[0.0],
};

static CARD: Card = Card {
    name: "nnguide",
    paper: Paper {
        title: "Nearest Neighbor Guidance for Out-of-Distribution Detection",
        venue: "ICCV 2023",
        url: "https://arxiv.org/abs/2309.14888",
    },
    formula: "E mean over the k largest of z . z_i E_i, E = logsumexp(f), z = h / |h|",
    needs: Needs {
        logits: true,
        ..Needs::TRAIN_FEATURES
    },
    hyperparameters: &[K, SHARE, SEED],
};

impl Score for NnGuide {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn check(&self, values: &Values, extent: Extent) -> Result<(), ScoreError> {
        let bank = extent.train.map(|pictures| number(pictures, values.get(&SHARE)));
        let why = "k, of a share of the training set";
        require_enough(bank, values.whole(&K), "training pictures in the bank", why)
    }

    fn fit(&self, values: &Values, reference: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        let k = values.whole(&K);
        let train = reference.train()?;
        let (features, logits) = (train.features()?, train.logits()?);
        self.check(values, Extent::of(features))?;
        let rows = some(features.len(), values.get(&SHARE), values.whole(&SEED));
        let width = features.width();
        let mut guides = picked(&unit(features), width, &rows);
        for (guide, row) in guides.chunks_exact_mut(width).zip(&rows) {
            let energy = log_sum_exp(logits.row(*row), 1.0) as f32;
            guide.iter_mut().for_each(|x| *x *= energy);
        }
        let bank = Bank::new(&guides, width);
        fitted(move |observed| {
            let (features, logits) = (observed.features()?, observed.logits()?);
            same("width of the features", width, features.width())?;
            let guidance = scan(
                [&bank],
                [&unit(features)],
                || Largest::new(k),
                |largest, first, [products]| largest.see(first, products),
                |_, largest| {
                    let nearest = largest.into_sorted();
                    nearest
                        .iter()
                        .map(|(product, _)| f64::from(*product))
                        .sum::<f64>()
                        / k as f64
                },
            );
            Ok(each_row(guidance.len(), |row| {
                guidance[row] * log_sum_exp(logits.row(row), 1.0)
            }))
        })
    }
}
