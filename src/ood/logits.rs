//! Scores of logits. Sums run in `f64` in the order of the classes, so that a score depends on its own row
//! only.

use super::error::{OodError, check, check_logits};

/// Returns the maximum softmax probability of each row (Hendrycks and Gimpel, ICLR 2017).
///
/// `logits` is `[n, classes]`; the result has n values in (0, 1].
///
/// # Errors
/// Empty or NaN logits, or a length that is not a multiple of `classes`.
pub fn msp(logits: &[f32], classes: usize) -> Result<Vec<f32>, OodError> {
    check_logits(logits, classes)?;
    Ok(rows(logits, classes, |row| {
        let max = maximum(row);
        (1.0 / exp_sum(row, max, 1.0)) as f32
    }))
}

/// Returns the largest logit of each row (Hendrycks et al., ICML 2022). `logits` is `[n, classes]`.
///
/// # Errors
/// Empty or NaN logits, or a length that is not a multiple of `classes`.
pub fn max_logit(logits: &[f32], classes: usize) -> Result<Vec<f32>, OodError> {
    check_logits(logits, classes)?;
    Ok(rows(logits, classes, maximum))
}

/// Returns `temperature * logsumexp(logits / temperature)` of each row: the negative free energy of Liu et
/// al. (NeurIPS 2020), DREAM-OOD's E. `logits` is `[n, classes]`.
///
/// # Errors
/// Empty or NaN logits, a length that is not a multiple of `classes`, or a temperature that is not positive
/// and finite.
pub fn energy(logits: &[f32], classes: usize, temperature: f32) -> Result<Vec<f32>, OodError> {
    if !(temperature > 0.0 && temperature.is_finite()) {
        return Err(OodError::Range {
            what: "temperature",
            expected: "a positive number",
            actual: f64::from(temperature),
        });
    }
    check_logits(logits, classes)?;
    let temperature = f64::from(temperature);
    Ok(rows(logits, classes, |row| {
        let max = maximum(row);
        if max.is_infinite() {
            return max;
        }
        (f64::from(max) + temperature * exp_sum(row, max, temperature).ln()) as f32
    }))
}

/// The classifier phi of DREAM-OOD's Eq. 8, from the energy to the log-odds of being ID.
///
/// Both shapes end in two outputs (OOD, ID); what counts is their difference. Weights are in PyTorch's order.
#[derive(Clone, Debug, PartialEq)]
pub enum Phi {
    /// `Linear(1, 2)`: log-odds = slope * E + intercept. A slope below zero turns the score upside down.
    Linear {
        /// Weight of the ID output less that of the OOD output.
        slope: f32,
        /// Bias of the ID output less that of the OOD output.
        intercept: f32,
    },
    /// `Linear(1, hidden)`, ReLU, `Linear(hidden, 2)`.
    TwoLayer {
        /// First weight, `[hidden]` (PyTorch's `[hidden, 1]`).
        weight1: Vec<f32>,
        /// First bias, `[hidden]`.
        bias1: Vec<f32>,
        /// Second weight, `[2, hidden]`, the row of OOD first.
        weight2: Vec<f32>,
        /// Second bias, (OOD, ID).
        bias2: [f32; 2],
    },
}

impl Phi {
    /// Returns the linear phi with the `weight` (`[2, 1]`) and `bias` (`[2]`) of a `Linear(1, 2)`, OOD first.
    pub fn linear(weight: [f32; 2], bias: [f32; 2]) -> Self {
        Self::Linear {
            slope: weight[1] - weight[0],
            intercept: bias[1] - bias[0],
        }
    }

    /// The log-odds of being ID at `energy`; natural logarithm. The weights have been checked.
    fn log_odds(&self, energy: f32) -> f32 {
        let energy = f64::from(energy);
        match self {
            Self::Linear { slope, intercept } => (f64::from(*slope) * energy + f64::from(*intercept)) as f32,
            Self::TwoLayer {
                weight1,
                bias1,
                weight2,
                bias2,
            } => {
                let (ood, id) = weight2.split_at(weight2.len() / 2);
                let start = f64::from(bias2[1]) - f64::from(bias2[0]);
                let first = weight1.iter().zip(bias1);
                first
                    .zip(ood.iter().zip(id))
                    .fold(start, |sum, ((w, b), (ood, id))| {
                        let hidden = (f64::from(*w) * energy + f64::from(*b)).max(0.0);
                        sum + (f64::from(*id) - f64::from(*ood)) * hidden
                    }) as f32
            }
        }
    }

    fn check(&self) -> Result<(), OodError> {
        let length = |what, actual: usize, expected: usize| {
            (actual == expected)
                .then_some(())
                .ok_or_else(|| OodError::Length {
                    what,
                    expected: expected.to_string(),
                    actual,
                })
        };
        match self {
            Self::Linear { slope, intercept } => check("phi's weights", &[*slope, *intercept]),
            Self::TwoLayer {
                weight1,
                bias1,
                weight2,
                bias2,
            } => {
                check("phi's first weight", weight1)?;
                length("phi's first bias", bias1.len(), weight1.len())?;
                length("phi's second weight", weight2.len(), 2 * weight1.len())?;
                check("phi's first bias", bias1)?;
                check("phi's second weight", weight2)?;
                check("phi's second bias", bias2)
            }
        }
    }
}

/// Returns the log-odds of each image not being in the class of outliers, of the logits of the classes and of
/// its own: `logsumexp(f_1 .. f_K) - f_{K+1}`, which orders images as the softmax of that class does (Chen et
/// al., "ATOM", 2021) without being cut to 0 or 1.
///
/// # Errors
/// As [`energy`]; not a logit of outliers an image, or one that is NaN.
pub fn extra_class(logits: &[f32], classes: usize, outlier_logits: &[f32]) -> Result<Vec<f32>, OodError> {
    check("logits of the class of outliers", outlier_logits)?;
    let energies = energy(logits, classes, 1.0)?;
    if energies.len() != outlier_logits.len() {
        return Err(OodError::Length {
            what: "logits of the class of outliers",
            expected: format!("{}, one an image", energies.len()),
            actual: outlier_logits.len(),
        });
    }
    let pairs = energies.iter().zip(outlier_logits);
    Ok(pairs.map(|(energy, outlier)| energy - outlier).collect())
}

/// Returns DREAM-OOD's score phi(E) of each energy: the log-odds of being ID under `phi` (Eq. 8).
///
/// # Errors
/// Empty or NaN energies; weights that are NaN or do not fit each other.
pub fn phi(energies: &[f32], phi: &Phi) -> Result<Vec<f32>, OodError> {
    check("energies", energies)?;
    phi.check()?;
    Ok(energies.iter().map(|e| phi.log_odds(*e)).collect())
}

fn rows(logits: &[f32], classes: usize, score: impl Fn(&[f32]) -> f32) -> Vec<f32> {
    logits.chunks_exact(classes).map(score).collect()
}

fn maximum(row: &[f32]) -> f32 {
    row.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

/// Sum of `exp((x - max) / temperature)`; a row of one value repeated, were it infinite, counts each as its
/// maximum.
fn exp_sum(row: &[f32], max: f32, temperature: f64) -> f64 {
    row.iter()
        .map(|x| match *x == max {
            true => 1.0,
            false => ((f64::from(*x) - f64::from(max)) / temperature).exp(),
        })
        .sum()
}
