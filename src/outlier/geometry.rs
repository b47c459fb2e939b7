//! Unit vectors, their distances, and order statistics.

use super::error::OutlierError;
use crate::engine::simd::{Packed, vectorized};

/// The features of a class, normalised.
pub(super) struct Features {
    /// `[n, m]`, every row of length 1.
    pub unit: Vec<f32>,
    pub n: usize,
    pub m: usize,
}

impl Features {
    /// Normalises `features` (`[n, m]`) and checks that they can be told apart.
    pub fn new(features: &[f32], m: usize, class: u32) -> Result<Self, OutlierError> {
        if features.is_empty() {
            return Err(OutlierError::Empty { class });
        }
        if m == 0 || !features.len().is_multiple_of(m) {
            return Err(OutlierError::Shape {
                class,
                dimension: m,
                actual: features.len(),
            });
        }
        let n = features.len() / m;
        let mut unit = Vec::with_capacity(features.len());
        for (row, values) in features.chunks_exact(m).enumerate() {
            if !values.iter().all(|v| v.is_finite()) {
                return Err(OutlierError::NotFinite { class, row });
            }
            let norm = squared_norm(values).sqrt();
            if norm == 0.0 {
                return Err(OutlierError::Zero { class, row });
            }
            unit.extend(values.iter().map(|v| (f64::from(*v) / norm) as f32));
        }
        let first = unit.chunks_exact(m).next().unwrap_or_default();
        // Scaled copies of one row may differ in the last bit after normalising.
        let same = |row: &[f32]| row.iter().zip(first).all(|(a, b)| (a - b).abs() <= 1e-6);
        if unit.chunks_exact(m).all(same) {
            return Err(OutlierError::Duplicates { class, n });
        }
        Ok(Self { unit, n, m })
    }

    /// Checks that there are at least `k` features.
    pub fn check_k(&self, k: usize, class: u32) -> Result<(), OutlierError> {
        super::error::require(k >= 1, "k", "at least 1", k)?;
        match k <= self.n {
            true => Ok(()),
            false => Err(OutlierError::TooFewForK { class, n: self.n, k }),
        }
    }

    /// The features as the right side of a product: one a column.
    pub fn packed(&self) -> Packed {
        Packed::from_columns(self.m, self.n, |row| self.row(row))
    }

    /// Row `row` (below n).
    pub fn row(&self, row: usize) -> &[f32] {
        &self.unit[row * self.m..(row + 1) * self.m]
    }
}

/// Sum of squares in eight partial sums: a fixed order, which the compiler can still put into vector
/// registers.
pub(super) fn squared_norm(values: &[f32]) -> f64 {
    let (chunks, rest) = values.as_chunks::<8>();
    let mut sums = [0.0_f64; 8];
    for chunk in chunks {
        for (sum, v) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(*v) * f64::from(*v);
        }
    }
    let rest: f64 = rest.iter().map(|v| f64::from(*v) * f64::from(*v)).sum();
    sums.iter().sum::<f64>() + rest
}

vectorized! {
    /// Returns |a|^2 and a . b, in eight partial sums each.
    pub(super) fn square_and_dot(a: &[f32], b: &[f32]) -> (f32, f32) {
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
        let (mut squares, mut dots) = ([0.0_f32; 8], [0.0_f32; 8]);
        for (a, b) in a.iter().zip(b) {
            for lane in 0..8 {
                squares[lane] += a[lane] * a[lane];
                dots[lane] += a[lane] * b[lane];
            }
        }
        let mut sums = (squares.iter().sum(), dots.iter().sum());
        for (a, b) in a_rest.iter().zip(b_rest) {
            sums.0 += a * a;
            sums.1 += a * b;
        }
        sums
    }
}

/// The `k`-th largest of `values` (1 <= k <= len), which it reorders.
pub(super) fn kth_largest(values: &mut [f32], k: usize) -> f32 {
    *values.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1
}

/// Euclidean distance of two unit vectors with the dot product `cosine`.
pub(super) fn distance(cosine: f64) -> f32 {
    (2.0 - 2.0 * cosine).max(0.0).sqrt() as f32
}

/// Euclidean distance of two vectors of the same length, in eight partial sums.
pub(super) fn distance_between(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let square = |a: &f32, b: &f32| (f64::from(*a) - f64::from(*b)).powi(2);
    let mut sums = [0.0_f64; 8];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += square(a, b);
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| square(a, b)).sum();
    (sums.iter().sum::<f64>() + rest).sqrt() as f32
}

/// Returns `values` scaled to length 1; the zero vector stays.
pub(super) fn normalised(values: impl Iterator<Item = f64> + Clone) -> Vec<f32> {
    let norm = values.clone().map(|v| v * v).sum::<f64>().sqrt();
    let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
    values.map(|v| (v * scale) as f32).collect()
}
