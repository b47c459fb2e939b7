//! All rounds of a class, in parallel over rounds.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::boundary::boundary_of;
use super::error::OutlierError;
use super::geometry::Features;
use super::params::{Sampled, SamplingParams};
use super::round::{Class, Scratch, check};
use crate::rng::{Stream, domain};

/// Samples the outliers (or inliers) of a class: `params.count()` of them, by round, then boundary rank, then
/// best first.
///
/// `features` is `[n, m]`, the class's ID features, which are L2-normalised inside. The noise of round r is
/// that of `rng::Stream(seed, domain::SAMPLE_NOISE, class, r)`, `[noise_per_round, m]`; if a round uses only
/// some of the boundary set, it draws them from "sample/anchors". `progress` is called with 1 after each
/// round, from any thread; `cancelled` is asked before each.
///
/// # Errors
/// Features that [`boundary`](super::boundary()) refuses, a parameter outside its range, or cancellation.
pub fn sample_class(
    features: &[f32],
    m: usize,
    params: &SamplingParams,
    seed: u64,
    class: u32,
    progress: &(dyn Fn(u64) + Sync),
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Sampled>, OutlierError> {
    let features = Features::new(features, m, class)?;
    check(&features, params, class)?;
    let boundary = boundary_of(&features, params.k, params.select, params.kind, class)?;
    let shared = Class::new(&features, boundary, *params);
    // Buffers go from round to round, whichever thread makes it.
    let idle: Mutex<Vec<Scratch>> = Mutex::new(Vec::new());
    let pool = || idle.lock().unwrap_or_else(PoisonError::into_inner);
    let rounds: Result<Vec<Vec<Sampled>>, OutlierError> = (0..params.rounds_needed() as u32)
        .into_par_iter()
        .with_max_len(1)
        .map(|round| {
            if cancelled() {
                return Err(OutlierError::Cancelled { class });
            }
            let scratch = pool().pop();
            let mut scratch = scratch.unwrap_or_else(|| shared.scratch());
            let mut noise = Stream::new(seed, domain::SAMPLE_NOISE, class, u64::from(round));
            let anchors = shared.anchors(seed, class, u64::from(round));
            let sampled = shared.round(&mut scratch, &mut |part| noise.fill_normal(part), &anchors, round);
            pool().push(scratch);
            progress(1);
            Ok(sampled)
        })
        .collect();
    let mut sampled: Vec<Sampled> = rounds?.into_iter().flatten().collect();
    sampled.truncate(params.count());
    Ok(sampled)
}
