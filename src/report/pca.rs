//! Principal components: the two directions along which vectors vary most, to draw them in a plane.
//!
//! The covariance is summed in f64 in a fixed order and its two leading eigenvectors are found by subspace iteration with
//! Rayleigh-Ritz (a block of eight, so that close eigenvalues do not slow it down). The result does not depend on the
//! number of threads, and a rule fixes the signs.

use rayon::prelude::*;

use super::ReportError;
use crate::rng::Stream;

const BLOCK: usize = 8;
const ROWS_A_TASK: usize = 32;
const TOLERANCE: f64 = 1e-11;
const ITERATIONS: usize = 1000;

/// A plane through the mean of a set of vectors.
#[derive(Clone, Debug, PartialEq)]
pub struct Basis {
    /// Mean of the vectors, `[m]`.
    pub mean: Vec<f64>,
    /// Two orthonormal directions, `[m]` each; the component of largest size is positive.
    pub axes: [Vec<f64>; 2],
    /// Share of the total variance along each direction, in 0..=1.
    pub explained: [f64; 2],
    /// `max |C v - lambda v| / lambda_1` of the two directions: how exact they are (below 1e-10 unless the spectrum is flat).
    pub residual: f64,
}

/// Returns the plane of largest variance of `vectors`, row after row of dimension `m`.
///
/// # Errors
/// When there are fewer than two vectors or two dimensions, the length is no multiple of `m`, or a number is not finite.
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

    let covariance = covariance(vectors, &mean); // [m, m]
    let total: f64 = (0..m).map(|i| covariance[i * m + i]).sum();
    let (values, axes, residual) = leading(&covariance, m);
    let share = |value: f64| {
        if total > 0.0 {
            (value / total).clamp(0.0, 1.0)
        } else {
            0.0
        }
    };
    Ok(Basis {
        mean,
        axes: axes.map(with_sign),
        explained: values.map(share),
        residual,
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

/// Returns the sum over vectors of the outer product of the centred vector, `[m, m]`. A task owns some rows of the result and
/// adds to them in the order of the vectors, four at a time so that a row is read and written a quarter as often.
fn covariance(vectors: &[f32], mean: &[f64]) -> Vec<f64> {
    let m = mean.len();
    let mut sum = vec![0.0_f64; m * m];
    sum.par_chunks_mut(ROWS_A_TASK * m)
        .enumerate()
        .for_each(|(task, rows)| {
            let mut centred = [(); 4].map(|()| vec![0.0_f64; m]);
            for four in vectors.chunks(4 * m) {
                let mut present = four.chunks_exact(m);
                for target in &mut centred {
                    match present.next() {
                        Some(vector) => {
                            let pairs = target.iter_mut().zip(vector).zip(mean);
                            pairs.for_each(|((c, v), mean)| *c = f64::from(*v) - mean);
                        }
                        None => target.fill(0.0),
                    }
                }
                let [a, b, c, d] = &centred;
                for (r, row) in rows.chunks_exact_mut(m).enumerate() {
                    let i = task * ROWS_A_TASK + r; // below m: `rows` lies inside the result
                    let (fa, fb, fc, fd) = (a[i], b[i], c[i], d[i]);
                    // The part above the diagonal; the rest follows by symmetry.
                    let terms = a[i..].iter().zip(&b[i..]).zip(&c[i..]).zip(&d[i..]);
                    for (s, (((a, b), c), d)) in row[i..].iter_mut().zip(terms) {
                        *s += (fa * a + fb * b) + (fc * c + fd * d);
                    }
                }
            }
        });
    for i in 0..m {
        for j in 0..i {
            sum[i * m + j] = sum[j * m + i];
        }
    }
    sum
}

/// Returns the two largest eigenvalues of a symmetric matrix, their vectors, and the relative residual.
fn leading(matrix: &[f64], m: usize) -> ([f64; 2], [Vec<f64>; 2], f64) {
    let block = BLOCK.min(m);
    let mut stream = Stream::new(0, "report/pca", 0, 0);
    let mut q: Vec<Vec<f64>> = (0..block).map(|_| random(&mut stream, m)).collect();
    orthonormalise(&mut q, &mut stream);
    let mut values = [0.0; 2];
    let mut residual = f64::INFINITY;
    for _ in 0..ITERATIONS {
        let y: Vec<Vec<f64>> = q
            .par_iter()
            .map(|v| matrix.chunks_exact(m).map(|row| dot(row, v)).collect())
            .collect();
        let small: Vec<Vec<f64>> = (0..block)
            .map(|i| {
                (0..block)
                    .map(|j| 0.5 * (dot(&q[i], &y[j]) + dot(&q[j], &y[i])))
                    .collect()
            })
            .collect();
        let (eigenvalues, rotation) = jacobi(small);
        q = rotate(&q, &rotation);
        let y = rotate(&y, &rotation);
        values = [eigenvalues[0], eigenvalues[1]]; // `block` is at least 2, as m is
        let off = |j: usize| {
            let error = y[j].iter().zip(&q[j]).map(|(y, q)| (y - values[j] * q).powi(2));
            error.sum::<f64>().sqrt()
        };
        if values[0] <= 0.0 {
            residual = 0.0; // all vectors are equal: any plane will do
            break;
        }
        residual = off(0).max(off(1)) / values[0];
        if residual <= TOLERANCE {
            break;
        }
        q = y;
        orthonormalise(&mut q, &mut stream);
    }
    let mut directions = q.into_iter();
    let axes = [
        directions.next().unwrap_or_default(),
        directions.next().unwrap_or_default(),
    ];
    (values, axes, residual)
}

fn random(stream: &mut Stream, m: usize) -> Vec<f64> {
    stream.normals(m).into_iter().map(f64::from).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Makes vectors orthonormal (Gram-Schmidt, twice for accuracy); one that depends on those before it is drawn anew.
fn orthonormalise(vectors: &mut [Vec<f64>], stream: &mut Stream) {
    for i in 0..vectors.len() {
        let (before, rest) = vectors.split_at_mut(i);
        let vector = &mut rest[0]; // i is below the length
        loop {
            let size = dot(vector, vector).sqrt();
            for _ in 0..2 {
                for other in before.iter() {
                    let along = dot(vector, other);
                    vector.iter_mut().zip(other).for_each(|(v, o)| *v -= along * o);
                }
            }
            let left = dot(vector, vector).sqrt();
            if left > size * 1e-12 && left > f64::MIN_POSITIVE {
                vector.iter_mut().for_each(|v| *v /= left);
                break;
            }
            *vector = random(stream, vector.len());
        }
    }
}

/// Returns the combinations `sum_i rotation[i][j] vectors[i]`.
fn rotate(vectors: &[Vec<f64>], rotation: &[Vec<f64>]) -> Vec<Vec<f64>> {
    (0..vectors.len())
        .map(|j| {
            let mut sum = vec![0.0; vectors[j].len()];
            for (vector, row) in vectors.iter().zip(rotation) {
                sum.iter_mut().zip(vector).for_each(|(s, v)| *s += row[j] * v);
            }
            sum
        })
        .collect()
}

/// Returns all eigenvalues of a small symmetric matrix, largest first, and the orthogonal matrix with their vectors as
/// columns (cyclic Jacobi rotations).
fn jacobi(mut a: Vec<Vec<f64>>) -> (Vec<f64>, Vec<Vec<f64>>) {
    let n = a.len();
    let mut v: Vec<Vec<f64>> = (0..n)
        .map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect())
        .collect();
    for _ in 0..60 {
        let off: f64 = (0..n)
            .flat_map(|i| (0..i).map(move |j| (i, j)))
            .map(|(i, j)| a[i][j].powi(2))
            .sum();
        let diagonal: f64 = (0..n).map(|i| a[i][i].powi(2)).sum();
        if off <= diagonal * 1e-32 {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                if a[p][q] == 0.0 {
                    continue;
                }
                let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
                let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let c = 1.0 / (t * t + 1.0).sqrt();
                let s = t * c;
                let turn = |x: f64, y: f64| (c * x - s * y, s * x + c * y);
                for row in a.iter_mut().chain(v.iter_mut()) {
                    (row[p], row[q]) = turn(row[p], row[q]);
                }
                let (above, below) = a.split_at_mut(q); // p lies above q
                for (x, y) in above[p].iter_mut().zip(below[0].iter_mut()) {
                    (*x, *y) = turn(*x, *y);
                }
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|i, j| a[*j][*j].total_cmp(&a[*i][*i]));
    let values = order.iter().map(|i| a[*i][*i]).collect();
    (
        values,
        v.iter()
            .map(|row| order.iter().map(|i| row[*i]).collect())
            .collect(),
    )
}

/// Returns the vector or its opposite, so that its largest component is positive. Components within a billionth of the
/// largest count as equal, and the first of them decides: rounding cannot flip the picture.
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
