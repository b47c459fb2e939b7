//! Unit vectors, products of them, and order statistics.

use super::error::OutlierError;
use gemm::Parallelism;

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

    /// Row `row` (below n).
    pub fn row(&self, row: usize) -> &[f32] {
        &self.unit[row * self.m..(row + 1) * self.m]
    }
}

/// Sum of squares in eight partial sums: a fixed order, which the compiler can still put into vector registers.
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

/// Vectors that a product is taken with.
#[derive(Clone, Copy)]
pub(super) struct Vectors<'a> {
    values: &'a [f32],
    count: usize,
    /// From one vector to the next, and from one coordinate to the next.
    steps: [usize; 2],
}

impl<'a> Vectors<'a> {
    /// `values` is `[count, m]`.
    pub fn rows(values: &'a [f32], m: usize) -> Self {
        Self {
            count: values.len() / m,
            values,
            steps: [m, 1],
        }
    }

    /// The columns `range` of `values`, `[m, stride]`: what a product reads fastest.
    pub fn columns(values: &'a [f32], stride: usize, range: std::ops::Range<usize>) -> Self {
        assert!(range.end <= stride);
        Self {
            count: range.len(),
            values: &values[range.start.min(values.len())..],
            steps: [1, stride],
        }
    }
}

/// Writes `scale * a b^T` to `out`: `a` is `[rows, m]`, `b` are vectors of length m, `out` is `[rows, stride]` of which the first
/// `b.count` columns are written. One thread: parallelism is over rounds, and the sum's order is then always the same.
pub(super) fn product(a: &[f32], m: usize, b: Vectors<'_>, scale: f32, out: &mut [f32], stride: usize) {
    let (rows, cols) = (a.len() / m, b.count);
    if rows == 0 || cols == 0 {
        return;
    }
    let [next, along] = b.steps;
    let last = (cols - 1) * next + (m - 1) * along;
    assert!(
        a.len() == rows * m
            && last < b.values.len()
            && cols <= stride
            && out.len() >= (rows - 1) * stride + cols
    );
    // SAFETY: the assertion above: every element that the strides reach lies within its slice, and `out` overlaps neither.
    unsafe {
        gemm::gemm(
            rows,
            cols,
            m,
            out.as_mut_ptr(),
            1,
            stride as isize,
            false,
            a.as_ptr(),
            1,
            m as isize,
            b.values.as_ptr(),
            next as isize,
            along as isize,
            0.0,
            scale,
            false,
            false,
            false,
            Parallelism::None,
        );
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
