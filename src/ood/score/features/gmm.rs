//! A Gaussian mixture of the features.

use super::mixture::Mixture;
use crate::ood::observed::{Rows, same};
use crate::ood::score::linear::{Eigen, covariance, mean};
use crate::ood::score::{
    Card, Extent, Fitted, Hyperparameter, Needs, Paper, Range, Reference, Score, ScoreError, Values,
    each_row, fitted,
};

/// The log-density of the features, reduced to their largest principal components, in a mixture of Gaussians
/// that share one covariance.
///
/// The mixture has a component a class and is fitted by expectation and maximisation from the classes' means
/// on, as scikit-learn's `GaussianMixture` would be. OpenOOD begins with k-means, adds 1e-45 before the
/// logarithm and takes as many components as it is told; pytorch-ood takes a covariance a class and does not
/// iterate.
#[derive(Clone, Copy, Debug)]
pub struct Gmm;

const DIM: Hyperparameter = Hyperparameter {
    name: "dim",
    about: "number of principal components, at most as many as there are features",
    range: Range::Whole(1),
    default: 50.0,
    search: &[10.0, 20.0, 50.0, 100.0],
};
const ITERATIONS: Hyperparameter = Hyperparameter {
    name: "iterations",
    about: "steps of the fit at most; 0: the classes' own Gaussians",
    range: Range::Whole(0),
    default: 100.0,
    search: &[0.0, 100.0],
};

static CARD: Card = Card {
    name: "gmm",
    paper: Paper {
        title: "Deep Deterministic Uncertainty: A New Simple Baseline",
        venue: "CVPR 2023",
        url: "https://arxiv.org/abs/2102.11582",
    },
    formula: "ln sum_k w_k exp(-d_k^2 / 2), d_k the Mahalanobis distance to component k",
    needs: Needs {
        labels: true,
        ..Needs::TRAIN_FEATURES
    },
    hyperparameters: &[DIM, ITERATIONS],
};

impl Score for Gmm {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn check(&self, values: &Values, extent: Extent) -> Result<(), ScoreError> {
        extent.require_features(values.whole(&DIM), "dim")
    }

    fn fit(&self, values: &Values, reference: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        let dim = values.whole(&DIM);
        let train = reference.train()?;
        let (features, labels) = (train.features()?, train.labels()?);
        let width = features.width();
        self.check(values, Extent::of(features))?;
        let mean = mean(features);
        let write = move |features: Rows<'_>, row: usize, out: &mut [f64]| {
            for ((out, x), mean) in out.iter_mut().zip(features.row(row)).zip(&mean) {
                *out = f64::from(*x) - mean;
            }
        };
        let spread = covariance(features.len(), width, |row, out| write(features, row, out));
        let components = Eigen::of("the features' covariance", &spread, width)?.directions(0..dim);
        let reduced = move |features: Rows<'_>| -> Vec<f64> {
            let read = |row: usize, out: &mut [f64]| write(features, row, out);
            let rows = components.map(features.len(), read, |_, _, part| part.to_vec());
            rows.concat()
        };
        let mixture = Mixture::fit(&reduced(features), dim, labels, values.whole(&ITERATIONS))?;
        fitted(move |observed| {
            let features = observed.features()?;
            same("width of the features", width, features.width())?;
            let rows = reduced(features);
            let scores = mixture.scores(&rows);
            Ok(each_row(scores.len(), |row| scores[row]))
        })
    }
}
