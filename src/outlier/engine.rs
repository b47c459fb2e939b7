//! Rounds on an engine that has a search of its own: it is told of a class what decides which candidates are
//! kept, and the kept ones become vectors here, as those of the CPU's search do.

use rayon::prelude::*;

use super::error::OutlierError;
use super::geometry::{Features, squared_norm};
use super::params::{Knn, Sampled, Side};
use super::round::{anchors, moved};
use super::sample::Sampling;
use crate::engine::simd::product;
use crate::engine::{RoundSearch, Rounds};
use crate::rng::{Stream, domain};

/// The search for the class, where the engine has one.
pub(super) fn search(
    sampling: &Sampling<'_>,
    features: &Features,
    boundary: &[u32],
) -> Result<Option<Box<dyn RoundSearch>>, OutlierError> {
    let Sampling { params, class, .. } = *sampling;
    let rounds = || {
        let (n, m) = (features.n, features.m);
        let rim = boundary.iter().flat_map(|row| features.row(*row as usize));
        let rim: Vec<f32> = rim.copied().collect();
        let mut gram = vec![0.0; boundary.len() * n];
        product(&rim, &features.packed(), 0..n, &mut gram, n);
        Rounds {
            features: n,
            width: m,
            steps: features.unit.iter().map(|z| params.sigma * z).collect(),
            squares: rim.chunks_exact(m).map(squared_norm).collect(),
            boundary: boundary.to_vec(),
            gram,
            sigma: params.sigma,
            k: params.k,
            nearest: params.kind == Side::Inlier,
            noise: params.noise_per_round,
            anchors: params.anchors_per_round,
            keep: params.keep,
            mixed: params.knn == Knn::Upstream,
            key: noise(sampling, 0).key(),
            class,
        }
    };
    sampling
        .engine
        .rounds(&rounds)
        .map_err(|e| OutlierError::of_engine(class, &e))
}

/// All rounds of the class.
pub(super) fn sample(
    sampling: &Sampling<'_>,
    features: &Features,
    boundary: &[u32],
    search: &mut dyn RoundSearch,
) -> Result<Vec<Sampled>, OutlierError> {
    let Sampling {
        params, seed, class, ..
    } = *sampling;
    let rounds = params.rounds_needed();
    let mut sampled = Vec::with_capacity(rounds * params.anchors_per_round * params.keep);
    for first in (0..rounds).step_by(search.at_once()) {
        if (sampling.cancelled)() {
            return Err(OutlierError::Cancelled { class });
        }
        let together = first..rounds.min(first + search.at_once());
        let ranks: Vec<usize> = together
            .clone()
            .flat_map(|round| anchors(params, seed, class, round as u64))
            .collect();
        let words: Vec<u32> = ranks.iter().map(|rank| *rank as u32).collect();
        let kept = search
            .search(first as u32, &words)
            .map_err(|e| OutlierError::of_engine(class, &e))?;
        let of_round = params.anchors_per_round * params.keep;
        let vectors = kept.par_iter().enumerate().map(|(at, kept)| {
            let round = first + at / of_round;
            let group = at / params.keep;
            // As in the CPU's `collect`.
            let number = match params.knn {
                Knn::Upstream if params.keep == 1 => {
                    group / params.anchors_per_round * params.anchors_per_round
                }
                Knn::Paper | Knn::Upstream => group,
            };
            let anchor = boundary[ranks[number]];
            let start = kept.noise as usize * features.m;
            let e = noise(sampling, round as u64).normals_at(start..start + features.m);
            moved(params, features, [anchor, kept.kth], round as u32, &e)
        });
        sampled.par_extend(vectors);
        (sampling.progress)(together.len() as u64);
    }
    sampled.truncate(params.count());
    Ok(sampled)
}

/// The noise of a round.
fn noise(sampling: &Sampling<'_>, round: u64) -> Stream {
    Stream::new(sampling.seed, domain::SAMPLE_NOISE, sampling.class, round)
}
