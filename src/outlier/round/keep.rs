//! Candidates by themselves: the exact k-th neighbour of one, and the kept ones as vectors.

use super::super::best::Best;
use super::super::geometry::{Features, distance_between, kth_largest, normalised};
use super::super::params::{Knn, Sampled, SamplingParams};
use super::{Anchors, Class, Scratch};

impl Class<'_> {
    /// The candidate's k-th largest dot product with the features, of which d_k is a function.
    pub(super) fn cosine(
        &self,
        scratch: &mut Scratch,
        anchors: &Anchors<'_>,
        number: usize,
        noise: usize,
    ) -> f64 {
        let gram = &self.columns.gram[anchors.ranks[number] * self.columns.stride..][..self.features.n];
        let moved = &scratch.moved[noise * self.columns.stride..][..self.features.n];
        for ((raw, a), b) in scratch.raw.iter_mut().zip(gram).zip(moved) {
            *raw = a + b;
        }
        scratch.sorted.copy_from_slice(&scratch.raw);
        f64::from(kth_largest(&mut scratch.sorted, self.params.k))
            / self.norm(scratch, anchors, number, noise)
    }

    /// The kept candidates as vectors.
    pub(super) fn collect(
        &self,
        scratch: &mut Scratch,
        anchors: &Anchors<'_>,
        best: &Best,
        round: u32,
    ) -> Vec<Sampled> {
        if self.params.knn == Knn::Upstream {
            // It keeps candidates that were never looked at.
            let mut rows: Vec<u32> = best.places().flatten().map(|place| place as u32).collect();
            rows.sort_unstable();
            rows.dedup();
            self.complete(scratch, &rows, 0..self.features.n);
        }
        let mut sampled = Vec::with_capacity(anchors.ranks.len() * self.params.keep);
        for (group, places) in best.places().enumerate() {
            for place in places {
                // The public code takes candidate number `place` of all, not of the group, where it keeps one
                // of each.
                let number = match self.params.knn {
                    Knn::Upstream if self.params.keep == 1 => 0,
                    _ => group,
                };
                sampled.push(self.sampled(scratch, anchors, number, place, round));
            }
        }
        sampled
    }

    fn sampled(
        &self,
        scratch: &mut Scratch,
        anchors: &Anchors<'_>,
        number: usize,
        noise: usize,
        round: u32,
    ) -> Sampled {
        let kth = self.kth(scratch, anchors, number, noise);
        let anchor = self.boundary[anchors.ranks[number]];
        let m = self.features.m;
        let e = &scratch.noise[noise * m..][..m];
        moved(&self.params, self.features, [anchor, kth], round, e)
    }

    /// The candidate's k-th nearest feature by the products; the lowest among equals.
    fn kth(&self, scratch: &mut Scratch, anchors: &Anchors<'_>, number: usize, noise: usize) -> u32 {
        self.cosine(scratch, anchors, number, noise);
        let kth = scratch.sorted[self.params.k - 1];
        let columns = scratch.raw.iter().zip(&self.columns.order);
        let nearest = columns
            .filter(|(raw, _)| **raw == kth)
            .map(|(_, feature)| *feature);
        // `sorted` is `raw` in another order, so there is one.
        nearest.min().unwrap_or_default()
    }
}

/// The candidate of the feature `anchor` and the noise vector `e`. Which feature is its k-th nearest, `kth`,
/// the products say; how far that is, is computed from the vectors, so that it does not depend on how the
/// products were taken.
pub(in crate::outlier) fn moved(
    params: &SamplingParams,
    features: &Features,
    [anchor, kth]: [u32; 2],
    round: u32,
    e: &[f32],
) -> Sampled {
    let sigma = f64::from(params.sigma);
    let pairs = features.row(anchor as usize).iter().zip(e);
    let vector = normalised(pairs.map(|(b, e)| f64::from(*b) + sigma * f64::from(*e)));
    Sampled {
        knn_distance: distance_between(&vector, features.row(kth as usize)),
        vector,
        anchor,
        round,
    }
}
