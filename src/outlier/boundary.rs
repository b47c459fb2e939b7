//! k-NN distances and the boundary set.

use rayon::prelude::*;

use super::error::{OutlierError, require};
use super::geometry::{Features, distance_between, kth_largest, normalised};
use super::params::Side;
use crate::engine::simd::product;

/// Rows of queries taken at once: bounds the product's memory.
const BLOCK: usize = 256;

/// Returns the indices of the `select` features of a class with the largest distance to their `k`-th nearest
/// feature (each counts as its own first), furthest first; for inliers those with the smallest, nearest
/// first. `features` is `[n, m]` and is L2-normalised inside; equal distances go to the lower index. `class`
/// is for error messages.
///
/// # Errors
/// No features, a length that is no multiple of `m`, NaN or zero rows, one direction only, `k` or `select`
/// above n or zero.
pub fn boundary(
    features: &[f32],
    m: usize,
    k: usize,
    select: usize,
    kind: Side,
    class: u32,
) -> Result<Vec<u32>, OutlierError> {
    boundary_of(&Features::new(features, m, class)?, k, select, kind, class)
}

pub(super) fn boundary_of(
    features: &Features,
    k: usize,
    select: usize,
    kind: Side,
    class: u32,
) -> Result<Vec<u32>, OutlierError> {
    features.check_k(k, class)?;
    require(select >= 1, "select", "at least 1", select)?;
    if select > features.n {
        return Err(OutlierError::TooFewForSelect {
            class,
            n: features.n,
            select,
        });
    }
    let cosines = kth_cosines(&features.unit, features, k);
    let mut order: Vec<(f32, u32)> = cosines.into_iter().zip(0..).collect();
    order.sort_by(|a, b| {
        let far = match kind {
            Side::Outlier => a.0.total_cmp(&b.0),
            Side::Inlier => b.0.total_cmp(&a.0),
        };
        far.then(a.1.cmp(&b.1))
    });
    Ok(order.into_iter().take(select).map(|(_, row)| row).collect())
}

/// Returns the Euclidean distance of each of `queries` (`[q, m]`) to its `k`-th nearest feature (`[n, m]`),
/// all L2-normalised inside. `class` is for error messages.
///
/// # Errors
/// As [`boundary`]; the rows of `queries` are checked alike.
pub fn knn_distances(
    queries: &[f32],
    features: &[f32],
    m: usize,
    k: usize,
    class: u32,
) -> Result<Vec<f32>, OutlierError> {
    let features = Features::new(features, m, class)?;
    features.check_k(k, class)?;
    if !queries.len().is_multiple_of(m) {
        return Err(OutlierError::Shape {
            class,
            dimension: m,
            actual: queries.len(),
        });
    }
    let mut unit = Vec::with_capacity(queries.len());
    for (row, query) in queries.chunks_exact(m).enumerate() {
        if !query.iter().all(|v| v.is_finite()) {
            return Err(OutlierError::NotFinite { class, row });
        }
        if query.iter().all(|v| *v == 0.0) {
            return Err(OutlierError::Zero { class, row });
        }
        unit.extend(normalised(query.iter().map(|v| f64::from(*v))));
    }
    Ok(neighbours(&unit, &features, k)
        .into_iter()
        .map(|n| n.distance)
        .collect())
}

/// The `k`-th largest dot product of each feature with the features.
pub(super) fn kth_cosines(queries: &[f32], features: &Features, k: usize) -> Vec<f32> {
    search(queries, features, |dots, _| kth_largest(dots, k))
}

/// What the features are to a vector.
pub(super) struct Neighbours {
    /// Index of the nearest feature, the lowest among equals.
    pub nearest: u32,
    /// Distance to the k-th nearest. Which one that is, products say; how far it is, is computed from the
    /// vectors, so that it does not depend on what else was asked at once.
    pub distance: f32,
}

/// The neighbours of each unit query, `[q, m]`.
pub(super) fn neighbours(queries: &[f32], features: &Features, k: usize) -> Vec<Neighbours> {
    let distance = |dots: &mut [f32], query: &[f32]| {
        let first =
            |wanted: f32, dots: &[f32]| dots.iter().position(|dot| *dot == wanted).unwrap_or_default();
        let largest = dots.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let kth = kth_largest(&mut dots.to_vec(), k);
        Neighbours {
            nearest: first(largest, dots) as u32,
            distance: distance_between(query, features.row(first(kth, dots))),
        }
    };
    search(queries, features, distance)
}

/// Calls `of` with the dot products of each query with the features, and the query.
fn search<T: Send>(
    queries: &[f32],
    features: &Features,
    of: impl Fn(&mut [f32], &[f32]) -> T + Sync,
) -> Vec<T> {
    let (n, m) = (features.n, features.m);
    let packed = features.packed();
    // Blocks are the same however many threads there are, and so is the order of every sum.
    let blocks = queries.par_chunks(BLOCK * m).map(|block| {
        let mut dots = vec![0.0; block.len() / m * n]; // [block, n]
        product(block, &packed, 0..n, &mut dots, n);
        let rows = dots.chunks_exact_mut(n).zip(block.chunks_exact(m));
        rows.map(|(dots, query)| of(dots, query)).collect::<Vec<T>>()
    });
    blocks.flatten_iter().collect()
}
