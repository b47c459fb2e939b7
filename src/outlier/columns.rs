//! The features of a class as the columns of a round's product, in the order in which they decide soonest.

use super::count::LANES;
use super::geometry::{Features, square_and_dot};
use super::params::{SamplingParams, Side};
use crate::engine::simd::{Packed, product};

/// The boundary set leads the columns only where it is a small part of them: for outliers it consists of
/// those that decide last.
const SMALL_PART: usize = 4;

/// The features of a class in another order, and their dot products with the boundary set.
pub(super) struct Columns {
    /// The feature of each column.
    pub order: Vec<u32>,
    /// sigma * z_l by columns, `[m, n]`: what a noise vector's product with it moves the dot products by.
    pub steps: Packed,
    /// n rounded up to whole vector registers.
    pub stride: usize,
    /// b_i . z_l, `[select, stride]`; minus infinity beyond n, so that padding is never near anything.
    pub gram: Vec<f32>,
    /// The boundary set, all of which every round uses, stands first, by rank: the products with it are
    /// needed anyway.
    pub boundary_first: bool,
    /// The mean feature.
    pub mean: Vec<f32>,
    /// Its dot product with the mean boundary feature.
    pub likeness: f32,
}

impl Columns {
    /// Features that resemble the boundary set come first for outliers (k near ones put a candidate out),
    /// last for inliers.
    pub fn new(features: &Features, boundary: &[u32], params: &SamplingParams) -> Self {
        let (n, m) = (features.n, features.m);
        let rows = |rows: &[u32]| -> Vec<f32> {
            let rows = rows.iter().flat_map(|row| features.row(*row as usize));
            rows.copied().collect()
        };
        let anchors = rows(boundary);
        let (mean, rim) = (mean(&features.unit, m), mean(&anchors, m));
        let rows_of_features = features.unit.chunks_exact(m);
        let likeness: Vec<f32> = rows_of_features.map(|row| square_and_dot(row, &rim).1).collect();

        let boundary_first = params.anchors_per_round == boundary.len() && boundary.len() * SMALL_PART <= n;
        let mut order = Vec::with_capacity(n);
        let mut leads = vec![false; n];
        if boundary_first {
            order.extend_from_slice(boundary);
            boundary.iter().for_each(|row| leads[*row as usize] = true);
        }
        let mut others: Vec<(f32, u32)> = likeness.iter().copied().zip(0..).collect();
        others.retain(|(_, row)| !leads[*row as usize]);
        others.sort_unstable_by(|a, b| {
            let soonest = match params.kind {
                Side::Outlier => b.0.total_cmp(&a.0),
                Side::Inlier => a.0.total_cmp(&b.0),
            };
            soonest.then(a.1.cmp(&b.1))
        });
        order.extend(others.iter().map(|(_, row)| row));

        let stride = n.next_multiple_of(LANES);
        let column = |number: usize| features.row(order[number] as usize); // below n
        let mut gram = vec![f32::NEG_INFINITY; boundary.len() * stride];
        let vectors = Packed::from_columns(m, n, column);
        product(&anchors, &vectors, 0..n, &mut gram, stride);
        let steps = Packed::new(m, n, |at, number| params.sigma * column(number)[at]);
        Self {
            likeness: likeness.iter().sum::<f32>() / n as f32,
            order,
            steps,
            stride,
            gram,
            boundary_first,
            mean,
        }
    }
}

/// The mean of vectors `[count, m]`.
fn mean(vectors: &[f32], m: usize) -> Vec<f32> {
    let mut sums = vec![0.0_f64; m];
    for vector in vectors.chunks_exact(m) {
        for (sum, value) in sums.iter_mut().zip(vector) {
            *sum += f64::from(*value);
        }
    }
    let count = (vectors.len() / m) as f64;
    sums.into_iter().map(|sum| (sum / count) as f32).collect()
}
