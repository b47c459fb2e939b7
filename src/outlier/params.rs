//! The parameters of k-NN sampling, with the values of DREAM-OOD's two benchmarks, and the rows it gives.

use serde::{Deserialize, Serialize};

use super::error::{OutlierError, require, require_counts};
use crate::words::words;

words! {
    /// Which end of d_k is wanted.
    pub enum Side {
        /// The largest k-NN distance: DREAM-OOD.
        Outlier = "outlier",
        /// The smallest: DREAM-ID.
        Inlier = "inlier",
    }
}

words! {
    /// How the kept candidates are found among those of a round.
    pub enum Knn {
        /// The best candidates of each boundary feature, as the paper says.
        Paper = "paper",
        /// As DREAM-OOD's public code (commit fcb89c6, `KNN_dis_search_distance`) indexes: distances of
        /// candidates ordered [boundary feature, noise] are read as if they were ordered [noise, boundary
        /// feature], so that the kept ones are hardly further out than chance. Where `keep` is 1, as for its
        /// inliers, a squeezed dimension moreover makes it keep candidates of the round's first boundary
        /// feature only. For comparison.
        Upstream = "upstream",
    }
}

/// Writes an `f32` as the shortest decimal that means it (0.07), not as that number's `f64`
/// (0.07000000029802322): parameters are read by people, and a run is named by them.
pub(super) fn shortest<S: serde::Serializer>(value: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(value.to_string().parse().unwrap_or(f64::from(*value)))
}

/// Parameters of k-NN sampling.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplingParams {
    /// Outliers or inliers.
    pub kind: Side,
    /// Neighbours that the density looks at; the distance to the k-th counts.
    pub k: usize,
    /// Size of the boundary set.
    pub select: usize,
    /// Rounds of noise.
    pub rounds: usize,
    /// Noise vectors a round, shared by the boundary features.
    pub noise_per_round: usize,
    /// Boundary features used in a round: all if equal to `select`, otherwise drawn anew for each round.
    pub anchors_per_round: usize,
    /// Candidates kept of each boundary feature in a round.
    pub keep: usize,
    /// Standard deviation of the noise in every coordinate (not its variance).
    #[serde(serialize_with = "shortest")]
    pub sigma: f32,
    /// The paper's search or the public code's.
    pub knn: Knn,
    /// Stop at this many vectors; none means all that the rounds give.
    #[serde(default)]
    pub per_class: Option<usize>,
}

impl SamplingParams {
    /// The CIFAR-100 outliers of DREAM-OOD: 500 features a class, 10,000 outliers.
    pub const CIFAR100: Self = Self {
        kind: Side::Outlier,
        k: 300,
        select: 50,
        rounds: 100,
        noise_per_round: 1500,
        anchors_per_round: 50,
        keep: 2,
        sigma: 0.07,
        knn: Knn::Paper,
        per_class: None,
    };

    /// The ImageNet-100 outliers of DREAM-OOD: 1000 features a class, 10,000 outliers.
    pub const IMAGENET100: Self = Self {
        select: 200,
        sigma: 0.03,
        ..Self::CIFAR100
    };

    /// The ImageNet-100 inliers of DREAM-ID: all 1000 features are the boundary set, 100 of them a round.
    pub const IMAGENET100_INLIER: Self = Self {
        kind: Side::Inlier,
        select: 1000,
        anchors_per_round: 100,
        keep: 1,
        sigma: 0.01,
        ..Self::CIFAR100
    };

    /// Returns how many vectors a class gets.
    pub fn count(&self) -> usize {
        let all = self.rounds * self.anchors_per_round * self.keep;
        self.per_class.map_or(all, |wanted| wanted.min(all))
    }

    /// Returns how many rounds that takes.
    pub fn rounds_needed(&self) -> usize {
        self.count().div_ceil((self.anchors_per_round * self.keep).max(1))
    }

    /// Checks all that does not depend on the features.
    ///
    /// # Errors
    /// The first parameter outside its range.
    pub fn check(&self) -> Result<(), OutlierError> {
        require_counts(&[
            ("k", self.k),
            ("select", self.select),
            ("rounds", self.rounds),
            ("noise_per_round", self.noise_per_round),
            ("anchors_per_round", self.anchors_per_round),
            ("keep", self.keep),
            ("per_class", self.per_class.unwrap_or(1)),
        ])?;
        require_sigma(self.sigma)?;
        require(
            self.anchors_per_round <= self.select,
            "anchors_per_round",
            format!("at most select = {}", self.select),
            self.anchors_per_round,
        )?;
        require(
            self.keep <= self.noise_per_round,
            "keep",
            format!("at most noise_per_round = {}", self.noise_per_round),
            self.keep,
        )?;
        let sizes = [self.rounds, self.anchors_per_round, self.keep];
        let all = sizes.iter().try_fold(1_usize, |a, b| a.checked_mul(*b));
        let candidates = self.anchors_per_round.checked_mul(self.noise_per_round);
        require(
            all.zip(candidates)
                .is_some_and(|(a, b)| a.max(b) <= u32::MAX as usize),
            "rounds * anchors_per_round * keep, or anchors_per_round * noise_per_round",
            "below 2^32",
            "more",
        )?;
        let wanted = self.per_class.unwrap_or(1);
        require(
            self.count() >= wanted,
            "per_class",
            format!(
                "at most rounds * anchors_per_round * keep = {} (raise rounds)",
                self.count()
            ),
            wanted,
        )
    }
}

/// Checks a standard deviation of noise.
pub(super) fn require_sigma(sigma: f32) -> Result<(), OutlierError> {
    // At 1000 times the length of the feature in every coordinate, nothing of the feature is left in f32.
    require(
        sigma > 0.0 && sigma <= 1000.0,
        "sigma",
        "above 0 and at most 1000",
        sigma,
    )
}

/// One sampled vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampled {
    /// The vector, of length 1 (to be multiplied by |T(y)| before it is decoded).
    pub vector: Vec<f32>,
    /// Index, within the class, of the feature that it was made from.
    pub anchor: u32,
    /// The round it was made in.
    pub round: u32,
    /// Its Euclidean distance to the k-th nearest ID feature of the class.
    pub knn_distance: f32,
}
