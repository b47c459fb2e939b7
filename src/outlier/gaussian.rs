//! Gaussian noise around the class embedding: the simplest alternative to k-NN sampling, which looks at no
//! feature.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::boundary::neighbours;
use super::error::{OutlierError, require_counts, require_direction};
use super::geometry::{Features, normalised};
use super::params::{Sampled, require_sigma, shortest};
use crate::rng::{Stream, domain};

/// Parameters of [`gaussian`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GaussianParams {
    /// Vectors to make.
    pub count: usize,
    /// Standard deviation of the noise in every coordinate, relative to the length of the class embedding.
    #[serde(serialize_with = "shortest")]
    pub sigma: f32,
    /// Neighbours of the k-NN distance that is reported.
    pub k: usize,
}

impl GaussianParams {
    /// As many vectors as DREAM-OOD samples, with the noise of its CIFAR-100 setting.
    pub const DEFAULT: Self = Self {
        count: 10_000,
        sigma: 0.07,
        k: 300,
    };

    /// Checks all that does not depend on the features.
    ///
    /// # Errors
    /// The first parameter outside its range.
    pub fn check(&self) -> Result<(), OutlierError> {
        require_counts(&[("count", self.count), ("k", self.k)])?;
        require_sigma(self.sigma)
    }
}

/// Returns `count` vectors normalise(T(y)/|T(y)| + sigma * e), e standard normal.
///
/// `embedding` is T(y), `[m]`; `features`, `[n, m]`, serve only to report each vector's k-NN distance and its
/// nearest feature, as `anchor`. The round is 0. Noise is `rng::Stream(seed, domain::SAMPLE_GAUSSIAN, class,
/// index)`.
///
/// # Errors
/// Features that [`boundary`](super::boundary()) refuses, an embedding that is zero or not finite, a
/// parameter outside its range.
pub fn gaussian(
    embedding: &[f32],
    features: &[f32],
    params: &GaussianParams,
    seed: u64,
    class: u32,
) -> Result<Vec<Sampled>, OutlierError> {
    params.check()?;
    let m = embedding.len();
    let features = Features::new(features, m, class)?;
    features.check_k(params.k, class)?;
    require_direction("the class embedding", embedding)?;
    let centre = normalised(embedding.iter().map(|v| f64::from(*v)));
    let sigma = f64::from(params.sigma);
    let vectors: Vec<Vec<f32>> = (0..params.count as u64)
        .into_par_iter()
        .map(|index| {
            let noise = Stream::new(seed, domain::SAMPLE_GAUSSIAN, class, index).normals(m);
            let pairs = centre.iter().zip(&noise);
            normalised(pairs.map(|(c, e)| f64::from(*c) + sigma * f64::from(*e)))
        })
        .collect();
    let flat = vectors.concat();
    let found = neighbours(&flat, &features, params.k);
    let rows = vectors.into_iter().zip(found);
    Ok(rows
        .map(|(vector, found)| Sampled {
            vector,
            anchor: found.nearest,
            round: 0,
            knn_distance: found.distance,
        })
        .collect())
}
