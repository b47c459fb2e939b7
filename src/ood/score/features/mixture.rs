//! A mixture of Gaussians that share one covariance, fitted by expectation and maximisation.

use crate::ood::score::ScoreError;
use crate::ood::score::linear::{Eigen, covariance};
use crate::ood::score::softmax::log_sum_exp_of;
use rayon::prelude::*;

/// What is added to the diagonal of the covariance, as in scikit-learn.
const RIDGE: f64 = 1e-6;
/// The gain in mean log-likelihood below which the fit ends, as in scikit-learn.
const LEAST_GAIN: f64 = 1e-3;

/// The mixture in the space in which its covariance is the identity.
pub(super) struct Mixture {
    dim: usize,
    /// `[dim, white]`, row after row.
    whitening: Vec<f64>,
    /// The whitened means.
    means: Vec<Vec<f64>>,
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
        let row = |at: usize| &rows[at * dim..][..dim];
        let second = covariance(n, dim, |at, out| out.copy_from_slice(row(at)));
        let classes = labels.iter().max().map_or(0, |label| *label as usize + 1);
        let mut own = vec![vec![0.0; n]; classes];
        for (at, label) in labels.iter().enumerate() {
            own[*label as usize][at] = 1.0;
        }
        own.retain(|own| own.contains(&1.0));
        let mut mixture = Self::new(&parameters(rows, dim, &own, &second))?;
        let mut before = f64::NEG_INFINITY;
        for _ in 0..iterations {
            let densities: Vec<Vec<f64>> = (0..n)
                .into_par_iter()
                .map(|at| mixture.densities(row(at)))
                .collect();
            let totals: Vec<f64> = densities.par_iter().map(|row| log_sum_exp_of(row)).collect();
            let shares = |k: usize| -> Vec<f64> {
                densities
                    .iter()
                    .zip(&totals)
                    .map(|(row, total)| (row[k] - total).exp())
                    .collect()
            };
            let shares: Vec<Vec<f64>> = (0..own.len()).into_par_iter().map(shares).collect();
            mixture = Self::new(&parameters(rows, dim, &shares, &second))?;
            let now = totals.iter().sum::<f64>() / n as f64;
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
        let unit = |at: usize, out: &mut [f64]| out[at] = 1.0;
        let whitening = eigen.whitening().map(dim, unit, |_, _, row| row.to_vec());
        let mut mixture = Self {
            dim,
            whitening: whitening.concat(),
            means: Vec::new(),
            log_weights: of.weights.iter().map(|weight| weight.ln()).collect(),
            log_determinant,
        };
        mixture.means = of.means.iter().map(|mean| mixture.white(mean)).collect();
        Ok(mixture)
    }

    fn white(&self, row: &[f64]) -> Vec<f64> {
        let mut white = vec![0.0; self.whitening.len() / self.dim];
        for (x, directions) in row.iter().zip(self.whitening.chunks_exact(white.len())) {
            white
                .iter_mut()
                .zip(directions)
                .for_each(|(sum, d)| *sum += x * d);
        }
        white
    }

    /// The weighted log-density of each component, but for the constant of the dimensions.
    fn densities(&self, row: &[f64]) -> Vec<f64> {
        let white = self.white(row);
        let density = |(mean, log_weight): (&Vec<f64>, &f64)| {
            let squares = white.iter().zip(mean).map(|(a, b)| (a - b) * (a - b));
            log_weight - 0.5 * (squares.sum::<f64>() + self.log_determinant)
        };
        self.means.iter().zip(&self.log_weights).map(density).collect()
    }

    /// `ln sum_k w_k exp(-d_k^2 / 2)`, d the Mahalanobis distance.
    pub(super) fn score(&self, row: &[f64]) -> f64 {
        log_sum_exp_of(&self.densities(row)) + 0.5 * self.log_determinant
    }
}

/// What fits the rows best if `shares[k][i]` of row i belongs to component k. `second` is the rows' second
/// moment.
fn parameters(rows: &[f64], dim: usize, shares: &[Vec<f64>], second: &[f64]) -> Parameters {
    let n = rows.len() / dim;
    let component = |shares: &Vec<f64>| {
        let count = shares.iter().sum::<f64>() + 10.0 * f64::EPSILON;
        let mut mean = vec![0.0; dim];
        for (row, share) in rows.chunks_exact(dim).zip(shares) {
            mean.iter_mut().zip(row).for_each(|(sum, x)| *sum += share * x);
        }
        mean.iter_mut().for_each(|sum| *sum /= count);
        (count, mean)
    };
    let parts: Vec<(f64, Vec<f64>)> = shares.par_iter().map(component).collect();
    let total: f64 = parts.iter().map(|(count, _)| count).sum();
    let mut covariance: Vec<f64> = second.iter().map(|x| x * n as f64).collect();
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
