//! The last layer over changed features.

use crate::ood::observed::{Head, Rows, same};
use crate::ood::score::linear::Matrix;
use crate::ood::score::softmax::log_sum_exp_of;
use crate::ood::score::{ScoreError, each_row};

/// The last layer, ready for products.
pub(super) struct Layer {
    matrix: Matrix,
    bias: Vec<f64>,
}

impl Layer {
    pub(super) fn new(head: Head<'_>) -> Self {
        Self::masked(head, |_, _| true)
    }

    /// With only those weights (class, feature) that `keep` keeps.
    pub(super) fn masked(head: Head<'_>, keep: impl Fn(usize, usize) -> bool) -> Self {
        let Head { weight, bias } = head;
        let at = |feature: usize, class: usize| match keep(class, feature) {
            true => f64::from(weight.row(class)[feature]),
            false => 0.0,
        };
        Self {
            matrix: Matrix::new(weight.width(), weight.len(), at),
            bias: bias.iter().map(|b| f64::from(*b)).collect(),
        }
    }

    /// The energy of each row of features, which `shape(row, out)` changes first.
    pub(super) fn energy(
        &self,
        features: Rows<'_>,
        shape: impl Fn(&[f32], &mut [f64]) + Sync,
    ) -> Result<Vec<f32>, ScoreError> {
        same("width of the features", self.matrix.depth(), features.width())?;
        let read = |row: usize, out: &mut [f64]| shape(features.row(row), out);
        let energies = self.matrix.map(features.len(), read, |_, _, product| {
            let logits: Vec<f64> = product.iter().zip(&self.bias).map(|(x, bias)| x + bias).collect();
            log_sum_exp_of(&logits)
        });
        Ok(each_row(energies.len(), |row| energies[row]))
    }
}

/// The number below which `percent` of `values` lie, between two of them by their distance, as NumPy's
/// `percentile`.
pub(super) fn percentile(mut values: Vec<f64>, percent: f64) -> f64 {
    let place = percent / 100.0 * (values.len() - 1) as f64;
    let below = (place.floor() as usize).min(values.len() - 1);
    let (_, low, above) = values.select_nth_unstable_by(below, f64::total_cmp);
    let low = *low;
    let high = above.iter().copied().fold(f64::INFINITY, f64::min);
    match high.is_finite() {
        true => low + (high - low) * place.fract(),
        false => low,
    }
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_lie_between_numbers() {
        let values = vec![4.0, 1.0, 3.0, 2.0];
        for (percent, expected) in [(0.0, 1.0), (50.0, 2.5), (90.0, 3.7), (100.0, 4.0)] {
            assert!((percentile(values.clone(), percent) - expected).abs() < 1e-12);
        }
        assert_eq!(percentile(vec![7.0], 90.0), 7.0);
    }
}
