//! The best candidates of each group of a round.

use super::params::{Knn, SamplingParams, Side};

/// A candidate among the best of its group: the lower its score and then its place, the better.
#[derive(Clone, Copy)]
struct Found {
    score: f64,
    place: usize,
}

/// The best `keep` candidates of each group, best first. There are as many groups as anchors.
///
/// `Knn::Paper`: a group is an anchor, and a candidate's place in it the number of its noise vector.
/// `Knn::Upstream`: candidate number anchor * noise_per_round + noise is split by the number of anchors
/// instead.
pub(super) struct Best {
    kind: Side,
    knn: Knn,
    keep: usize,
    noise: usize,
    groups: Vec<Vec<Found>>,
    /// The cosine to the k-th nearest feature that a candidate of each group must beat.
    bounds: Vec<f64>,
}

impl Best {
    pub fn new(params: &SamplingParams, anchors: usize) -> Self {
        let worst = match params.kind {
            Side::Outlier => f64::INFINITY,
            Side::Inlier => f64::NEG_INFINITY,
        };
        Self {
            kind: params.kind,
            knn: params.knn,
            keep: params.keep,
            noise: params.noise_per_round,
            groups: vec![Vec::with_capacity(params.keep + 1); anchors],
            bounds: vec![worst; anchors],
        }
    }

    fn group_and_place(&self, anchor: usize, noise: usize) -> (usize, usize) {
        match self.knn {
            Knn::Paper => (anchor, noise),
            Knn::Upstream => {
                let candidate = anchor * self.noise + noise;
                (candidate % self.groups.len(), candidate / self.groups.len())
            }
        }
    }

    /// Calls `f` with the bounds of the groups that the candidates of a noise vector belong to, in the order
    /// of the anchors.
    pub fn with_bounds(&self, noise: usize, f: impl FnOnce(&[f64])) {
        match self.knn {
            Knn::Paper => f(&self.bounds),
            Knn::Upstream => {
                let group = |anchor| self.group_and_place(anchor, noise).0;
                let bounds: Vec<f64> = (0..self.groups.len()).map(|a| self.bounds[group(a)]).collect();
                f(&bounds);
            }
        }
    }

    /// Puts a candidate among the best of its group if it belongs there. The result is the same in every
    /// order of offers.
    pub fn offer(&mut self, anchor: usize, noise: usize, cosine: f64) {
        let (group, place) = self.group_and_place(anchor, noise);
        let score = match self.kind {
            Side::Outlier => cosine,
            Side::Inlier => -cosine,
        };
        // `group` is below the number of groups by construction.
        let found = &mut self.groups[group];
        let at = found.partition_point(|f| f.score < score || (f.score == score && f.place < place));
        found.insert(at, Found { score, place });
        found.truncate(self.keep);
        if let Some(worst) = found.get(self.keep - 1) {
            self.bounds[group] = match self.kind {
                Side::Outlier => worst.score,
                Side::Inlier => -worst.score,
            };
        }
    }

    /// The places of the best of each group, best first.
    pub fn places(&self) -> impl Iterator<Item = impl Iterator<Item = usize>> {
        self.groups
            .iter()
            .map(|group| group.iter().map(|found| found.place))
    }
}
