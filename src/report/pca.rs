//! Principal components: the two directions along which vectors vary most, to draw them in a plane.
//!
//! Covariance and eigenvectors are faer's, in f64 and on one thread, so that the result does not depend on
//! the number of threads; a rule fixes the signs.

use faer::linalg::matmul::matmul;
use faer::{Accum, Col, Mat, Par, Side};
use rayon::prelude::*;

use super::ReportError;

/// Vectors that are held in f64 at a time.
const ROWS: usize = 1024;

/// A plane through the mean of a set of vectors.
#[derive(Clone, Debug, PartialEq)]
pub struct Basis {
    /// Mean of the vectors, `[m]`.
    pub mean: Vec<f64>,
    /// Two orthonormal directions, `[m]` each; the component of largest size is positive.
    pub axes: [Vec<f64>; 2],
    /// Share of the total variance along each direction, in 0..=1.
    pub explained: [f64; 2],
    /// `max |C v - lambda v| / lambda_1` of the two directions: how exact they are (below 1e-10 unless the
    /// spectrum is flat).
    pub residual: f64,
}

/// Returns the plane of largest variance of `vectors`, row after row of dimension `m`.
///
/// # Errors
/// When there are fewer than two vectors or two dimensions, the length is no multiple of `m`, or a number is
/// not finite.
pub fn pca2(vectors: &[f32], m: usize) -> Result<Basis, ReportError> {
    check(vectors, m, 2)?;
    let n = vectors.len() / m;
    let mut mean = vec![0.0_f64; m];
    for row in vectors.chunks_exact(m) {
        mean.iter_mut()
            .zip(row)
            .for_each(|(sum, v)| *sum += f64::from(*v));
    }
    mean.iter_mut().for_each(|sum| *sum /= n as f64);

    let covariance = covariance(vectors, &mean);
    let total: f64 = covariance.diagonal().column_vector().iter().sum();
    let eigen = covariance
        .self_adjoint_eigen(Side::Lower)
        .map_err(|_| ReportError::Eigenvectors)?;
    // In ascending order; there are at least two, as there are dimensions.
    let two = [m - 1, m - 2];
    let values = two.map(|i| eigen.S()[i]);
    let axes = two.map(|i| eigen.U().col(i).to_owned());
    let off = |axis: &Col<f64>, value: f64| (&covariance * axis - axis * faer::Scale(value)).norm_l2();
    let residual = off(&axes[0], values[0]).max(off(&axes[1], values[1]));
    // Vectors that are all equal vary along no direction.
    let share = |value: f64, whole: f64| if whole > 0.0 { value / whole } else { 0.0 };
    Ok(Basis {
        mean,
        axes: axes.map(|axis| with_sign(axis.iter().copied().collect())),
        explained: values.map(|value| share(value, total).clamp(0.0, 1.0)),
        residual: share(residual, values[0]),
    })
}

impl Basis {
    /// Returns the coordinates of `vectors` (row after row) in the plane, `[n, 2]`.
    ///
    /// # Errors
    /// When the length is no multiple of the basis' dimension or a number is not finite.
    pub fn project(&self, vectors: &[f32]) -> Result<Vec<[f32; 2]>, ReportError> {
        let m = self.mean.len();
        check(vectors, m, 0)?;
        let along = |row: &[f32], axis: &[f64]| -> f32 {
            let terms = row.iter().zip(&self.mean).zip(axis);
            terms
                .map(|((v, mean), a)| (f64::from(*v) - mean) * a)
                .sum::<f64>() as f32
        };
        let [first, second] = &self.axes;
        Ok(vectors
            .par_chunks_exact(m)
            .map(|row| [along(row, first), along(row, second)])
            .collect())
    }
}

fn check(vectors: &[f32], m: usize, least: usize) -> Result<(), ReportError> {
    if m < 2 || !vectors.len().is_multiple_of(m) || vectors.len() / m < least {
        return Err(ReportError::VectorShape {
            dimension: m,
            least,
            actual: vectors.len(),
        });
    }
    match vectors.iter().position(|v| !v.is_finite()) {
        Some(at) => Err(ReportError::NonFinite {
            row: at / m,
            column: at % m,
        }),
        None => Ok(()),
    }
}

/// Returns the sum over vectors of the outer product of the centred vector, `[m, m]`.
fn covariance(vectors: &[f32], mean: &[f64]) -> Mat<f64> {
    let m = mean.len();
    let mut sum = Mat::zeros(m, m);
    for rows in vectors.chunks(ROWS * m) {
        let centred = Mat::from_fn(rows.len() / m, m, |i, j| f64::from(rows[i * m + j]) - mean[j]);
        matmul(&mut sum, Accum::Add, centred.transpose(), &centred, 1.0, Par::Seq);
    }
    sum
}

/// Returns the vector or its opposite, so that its largest component is positive. Components within a
/// billionth of the largest count as equal, and the first of them decides: rounding cannot flip the picture.
fn with_sign(mut axis: Vec<f64>) -> Vec<f64> {
    let largest = axis.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    if axis
        .iter()
        .find(|v| v.abs() >= largest * (1.0 - 1e-9))
        .is_some_and(|v| *v < 0.0)
    {
        axis.iter_mut().for_each(|v| *v = -*v);
    }
    axis
}
