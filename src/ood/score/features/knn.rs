//! Deep nearest neighbours.

use super::neighbours::{Bank, Largest, scan, unit};
use crate::ood::observed::same;
use crate::ood::score::{
    Card, Extent, Fitted, Hyperparameter, Needs, Paper, Range, Reference, Score, ScoreError, Values,
    each_row, fitted, require_enough,
};

/// The squared distance to the k-th nearest training picture, all features divided by their norm, negated.
///
/// pytorch-ood gives the distance itself: the same order. OpenOOD adds 1e-10 to each feature after the
/// division, which changes nothing that `f32` can hold. Features that are all zero stay zero (OpenOOD: NaN).
/// The neighbour is found by `f32` products, its distance is then exact.
#[derive(Clone, Copy, Debug)]
pub struct Knn;

const K: Hyperparameter = Hyperparameter {
    name: "k",
    about: "which neighbour, from 1",
    range: Range::Whole(1),
    default: 50.0,
    search: &[50.0, 100.0, 200.0, 500.0, 1000.0],
};

static CARD: Card = Card {
    name: "knn",
    paper: Paper {
        title: "Out-of-Distribution Detection with Deep Nearest Neighbors",
        venue: "ICML 2022",
        url: "https://arxiv.org/abs/2204.06507",
    },
    formula: "-|z - z_(k)|^2, z = h / |h|, z_(k) the k-th nearest of the training set",
    needs: Needs::TRAIN_FEATURES,
    hyperparameters: &[K],
};

impl Score for Knn {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn check(&self, values: &Values, extent: Extent) -> Result<(), ScoreError> {
        require_enough(extent.train, values.whole(&K), "training pictures", "k")
    }

    fn fit(&self, values: &Values, reference: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        let k = values.whole(&K);
        let features = reference.train()?.features()?;
        self.check(values, Extent::of(features))?;
        let width = features.width();
        let train = unit(features);
        let bank = Bank::new(&train, width);
        fitted(move |observed| {
            let features = observed.features()?;
            same("width of the features", width, features.width())?;
            let queries = unit(features);
            let nearest = scan(
                [&bank],
                [&queries],
                || Largest::new(k),
                |largest, first, [products]| largest.see(first, products),
                |row, largest| {
                    let neighbour = largest.into_sorted()[k - 1].1;
                    let pairs = queries[row * width..][..width]
                        .iter()
                        .zip(&train[neighbour * width..]);
                    let squares = pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
                    squares.sum::<f64>()
                },
            );
            Ok(each_row(nearest.len(), |row| -nearest[row]))
        })
    }
}
