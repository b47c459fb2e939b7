//! All rounds of a class, in parallel over rounds.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::boundary::boundary_of;
use super::engine;
use super::error::OutlierError;
use super::geometry::Features;
use super::params::{Sampled, SamplingParams};
use super::round::{Class, Scratch, anchors, check};
use crate::engine::Engine;
use crate::rng::{Stream, domain};

/// A class to be sampled.
#[derive(Clone, Copy)]
pub struct Sampling<'a> {
    /// The class's ID features, `[n, m]`, which are L2-normalised inside.
    pub features: &'a [f32],
    /// Their width.
    pub m: usize,
    /// How it is sampled.
    pub params: &'a SamplingParams,
    /// The seed of the run.
    pub seed: u64,
    /// The class's number.
    pub class: u32,
    /// Where rounds are searched. The result is the same bits wherever products are fused (`a * b + c`
    /// rounded once): on a GPU, and on CPUs that can.
    pub engine: &'a Engine,
    /// Called with the number of rounds that are done, from any thread.
    pub progress: &'a (dyn Fn(u64) + Sync),
    /// Asked before each round, or what the engine makes of several at once.
    pub cancelled: &'a (dyn Fn() -> bool + Sync),
}

/// Samples the outliers (or inliers) of a class: `params.count()` of them, by round, then boundary rank, then
/// best first.
///
/// The noise of round r is that of `rng::Stream(seed, domain::SAMPLE_NOISE, class, r)`, `[noise_per_round,
/// m]`; if a round uses only some of the boundary set, it draws them from "sample/anchors".
///
/// # Errors
/// Features that [`boundary`](super::boundary()) refuses, a parameter outside its range, an engine that
/// fails, or cancellation.
pub fn sample_class(sampling: &Sampling<'_>) -> Result<Vec<Sampled>, OutlierError> {
    let Sampling { params, class, .. } = *sampling;
    let features = Features::new(sampling.features, sampling.m, class)?;
    check(&features, params, class)?;
    let boundary = boundary_of(&features, params.k, params.select, params.kind, class)?;
    match engine::search(sampling, &features, &boundary)? {
        Some(mut search) => engine::sample(sampling, &features, &boundary, search.as_mut()),
        None => on_cpu(sampling, &features, boundary),
    }
}

fn on_cpu(
    sampling: &Sampling<'_>,
    features: &Features,
    boundary: Vec<u32>,
) -> Result<Vec<Sampled>, OutlierError> {
    let Sampling {
        params, seed, class, ..
    } = *sampling;
    let shared = Class::new(features, boundary, *params);
    // Buffers go from round to round, whichever thread makes it.
    let idle: Mutex<Vec<Scratch>> = Mutex::new(Vec::new());
    let pool = || idle.lock().unwrap_or_else(PoisonError::into_inner);
    let rounds: Result<Vec<Vec<Sampled>>, OutlierError> = (0..params.rounds_needed() as u32)
        .into_par_iter()
        .with_max_len(1)
        .map(|round| {
            if (sampling.cancelled)() {
                return Err(OutlierError::Cancelled { class });
            }
            let scratch = pool().pop();
            let mut scratch = scratch.unwrap_or_else(|| shared.scratch());
            let mut noise = Stream::new(seed, domain::SAMPLE_NOISE, class, u64::from(round));
            let ranks = anchors(params, seed, class, u64::from(round));
            let sampled = shared.round(&mut scratch, &mut |part| noise.fill_normal(part), &ranks, round);
            pool().push(scratch);
            (sampling.progress)(1);
            Ok(sampled)
        })
        .collect();
    let mut sampled: Vec<Sampled> = rounds?.into_iter().flatten().collect();
    sampled.truncate(params.count());
    Ok(sampled)
}
