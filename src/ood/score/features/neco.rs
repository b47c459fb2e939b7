//! NECO: the share of the features that lies in the principal space.

use crate::ood::observed::{Rows, same};
use crate::ood::score::linear::{Eigen, covariance, mean, norm};
use crate::ood::score::softmax::maximum;
use crate::ood::score::{
    Card, Extent, Fitted, Hyperparameter, Needs, Paper, Range, Reference, Score, ScoreError, Values,
    each_row, fitted,
};

/// The norm of the standardised features' part in the space of the `dim` largest principal components, as a
/// share of their whole norm; times the largest logit for transformers.
///
/// A feature that is constant over the training set is not divided. Features at the training mean score 0.
#[derive(Clone, Copy, Debug)]
pub struct Neco;

const DIM: Hyperparameter = Hyperparameter {
    name: "dim",
    about: "number of principal components, at most as many as there are features",
    range: Range::Whole(1),
    default: 100.0,
    search: &[16.0, 32.0, 64.0, 100.0, 128.0, 256.0, 512.0, 768.0],
};
const MAX_LOGIT: Hyperparameter = Hyperparameter {
    name: "max_logit",
    about: "1: times the largest logit (the authors do so for ViT and Swin), 0: not",
    range: Range::Choice(2),
    default: 0.0,
    search: &[0.0, 1.0],
};

static CARD: Card = Card {
    name: "neco",
    paper: Paper {
        title: "NECO: NEural Collapse Based Out-of-distribution detection",
        venue: "ICLR 2024",
        url: "https://arxiv.org/abs/2310.06823",
    },
    formula: "|P x| / |x|, x the standardised h, P the `dim` largest principal components",
    needs: Needs::TRAIN_FEATURES,
    hyperparameters: &[DIM, MAX_LOGIT],
};

/// The features' mean and spread.
struct Standard {
    mean: Vec<f64>,
    scale: Vec<f64>,
}

impl Standard {
    fn of(features: Rows<'_>) -> Self {
        let mean = mean(features);
        let mut squares = vec![0.0; mean.len()];
        for row in features.iter() {
            for ((sum, x), mean) in squares.iter_mut().zip(row).zip(&mean) {
                *sum += (f64::from(*x) - mean).powi(2);
            }
        }
        // Less than the rounding of the mean is no spread.
        let scale = |(sum, mean): (&f64, &f64)| {
            let spread = (sum / features.len() as f64).sqrt();
            if spread > mean.abs() * 1e-12 { spread } else { 1.0 }
        };
        let scale = squares.iter().zip(&mean).map(scale).collect();
        Self { mean, scale }
    }

    fn write(&self, row: &[f32], out: &mut [f64]) {
        let own = self.mean.iter().zip(&self.scale);
        for ((out, x), (mean, scale)) in out.iter_mut().zip(row).zip(own) {
            *out = (f64::from(*x) - mean) / scale;
        }
    }
}

impl Score for Neco {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn check(&self, values: &Values, extent: Extent) -> Result<(), ScoreError> {
        extent.require_features(values.whole(&DIM), "dim")
    }

    fn fit(&self, values: &Values, reference: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        let (dim, with_logit) = (values.whole(&DIM), values.flag(&MAX_LOGIT));
        let features = reference.train()?.features()?;
        let width = features.width();
        self.check(values, Extent::of(features))?;
        let standard = Standard::of(features);
        let spread = covariance(features.len(), width, |row, out| {
            standard.write(features.row(row), out)
        });
        let components =
            Eigen::of("the standardised features' covariance", &spread, width)?.directions(0..dim);
        fitted(move |observed| {
            let features = observed.features()?;
            same("width of the features", width, features.width())?;
            let read = |row: usize, out: &mut [f64]| standard.write(features.row(row), out);
            let shares = components.map(features.len(), read, |_, whole, part| {
                norm(part) / norm(whole).max(f64::MIN_POSITIVE)
            });
            let logits = with_logit.then(|| observed.logits()).transpose()?;
            Ok(each_row(shares.len(), |row| {
                shares[row] * logits.map_or(1.0, |logits| maximum(logits.row(row)))
            }))
        })
    }
}
