//! WeiPer: histograms of features and of logits under a perturbed last layer.

use super::histogram::{Bins, divergence};
use crate::engine::simd::{Packed, product};
use crate::ood::observed::{Head, Observed, Rows, same};
use crate::ood::score::{
    Card, Fitted, Hyperparameter, Needs, Paper, Range, Reference, Score, ScoreError, Values, each_row,
};
use crate::rng::{Stream, domain};
use rayon::prelude::*;

/// WeiPer+KLD: how far the histogram of a picture's features, and that of its logits under many perturbed
/// last layers, lie from the training set's mean histograms, less how sure those layers are on average.
///
/// Each row of the last layer is moved by `distance` times its own length in a random direction. The defaults
/// are those of the authors' function; the values that they publish differ by data set.
#[derive(Clone, Copy, Debug)]
pub struct Weiper;

const REPEATS: Hyperparameter = Hyperparameter {
    name: "repeats",
    about: "number of perturbed last layers",
    range: Range::Whole(1),
    default: 100.0,
    search: &[100.0],
};
const DISTANCE: Hyperparameter = Hyperparameter {
    name: "distance",
    about: "length of the noise on a row of the last layer, relative to the row's",
    range: Range::Positive,
    default: 2.1,
    search: &[1.8, 2.0, 2.2, 2.4],
};
const BINS: Hyperparameter = Hyperparameter {
    name: "bins",
    about: "bins of a histogram",
    range: Range::Whole(2),
    default: 100.0,
    search: &[60.0, 80.0, 100.0],
};
const SMOOTHING: Hyperparameter = Hyperparameter {
    name: "smoothing",
    about: "bins over which the features' histogram is averaged",
    range: Range::Whole(1),
    default: 20.0,
    search: &[4.0, 8.0, 12.0, 20.0, 40.0],
};
const SMOOTHING_PERTURBED: Hyperparameter = Hyperparameter {
    name: "smoothing_perturbed",
    about: "bins over which the perturbed logits' histogram is averaged",
    range: Range::Whole(1),
    default: 20.0,
    search: &[15.0, 25.0, 40.0],
};
const LAMBDA_1: Hyperparameter = Hyperparameter {
    name: "lambda_1",
    about: "how much the perturbed logits' histogram counts",
    range: Range::NotNegative,
    default: 1.0,
    search: &[0.1, 1.0, 2.5, 4.0],
};
const LAMBDA_2: Hyperparameter = Hyperparameter {
    name: "lambda_2",
    about: "how much the mean largest probability counts",
    range: Range::NotNegative,
    default: 1.0,
    search: &[0.1, 0.25, 1.0, 2.5, 5.0],
};
const SEED: Hyperparameter = Hyperparameter {
    name: "seed",
    about: "which noise",
    range: Range::Whole(0),
    default: 0.0,
    search: &[0.0],
};

static CARD: Card = Card {
    name: "weiper",
    paper: Paper {
        title: "WeiPer: OOD Detection using Weight Perturbations of Class Projections",
        venue: "NeurIPS 2024",
        url: "https://arxiv.org/abs/2405.17164",
    },
    formula: "-(D_h + lambda_1 D_w - lambda_2 mean_r max softmax(W_r h + b)), D the symmetric divergence \
              of a histogram from the training set's, of h and of all W_r h + b",
    needs: Needs {
        train: true,
        ..Needs::HEAD
    },
    hyperparameters: &[
        REPEATS,
        DISTANCE,
        BINS,
        SMOOTHING,
        SMOOTHING_PERTURBED,
        LAMBDA_1,
        LAMBDA_2,
        SEED,
    ],
};

/// What is added to each share of the features' histogram, and of the perturbed logits'.
const LEAST: [f64; 2] = [0.01, 0.025];
/// Pictures that one task works on.
const ROWS: usize = 48;

impl Score for Weiper {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn fit(&self, values: &Values, reference: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        let head = reference.train()?.head()?;
        let seed = values.whole(&SEED) as u64;
        let noisy = perturbed(head, values.whole(&REPEATS), values.get(&DISTANCE), seed);
        self.fit_perturbed(values, reference, &noisy)
    }
}

impl Weiper {
    /// Fits it with these perturbed weights, `[repeats * classes, width]`.
    pub(in crate::ood::score) fn fit_perturbed(
        &self,
        values: &Values,
        reference: &Reference<'_>,
        weight: &[f32],
    ) -> Result<Box<dyn Fitted>, ScoreError> {
        let train = reference.train()?;
        let (features, head) = (train.features()?, train.head()?);
        let width = features.width();
        let mut fitted = Perturbed {
            layer: Packed::from_columns(width, weight.len() / width, |row| &weight[row * width..][..width]),
            bias: head.bias.to_vec(),
            bins: [Bins::new(0.0, 0.0, 1); 2],
            means: [Vec::new(), Vec::new()],
            smoothing: [values.whole(&SMOOTHING), values.whole(&SMOOTHING_PERTURBED)],
            lambda_1: values.get(&LAMBDA_1),
            lambda_2: values.get(&LAMBDA_2),
        };
        let count = values.whole(&BINS);
        let ends = fitted.each(features, |_, logits| ends(logits));
        fitted.bins = [
            ends_of(features.iter().map(ends_of_row)),
            ends_of(ends.into_iter()),
        ]
        .map(|(low, high)| Bins::new(low, high, count));
        let shares = fitted.each(features, |row, logits| fitted.shares(features.row(row), logits));
        fitted.means = [0, 1].map(|kind| {
            let mut mean = vec![0.0; count];
            for shares in &shares {
                mean.iter_mut()
                    .zip(&shares[kind])
                    .for_each(|(sum, share)| *sum += share);
            }
            mean.iter_mut().for_each(|sum| *sum /= shares.len() as f64);
            mean
        });
        Ok(Box::new(fitted))
    }
}

/// The last layer's weights, `repeats` times, each row moved by `distance` times its length.
fn perturbed(head: Head<'_>, repeats: usize, distance: f64, seed: u64) -> Vec<f32> {
    let length = |row: &mut dyn Iterator<Item = f32>| row.map(|x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    let mut all = Vec::with_capacity(repeats * head.weight.values().len());
    for repeat in 0..repeats {
        for (class, row) in head.weight.iter().enumerate() {
            let mut stream = Stream::new(seed, domain::SCORE_WEIPER, class as u32, repeat as u64);
            let noise = stream.normals(row.len());
            let own = length(&mut row.iter().copied());
            let scale = distance * own / length(&mut noise.iter().copied()).max(f64::MIN_POSITIVE);
            let moved = row
                .iter()
                .zip(&noise)
                .map(|(w, x)| (f64::from(*w) + scale * f64::from(*x)) as f32);
            all.extend(moved);
        }
    }
    all
}

fn ends(values: &[f32]) -> (f32, f32) {
    let low = values.iter().copied().fold(f32::INFINITY, f32::min);
    (low, values.iter().copied().fold(f32::NEG_INFINITY, f32::max))
}

fn ends_of_row(row: &[f32]) -> (f32, f32) {
    ends(row)
}

fn ends_of(rows: impl Iterator<Item = (f32, f32)>) -> (f32, f32) {
    rows.fold(
        (f32::INFINITY, f32::NEG_INFINITY),
        |(low, high), (own_low, own_high)| (low.min(own_low), high.max(own_high)),
    )
}

/// The features first, the perturbed logits second.
struct Perturbed {
    layer: Packed,
    bias: Vec<f32>,
    bins: [Bins; 2],
    means: [Vec<f64>; 2],
    smoothing: [usize; 2],
    lambda_1: f64,
    lambda_2: f64,
}

impl Perturbed {
    /// What `see(row, logits)` makes of the perturbed logits of each row, `[repeats * classes]`.
    fn each<T: Send>(&self, features: Rows<'_>, see: impl Fn(usize, &[f32]) -> T + Sync) -> Vec<T> {
        let columns = self.layer.columns();
        let starts: Vec<usize> = (0..features.len()).step_by(ROWS).collect();
        let part = |first: usize| {
            let here = ROWS.min(features.len() - first);
            let left = &features.values()[first * features.width()..][..here * features.width()];
            let mut logits = vec![0.0; here * columns];
            product(left, &self.layer, 0..columns, &mut logits, columns);
            let row = |(row, logits): (usize, &mut [f32])| {
                for logits in logits.chunks_exact_mut(self.bias.len()) {
                    logits
                        .iter_mut()
                        .zip(&self.bias)
                        .for_each(|(f, b)| *f = (*f + b).clamp(f32::MIN, f32::MAX));
                }
                see(first + row, logits)
            };
            logits
                .chunks_exact_mut(columns)
                .enumerate()
                .map(row)
                .collect::<Vec<T>>()
        };
        let parts: Vec<Vec<T>> = starts.into_par_iter().map(part).collect();
        parts.into_iter().flatten().collect()
    }

    fn shares(&self, features: &[f32], logits: &[f32]) -> [Vec<f64>; 2] {
        [self.bins[0].shares(features), self.bins[1].shares(logits)]
    }

    /// The mean over the perturbed layers of the largest probability.
    fn confidence(&self, logits: &[f32]) -> f64 {
        let layers = logits.chunks_exact(self.bias.len());
        let count = layers.len() as f64;
        let largest = |f: &[f32]| {
            let max = f.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            f64::from(1.0 / f.iter().map(|x| (x - max).exp()).sum::<f32>())
        };
        layers.map(largest).sum::<f64>() / count
    }
}

impl Fitted for Perturbed {
    fn score(&self, observed: &Observed<'_>) -> Result<Vec<f32>, ScoreError> {
        let features = observed.features()?;
        same("width of the features", self.layer.depth(), features.width())?;
        let scores = self.each(features, |row, logits| {
            let shares = self.shares(features.row(row), logits);
            let apart = |kind: usize| {
                divergence(
                    &self.means[kind],
                    &shares[kind],
                    self.smoothing[kind],
                    LEAST[kind],
                )
            };
            self.lambda_2 * self.confidence(logits) - apart(0) - self.lambda_1 * apart(1)
        });
        Ok(each_row(scores.len(), |row| scores[row]))
    }
}
