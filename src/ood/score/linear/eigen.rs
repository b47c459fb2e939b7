//! Eigenvectors, and what is made of them.

use super::matrix::{Matrix, dot};
use crate::ood::score::ScoreError;
use faer::{Mat, Side};

/// Eigenvalues and eigenvectors of a symmetric matrix, the largest first.
pub(in crate::ood::score) struct Eigen {
    /// In falling order; those that are zero but for rounding are zero.
    pub(in crate::ood::score) values: Vec<f64>,
    /// `[width, width]`, an eigenvector a row.
    vectors: Vec<f64>,
    width: usize,
}

impl Eigen {
    /// Returns those of `matrix`, `[width, width]`. An eigenvalue below `width` times the rounding error of
    /// the largest counts as zero, as in SciPy's `pinvh`.
    ///
    /// # Errors
    /// If they could not be found. `what` names the matrix.
    pub(in crate::ood::score) fn of(
        what: &'static str,
        matrix: &[f64],
        width: usize,
    ) -> Result<Self, ScoreError> {
        if matrix.iter().any(|value| !value.is_finite()) {
            return Err(ScoreError::Decomposition { what });
        }
        let matrix = Mat::from_fn(width, width, |i, j| matrix[i * width + j]);
        let eigen = matrix.self_adjoint_eigen(Side::Lower);
        let eigen = eigen.map_err(|_| ScoreError::Decomposition { what })?;
        let (vectors, values) = (eigen.U(), eigen.S().column_vector());
        let order = (0..width).rev(); // faer's are in rising order
        let largest = (0..width).map(|i| values[i].abs()).fold(0.0, f64::max);
        let floor = largest * width as f64 * f64::EPSILON;
        Ok(Self {
            values: order
                .clone()
                .map(|i| if values[i] > floor { values[i] } else { 0.0 })
                .collect(),
            vectors: order
                .flat_map(|i| (0..width).map(move |k| vectors[(k, i)]))
                .collect(),
            width,
        })
    }

    fn vector(&self, at: usize) -> &[f64] {
        &self.vectors[at * self.width..][..self.width]
    }

    /// The matrix that turns a row to its parts along the eigenvectors `range`.
    pub(in crate::ood::score) fn directions(&self, range: std::ops::Range<usize>) -> Matrix {
        Matrix::new(self.width, range.len(), |k, n| self.vector(range.start + n)[k])
    }

    /// The matrix B for which `|x B|^2` is `x M^+ x`, M^+ the pseudo-inverse.
    pub(in crate::ood::score) fn whitening(&self) -> Matrix {
        Matrix::new(self.width, self.rank(), |k, n| self.whitened(k, n))
    }

    /// That matrix, turned.
    pub(in crate::ood::score) fn whitening_turned(&self) -> Matrix {
        Matrix::new(self.rank(), self.width, |n, k| self.whitened(k, n))
    }

    /// Number of eigenvalues that are not zero; one at least.
    fn rank(&self) -> usize {
        let values = self.values.iter().filter(|value| **value > 0.0);
        values.count().max(1)
    }

    fn whitened(&self, k: usize, n: usize) -> f64 {
        match self.values[n] > 0.0 {
            true => self.vector(n)[k] / self.values[n].sqrt(),
            false => 0.0,
        }
    }
}

/// Returns the shortest `x` (`[width]`) for which `|weight x - right|` is least; `weight` is `[rows, width]`.
///
/// # Errors
/// If the singular values could not be found.
pub(in crate::ood::score) fn pseudo_inverse_times(
    weight: &[f64],
    width: usize,
    right: &[f64],
) -> Result<Vec<f64>, ScoreError> {
    let what = "the head's weight";
    let rows = right.len();
    let matrix = Mat::from_fn(rows, width, |i, j| weight[i * width + j]);
    let parts = matrix.thin_svd();
    let parts = parts.map_err(|_| ScoreError::Decomposition { what })?;
    let (left, values, turned) = (parts.U(), parts.S().column_vector(), parts.V());
    // NumPy's and SciPy's rule of what counts as zero.
    let floor =
        (0..values.nrows()).map(|i| values[i]).fold(0.0, f64::max) * rows.max(width) as f64 * f64::EPSILON;
    let mut x = vec![0.0; width];
    for i in (0..values.nrows()).filter(|i| values[*i] > floor) {
        let column: Vec<f64> = (0..rows).map(|row| left[(row, i)]).collect();
        let share = dot(&column, right) / values[i];
        x.iter_mut()
            .enumerate()
            .for_each(|(k, x)| *x += share * turned[(k, i)]);
    }
    Ok(x)
}
