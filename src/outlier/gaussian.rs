//! Gaussian noise around the class embedding: the simplest alternative to k-NN sampling, which looks at no feature.

use super::boundary::kth_cosines;
use super::error::{OutlierError, require};
use super::geometry::{Features, distance, normalised};
use super::params::{Sampled, require_sigma};
use crate::rng::Stream;
use serde::{Deserialize, Serialize};

/// Parameters of [`gaussian`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GaussianParams {
    /// Vectors to make.
    pub count: usize,
    /// Standard deviation of the noise in every coordinate, relative to the length of the class embedding.
    pub sigma: f32,
    /// Neighbours of the k-NN distance that is reported.
    pub k: usize,
}

/// Returns `count` vectors normalise(T(y)/|T(y)| + sigma * e), e standard normal.
///
/// `embedding` is T(y), `[m]`; `features`, `[n, m]`, serve only to report each vector's k-NN distance and its nearest
/// feature, as `anchor`. The round is 0. Noise is `rng::Stream(seed, "sample/gaussian", class, index)`.
///
/// # Errors
/// Features that [`boundary`](super::boundary()) refuses, an embedding that is zero or not finite, a parameter outside its range.
pub fn gaussian(
    embedding: &[f32],
    features: &[f32],
    params: &GaussianParams,
    seed: u64,
    class: u32,
) -> Result<Vec<Sampled>, OutlierError> {
    let m = embedding.len();
    let features = Features::new(features, m, class)?;
    features.check_k(params.k, class)?;
    require_sigma(params.sigma)?;
    require(
        (1..=u32::MAX as usize).contains(&params.count),
        "count",
        "at least 1",
        params.count,
    )?;
    let usable = embedding.iter().all(|v| v.is_finite()) && embedding.iter().any(|v| *v != 0.0);
    require(
        usable,
        "the class embedding",
        "finite and not zero",
        "something else",
    )?;
    let centre = normalised(embedding.iter().map(|v| f64::from(*v)));
    let sigma = f64::from(params.sigma);
    let vectors: Vec<Vec<f32>> = (0..params.count as u64)
        .map(|index| {
            let noise = Stream::new(seed, "sample/gaussian", class, index).normals(m);
            let pairs = centre.iter().zip(&noise);
            normalised(pairs.map(|(c, e)| f64::from(*c) + sigma * f64::from(*e)))
        })
        .collect();
    let flat = vectors.concat();
    let cosines = kth_cosines(&flat, &features, params.k);
    let rows = vectors.into_iter().zip(cosines);
    Ok(rows
        .map(|(vector, cosine)| Sampled {
            anchor: features.nearest(&vector),
            vector,
            round: 0,
            knn_distance: distance(f64::from(cosine)),
        })
        .collect())
}
