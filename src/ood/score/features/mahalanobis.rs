//! Mahalanobis distances: to classes (MDS), relative to all (RMDS), to all as one (SSD).

use crate::ood::observed::{Observed, Rows, same};
use crate::ood::score::linear::{Eigen, Matrix, class_means, covariance, dot, mean};
use crate::ood::score::{Card, Fitted, Needs, Paper, Reference, Score, ScoreError, Values, each_row};

/// The Mahalanobis distance to the nearest class mean under one covariance of all classes, squared and
/// negated.
///
/// A singular covariance (fewer pictures than features, features that are constant or depend on each other)
/// is inverted where it can be (pseudo-inverse: eigenvalues below width times `f64`'s rounding error of the
/// largest count as zero), so differences along the other directions do not count. A class without training
/// pictures is left out. OpenOOD gives NaN for it; pytorch-ood halves the distance, divides by n - 1 and adds
/// 1e-6 to the diagonal.
#[derive(Clone, Copy, Debug)]
pub struct Mds;

/// The Mahalanobis distance to the nearest class less the one to the mean of all training pictures under
/// their covariance.
///
/// Singular covariances and classes without pictures as in [`Mds`].
#[derive(Clone, Copy, Debug)]
pub struct Rmds;

/// The Mahalanobis distance to the mean of all training pictures, squared and negated: SSD with one cluster,
/// made for features trained by contrast. A singular covariance as in [`Mds`].
#[derive(Clone, Copy, Debug)]
pub struct Ssd;

static MDS: Card = Card {
    name: "mds",
    paper: Paper {
        title: "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks",
        venue: "NeurIPS 2018",
        url: "https://arxiv.org/abs/1807.03888",
    },
    formula: "-min_c (h - mu_c)' S^+ (h - mu_c), S the covariance within the classes",
    needs: Needs {
        labels: true,
        ..Needs::TRAIN_FEATURES
    },
    hyperparameters: &[],
};

static RMDS: Card = Card {
    name: "rmds",
    paper: Paper {
        title: "A Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection",
        venue: "2021 (arXiv)",
        url: "https://arxiv.org/abs/2106.09022",
    },
    formula: "(h - mu)' S_0^+ (h - mu) - min_c (h - mu_c)' S^+ (h - mu_c), S_0 the covariance of all",
    needs: Needs {
        labels: true,
        ..Needs::TRAIN_FEATURES
    },
    hyperparameters: &[],
};

static SSD: Card = Card {
    name: "ssd",
    paper: Paper {
        title: "SSD: A Unified Framework for Self-Supervised Outlier Detection",
        venue: "ICLR 2021",
        url: "https://arxiv.org/abs/2103.12051",
    },
    formula: "-(h - mu)' S_0^+ (h - mu), S_0 the covariance of all",
    needs: Needs::TRAIN_FEATURES,
    hyperparameters: &[],
};

/// A Gaussian that several centres share.
pub(in crate::ood::score) struct Gaussian {
    centre: Vec<f64>,
    whitening: Matrix,
    /// From the whitened space back, by the same matrix.
    turned: Matrix,
    /// The means, less the centre, in the whitened space; a column each.
    means: Matrix,
}

impl Gaussian {
    fn new(centre: Vec<f64>, covariance: &[f64], means: &[Vec<f64>]) -> Result<Self, ScoreError> {
        let width = centre.len();
        let eigen = Eigen::of("the features' covariance", covariance, width)?;
        let whitening = eigen.whitening();
        let read = |at: usize, out: &mut [f64]| {
            for ((out, mean), centre) in out.iter_mut().zip(&means[at]).zip(&centre) {
                *out = mean - centre;
            }
        };
        let means = whitening.map(means.len(), read, |_, _, white| white.to_vec());
        let turned = eigen.whitening_turned();
        Ok(Self {
            means: Matrix::new(turned.depth(), means.len(), |k, n| means[n][k]),
            centre,
            whitening,
            turned,
        })
    }

    /// One centre: the mean of `features`.
    fn of_all(features: Rows<'_>) -> Result<Self, ScoreError> {
        let centre = mean(features);
        let spread = covariance(features.len(), features.width(), |row, out| {
            less(features.row(row), &centre, out);
        });
        let means = vec![centre.clone()];
        Self::new(centre, &spread, &means)
    }

    /// A centre a class that has rows.
    pub(in crate::ood::score) fn of_classes(features: Rows<'_>, labels: &[u32]) -> Result<Self, ScoreError> {
        let means = class_means(features, labels, 0);
        let spread = covariance(features.len(), features.width(), |row, out| {
            // Every label has a row, so that its mean is there.
            if let Some(mean) = &means[labels[row] as usize] {
                less(features.row(row), mean, out);
            }
        });
        let means: Vec<Vec<f64>> = means.into_iter().flatten().collect();
        Self::new(mean(features), &spread, &means)
    }

    /// The squared distance to the nearest centre.
    pub(in crate::ood::score) fn nearest(&self, features: Rows<'_>) -> Result<Vec<f64>, ScoreError> {
        same("width of the features", self.centre.len(), features.width())?;
        let read = |row: usize, out: &mut [f64]| less(features.row(row), &self.centre, out);
        Ok(self.whitening.map(features.len(), read, |_, _, white| {
            match self.means.columns() {
                1 => dot(white, white), // the centre itself
                _ => self.means.distances(white).fold(f64::INFINITY, f64::min),
            }
        }))
    }
}

impl Gaussian {
    /// The gradient of half the squared distance to the nearest centre, row after row.
    pub(in crate::ood::score) fn slopes(&self, features: Rows<'_>) -> Result<Vec<f32>, ScoreError> {
        same("width of the features", self.centre.len(), features.width())?;
        let read = |row: usize, out: &mut [f64]| less(features.row(row), &self.centre, out);
        let away = self.whitening.map(features.len(), read, |_, _, white| {
            let distances = self.means.distances(white).enumerate();
            let nearest = distances.min_by(|a, b| a.1.total_cmp(&b.1));
            // There is a centre for every label, and a label for every row.
            let nearest = nearest.map_or(0, |(mean, _)| mean);
            let away = white.iter().zip(self.means.column(nearest));
            away.map(|(a, b)| a - b).collect::<Vec<f64>>()
        });
        let read = |row: usize, out: &mut [f64]| out.copy_from_slice(&away[row]);
        let slopes = self.turned.map(away.len(), read, |_, _, slope| {
            slope.iter().map(|s| *s as f32).collect::<Vec<f32>>()
        });
        Ok(slopes.concat())
    }
}

fn less(row: &[f32], mean: &[f64], out: &mut [f64]) {
    for ((out, x), mean) in out.iter_mut().zip(row).zip(mean) {
        *out = f64::from(*x) - mean;
    }
}

/// The distance to the nearest of some centres, less the one to a background where there is one.
struct Distance {
    near: Gaussian,
    background: Option<Gaussian>,
}

impl Fitted for Distance {
    fn score(&self, observed: &Observed<'_>) -> Result<Vec<f32>, ScoreError> {
        let near = self.near.nearest(observed.features()?)?;
        let background = self
            .background
            .as_ref()
            .map(|all| all.nearest(observed.features()?))
            .transpose()?;
        Ok(each_row(near.len(), |row| {
            background.as_ref().map_or(0.0, |all| all[row]) - near[row]
        }))
    }
}

impl Score for Mds {
    fn card(&self) -> &'static Card {
        &MDS
    }

    fn fit(&self, _: &Values, reference: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        let train = reference.train()?;
        let near = Gaussian::of_classes(train.features()?, train.labels()?)?;
        let background = None;
        Ok(Box::new(Distance { near, background }))
    }
}

impl Score for Rmds {
    fn card(&self) -> &'static Card {
        &RMDS
    }

    fn fit(&self, _: &Values, reference: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        let train = reference.train()?;
        let near = Gaussian::of_classes(train.features()?, train.labels()?)?;
        let background = Some(Gaussian::of_all(train.features()?)?);
        Ok(Box::new(Distance { near, background }))
    }
}

impl Score for Ssd {
    fn card(&self) -> &'static Card {
        &SSD
    }

    fn fit(&self, _: &Values, reference: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        let near = Gaussian::of_all(reference.train()?.features()?)?;
        let background = None;
        Ok(Box::new(Distance { near, background }))
    }
}
