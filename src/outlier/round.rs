//! One round: candidates of all anchors under shared noise, of which the best of each group are found exactly.

use super::count::{CountFn, LANES, ROWS, best};
use super::error::OutlierError;
use super::geometry::{Features, distance, kth_largest, normalised, product, squared_norm};
use super::params::{Kind, Knn, Sampled, SamplingParams};
use crate::rng::Stream;

/// All that the rounds of a class share.
pub(super) struct Class<'a> {
    pub features: &'a Features,
    /// Indices of the boundary features, by rank.
    pub boundary: Vec<u32>,
    pub params: SamplingParams,
    /// Columns of `gram` and of a round's products: n rounded up to whole vector registers.
    stride: usize,
    /// b_i . z_l, `[select, stride]`; minus infinity beyond n, so that padding is never near anything.
    gram: Vec<f32>,
    /// |b_i|^2 as rounded, `[select]`.
    squares: Vec<f64>,
    count: CountFn,
}

/// Buffers that a thread uses again in its next round.
pub(super) struct Scratch {
    /// e_j, `[noise_per_round, m]`.
    pub noise: Vec<f32>,
    /// sigma * e_j . z_l, `[noise_per_round rounded up to ROWS, stride]`, zero where nothing is written.
    moved: Vec<f32>,
    /// sigma^2 |e_j|^2, `[noise_per_round]`.
    squares: Vec<f64>,
    /// One candidate's dot products before division by its norm, `[n]`.
    raw: Vec<f32>,
}

/// A candidate among the best of its group: the lower its score and then its place, the better.
#[derive(Clone, Copy)]
struct Found {
    score: f64,
    place: usize,
}

impl<'a> Class<'a> {
    pub fn new(features: &'a Features, boundary: Vec<u32>, params: SamplingParams) -> Self {
        let (n, m) = (features.n, features.m);
        let stride = n.next_multiple_of(LANES);
        let anchors: Vec<f32> = boundary
            .iter()
            .flat_map(|row| features.row(*row as usize))
            .copied()
            .collect();
        let mut gram = vec![f32::NEG_INFINITY; boundary.len() * stride];
        product(&anchors, &features.unit, m, 1.0, &mut gram, stride);
        Self {
            features,
            squares: anchors.chunks_exact(m).map(squared_norm).collect(),
            boundary,
            params,
            stride,
            gram,
            count: best(),
        }
    }

    pub fn scratch(&self) -> Scratch {
        let rows = self.params.noise_per_round;
        Scratch {
            noise: vec![0.0; rows * self.features.m],
            moved: vec![0.0; rows.next_multiple_of(ROWS) * self.stride],
            squares: vec![0.0; rows],
            raw: vec![0.0; self.features.n],
        }
    }

    /// The ranks of the boundary features that `round` uses, in rank order: all, or a draw without replacement.
    pub fn anchors(&self, seed: u64, class: u32, round: u64) -> Vec<usize> {
        let mut ranks: Vec<usize> = (0..self.boundary.len()).collect();
        if self.params.anchors_per_round < ranks.len() {
            Stream::new(seed, "sample/anchors", class, round).shuffle(&mut ranks);
            ranks.truncate(self.params.anchors_per_round);
            ranks.sort_unstable();
        }
        ranks
    }

    /// Finds the best candidates under `scratch.noise`, and returns them by anchor, then best first.
    pub fn round(&self, scratch: &mut Scratch, anchors: &[usize], round: u32) -> Vec<Sampled> {
        let (features, sigma) = (self.features, self.params.sigma);
        product(
            &scratch.noise,
            &features.unit,
            features.m,
            sigma,
            &mut scratch.moved,
            self.stride,
        );
        let rows = scratch.noise.chunks_exact(features.m);
        for (square, row) in scratch.squares.iter_mut().zip(rows) {
            *square = f64::from(sigma) * f64::from(sigma) * squared_norm(row);
        }
        let groups = self.search(scratch, anchors);
        let mut sampled = Vec::with_capacity(anchors.len() * self.params.keep);
        for (group, found) in groups.iter().enumerate() {
            for Found { place, .. } in found {
                // Both readings agree on what is kept: noise vector `place` of anchor number `group`.
                sampled.push(self.sampled(scratch, anchors[group], *place, round));
            }
        }
        sampled
    }

    /// The best `keep` of each group, best first. `Knn::Paper`: group = anchor, place = noise vector.
    /// `Knn::Upstream`: candidate number anchor * noise_per_round + noise is split by the number of anchors instead.
    fn search(&self, scratch: &mut Scratch, anchors: &[usize]) -> Vec<Vec<Found>> {
        let noise = self.params.noise_per_round;
        let k = self.params.k as u32;
        let mut groups: Vec<Vec<Found>> = vec![Vec::with_capacity(self.params.keep + 1); anchors.len()];
        for first in (0..noise).step_by(ROWS) {
            for (number, anchor) in anchors.iter().enumerate() {
                let group_and_place = |row: usize| match self.params.knn {
                    Knn::Paper => (number, first + row),
                    Knn::Upstream => {
                        let candidate = number * noise + first + row;
                        (candidate % anchors.len(), candidate / anchors.len())
                    }
                };
                let mut thresholds = [f32::INFINITY; ROWS];
                let mut norms = [0.0; ROWS];
                let live = ROWS.min(noise - first);
                for row in 0..live {
                    norms[row] = self.norm(scratch, *anchor, first + row);
                    let (group, _) = group_and_place(row);
                    thresholds[row] = self.threshold(&groups[group], norms[row]);
                }
                let gram = &self.gram[anchor * self.stride..][..self.stride];
                let rows =
                    std::array::from_fn(|row| &scratch.moved[(first + row) * self.stride..][..self.stride]);
                let counts = (self.count)(gram, rows, thresholds);
                for row in 0..live {
                    // Strictly worse than the group's worst: see `threshold`.
                    let out = match self.params.kind {
                        Kind::Outlier => counts[row] >= k,
                        Kind::Inlier => counts[row] < k,
                    };
                    if !out {
                        let cosine = self.cosine(scratch, *anchor, first + row, norms[row]);
                        let (group, place) = group_and_place(row);
                        self.offer(&mut groups[group], cosine, place);
                    }
                }
            }
        }
        groups
    }

    /// A dot product that tells a candidate of norm `norm` from the worst kept one of its group. With the k-th largest raw
    /// product above it, an outlier candidate is strictly nearer than that one; with it at or below, an inlier candidate is
    /// strictly further. One step of f32 beyond the rounded bound makes that certain; the others are looked at exactly.
    fn threshold(&self, group: &[Found], norm: f64) -> f32 {
        match (self.params.kind, group.get(self.params.keep - 1)) {
            (Kind::Outlier, None) => f32::INFINITY,
            (Kind::Outlier, Some(worst)) => ((worst.score * norm) as f32).next_up(),
            (Kind::Inlier, None) => f32::NEG_INFINITY,
            (Kind::Inlier, Some(worst)) => ((-worst.score * norm) as f32).next_down(),
        }
    }

    /// Puts a candidate among the best of its group if it belongs there. The result is the same in every order of offers.
    fn offer(&self, group: &mut Vec<Found>, cosine: f64, place: usize) {
        let score = match self.params.kind {
            Kind::Outlier => cosine,
            Kind::Inlier => -cosine,
        };
        let at = group.partition_point(|f| f.score < score || (f.score == score && f.place < place));
        group.insert(at, Found { score, place });
        group.truncate(self.params.keep);
    }

    /// |b_i + sigma e_j|.
    fn norm(&self, scratch: &Scratch, anchor: usize, noise: usize) -> f64 {
        let dot = scratch.moved[noise * self.stride + self.boundary[anchor] as usize];
        let square = self.squares[anchor] + 2.0 * f64::from(dot) + scratch.squares[noise];
        // Zero only where the noise cancels the feature; the sum of squares may then round below zero.
        square.max(1e-12).sqrt()
    }

    /// The candidate's k-th largest dot product with the features, of which d_k is a function.
    fn cosine(&self, scratch: &mut Scratch, anchor: usize, noise: usize, norm: f64) -> f64 {
        let gram = &self.gram[anchor * self.stride..][..self.features.n];
        let moved = &scratch.moved[noise * self.stride..][..self.features.n];
        for ((raw, a), b) in scratch.raw.iter_mut().zip(gram).zip(moved) {
            *raw = a + b;
        }
        f64::from(kth_largest(&mut scratch.raw, self.params.k)) / norm
    }

    fn sampled(&self, scratch: &mut Scratch, anchor: usize, noise: usize, round: u32) -> Sampled {
        let norm = self.norm(scratch, anchor, noise);
        let knn_distance = distance(self.cosine(scratch, anchor, noise, norm));
        let index = self.boundary[anchor];
        let m = self.features.m;
        let sigma = f64::from(self.params.sigma);
        let noise = &scratch.noise[noise * m..(noise + 1) * m];
        let feature = self.features.row(index as usize);
        Sampled {
            vector: normalised(
                feature
                    .iter()
                    .zip(noise)
                    .map(|(b, e)| f64::from(*b) + sigma * f64::from(*e)),
            ),
            anchor: index,
            round,
            knn_distance,
        }
    }
}

/// Checks `params` against the features of a class.
pub(super) fn check(features: &Features, params: &SamplingParams, class: u32) -> Result<(), OutlierError> {
    params.check()?;
    features.check_k(params.k, class)
}
