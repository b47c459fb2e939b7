//! Features pushed out of their class in a random direction, just as far as it takes: outliers of a known
//! distance.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::boundary::kth_cosines;
use super::error::{OutlierError, require, require_counts};
use super::geometry::{Features, distance, kth_largest, normalised};
use super::params::{Sampled, shortest};
use crate::engine::simd::{Packed, product};
use crate::rng::{Stream, domain};

/// Directions tried for one vector before the distance is called out of reach.
const TRIES: usize = 16;
/// Bisections of the angle: pi/2 / 2^24 is below the resolution of the distance in f32.
const BISECTIONS: usize = 24;

/// Parameters of [`beyond`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BeyondParams {
    /// Vectors to make.
    pub count: usize,
    /// Neighbours that the density looks at.
    pub k: usize,
    /// The wanted k-NN distance as a multiple of the largest one among the class's own features; above 1 is
    /// outside.
    #[serde(serialize_with = "shortest")]
    pub overshoot: f32,
}

impl BeyondParams {
    /// As many vectors as DREAM-OOD samples, a tenth further out than the class's own rim.
    pub const DEFAULT: Self = Self {
        count: 10_000,
        k: 300,
        overshoot: 1.1,
    };

    /// Checks all that does not depend on the features.
    ///
    /// # Errors
    /// The first parameter outside its range.
    pub fn check(&self) -> Result<(), OutlierError> {
        require_counts(&[("count", self.count), ("k", self.k)])?;
        require(
            self.overshoot > 0.0 && self.overshoot <= 1e6,
            "overshoot",
            "above 0 and at most 1000000",
            self.overshoot,
        )
    }
}

/// Returns `count` vectors, each a random feature turned along the sphere towards a random direction until
/// its distance to the k-th nearest feature is `overshoot` times the largest k-NN distance within the class.
///
/// `features` is `[n, m]`. `anchor` is the feature that was turned, the round is 0. Random numbers are
/// `rng::Stream(seed, domain::SAMPLE_BEYOND, class, index)`.
///
/// # Errors
/// Features that [`boundary`](super::boundary()) refuses, a parameter outside its range, or a distance that
/// random directions do not reach (the class covers the sphere: lower `overshoot`).
pub fn beyond(
    features: &[f32],
    m: usize,
    params: &BeyondParams,
    seed: u64,
    class: u32,
) -> Result<Vec<Sampled>, OutlierError> {
    params.check()?;
    let features = Features::new(features, m, class)?;
    features.check_k(params.k, class)?;
    let cosines = kth_cosines(&features.unit, &features, params.k);
    let lowest = cosines.into_iter().fold(f32::INFINITY, f32::min);
    // A distance d is the cosine 1 - d^2/2.
    let reach = f64::from(params.overshoot) * f64::from(params.overshoot) * (1.0 - f64::from(lowest));
    let wanted = 1.0 - reach;
    let packed = features.packed();
    (0..params.count as u64)
        .into_par_iter()
        .map(|index| {
            let mut stream = Stream::new(seed, domain::SAMPLE_BEYOND, class, index);
            let anchor = stream.below(features.n as u32);
            let pushed =
                (0..TRIES).find_map(|_| push(&features, &packed, anchor, params.k, wanted, &mut stream));
            let (vector, cosine) = pushed.ok_or_else(|| OutlierError::Parameter {
                what: "overshoot",
                expected: format!("a distance within reach; class {class} leaves no room so far out"),
                actual: params.overshoot.to_string(),
            })?;
            Ok(Sampled {
                vector,
                anchor,
                round: 0,
                knn_distance: distance(cosine),
            })
        })
        .collect()
}

/// Turns a feature towards a fresh direction until its k-th cosine has fallen to `wanted`; none if a right
/// angle is too little.
fn push(
    features: &Features,
    packed: &Packed,
    anchor: u32,
    k: usize,
    wanted: f64,
    stream: &mut Stream,
) -> Option<(Vec<f32>, f64)> {
    let (n, m) = (features.n, features.m);
    let feature = features.row(anchor as usize);
    let noise = stream.normals(m);
    let along: f64 = noise
        .iter()
        .zip(feature)
        .map(|(e, z)| f64::from(*e) * f64::from(*z))
        .sum();
    // The part of the noise at a right angle to the feature.
    let pairs = noise.iter().zip(feature);
    let direction = normalised(pairs.map(|(e, z)| f64::from(*e) - along * f64::from(*z)));
    let mut dots = vec![0.0; 2 * n]; // [2, n]: of the feature, of the direction
    product(&[feature, &direction].concat(), packed, 0..n, &mut dots, n);
    let (near, far) = dots.split_at(n);
    let mut turned = vec![0.0; n];
    let mut cosine = |angle: f64| {
        let (sin, cos) = angle.sin_cos();
        for ((t, a), b) in turned.iter_mut().zip(near).zip(far) {
            *t = (cos * f64::from(*a) + sin * f64::from(*b)) as f32;
        }
        f64::from(kth_largest(&mut turned, k))
    };
    let (mut low, mut high) = (0.0, std::f64::consts::FRAC_PI_2);
    if cosine(high) > wanted {
        return None;
    }
    for _ in 0..BISECTIONS {
        let middle = 0.5 * (low + high);
        match cosine(middle) > wanted {
            true => low = middle,
            false => high = middle,
        }
    }
    let (sin, cos) = high.sin_cos();
    let pairs = feature.iter().zip(&direction);
    let vector = normalised(pairs.map(|(z, u)| cos * f64::from(*z) + sin * f64::from(*u)));
    let cosine = cosine(high);
    Some((vector, cosine))
}
