//! A mixture of Gaussians that share one covariance, fitted by expectation and maximisation.

use crate::ood::score::ScoreError;
use crate::ood::score::linear::{Eigen, Matrix, covariance};
use crate::ood::score::softmax::log_sum_exp_of;

/// What is added to the diagonal of the covariance, as in scikit-learn.
const RIDGE: f64 = 1e-6;
/// The gain in mean log-likelihood below which the fit ends, as in scikit-learn.
const LEAST_GAIN: f64 = 1e-3;

/// The mixture in the space in which its covariance is the identity.
pub(super) struct Mixture {
    whitening: Matrix,
    /// The whitened means, a column each.
    means: Matrix,
    log_weights: Vec<f64>,
    log_determinant: f64,
}

/// Weights, means and covariance.
struct Parameters {
    weights: Vec<f64>,
    means: Vec<Vec<f64>>,
    /// `[dim, dim]`.
    covariance: Vec<f64>,
}

/// What a mixture is fitted to.
struct Rows {
    /// `[n, dim]`.
    matrix: Matrix,
    /// Their second moment, `[dim, dim]`.
    second: Vec<f64>,
}

impl Mixture {
    /// Fits one component a class to `rows` (`[n, dim]`), from the classes' own means, shares and covariance
    /// on, in at most `iterations` steps. A class without rows has no component.
    pub(super) fn fit(
        rows: &[f64],
        dim: usize,
        labels: &[u32],
        iterations: usize,
    ) -> Result<Self, ScoreError> {
        let n = labels.len();
        let of = Rows {
            matrix: Matrix::new(n, dim, |row, k| rows[row * dim + k]),
            second: covariance(n, dim, |at, out| out.copy_from_slice(&rows[at * dim..][..dim])),
        };
        let mut classes = labels.to_vec();
        classes.sort_unstable();
        classes.dedup();
        let own = |row: usize, k: usize| f64::from(u8::from(labels[row] == classes[k]));
        let mut mixture = Self::new(&of.parameters(&Matrix::new(n, classes.len(), own)))?;
        let mut before = f64::NEG_INFINITY;
        for _ in 0..iterations {
            // Of each row the shares that the components have in it, and its log-likelihood.
            let seen = mixture.each(rows, |mut shares| {
                let total = log_sum_exp_of(&shares);
                shares
                    .iter_mut()
                    .for_each(|share| *share = (*share - total).exp());
                (shares, total)
            });
            let shares = Matrix::new(n, classes.len(), |row, k| seen[row].0[k]);
            mixture = Self::new(&of.parameters(&shares))?;
            let now = seen.iter().map(|(_, total)| total).sum::<f64>() / n as f64;
            if (now - before).abs() < LEAST_GAIN {
                break;
            }
            before = now;
        }
        Ok(mixture)
    }

    fn new(of: &Parameters) -> Result<Self, ScoreError> {
        let dim = of.means.first().map_or(0, Vec::len);
        let eigen = Eigen::of("the mixture's covariance", &of.covariance, dim)?;
        let log_determinant = eigen
            .values
            .iter()
            .map(|value| value.max(f64::MIN_POSITIVE).ln())
            .sum();
        let whitening = eigen.whitening();
        let read = |at: usize, out: &mut [f64]| out.copy_from_slice(&of.means[at]);
        let means = whitening.map(of.means.len(), read, |_, _, white| white.to_vec());
        Ok(Self {
            means: Matrix::new(whitening.columns(), means.len(), |k, n| means[n][k]),
            whitening,
            log_weights: of.weights.iter().map(|weight| weight.ln()).collect(),
            log_determinant,
        })
    }

    /// What `finish` makes of each of `rows` by its weighted log-density in each component (but for the
    /// constant of the dimensions).
    fn each<T: Send>(&self, rows: &[f64], finish: impl Fn(Vec<f64>) -> T + Sync) -> Vec<T> {
        let dim = self.whitening.depth();
        let read = |row: usize, out: &mut [f64]| out.copy_from_slice(&rows[row * dim..][..dim]);
        self.whitening.map(rows.len() / dim, read, |_, _, white| {
            let distances = self.means.distances(white).zip(&self.log_weights);
            let density = |(squares, log_weight)| log_weight - 0.5 * (squares + self.log_determinant);
            finish(distances.map(density).collect())
        })
    }

    /// `ln sum_k w_k exp(-d_k^2 / 2)` of each of `rows`, d the Mahalanobis distance.
    pub(super) fn scores(&self, rows: &[f64]) -> Vec<f64> {
        self.each(rows, |densities| {
            log_sum_exp_of(&densities) + 0.5 * self.log_determinant
        })
    }
}

impl Rows {
    /// What fits the rows best if `shares` (`[n, components]`) of them belong to the components.
    fn parameters(&self, shares: &Matrix) -> Parameters {
        let (n, dim) = (self.matrix.depth(), self.matrix.columns());
        let sums = shares.turned_times(&self.matrix);
        let component = |(k, mut mean): (usize, Vec<f64>)| {
            let count = shares.column(k).sum::<f64>() + 10.0 * f64::EPSILON;
            mean.iter_mut().for_each(|sum| *sum /= count);
            (count, mean)
        };
        let parts: Vec<(f64, Vec<f64>)> = sums.into_iter().enumerate().map(component).collect();
        let total: f64 = parts.iter().map(|(count, _)| count).sum();
        let mut covariance: Vec<f64> = self.second.iter().map(|x| x * n as f64).collect();
        for (count, mean) in &parts {
            for (at, sum) in covariance.iter_mut().enumerate() {
                *sum -= count * mean[at / dim] * mean[at % dim];
            }
        }
        covariance.iter_mut().for_each(|sum| *sum /= total);
        (0..dim).for_each(|at| covariance[at * dim + at] += RIDGE);
        Parameters {
            weights: parts.iter().map(|(count, _)| count / total).collect(),
            means: parts.into_iter().map(|(_, mean)| mean).collect(),
            covariance,
        }
    }
}
