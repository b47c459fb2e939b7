//! Normal deviates of a `rng::Stream`.

use crate::rng::Stream;

/// Fills `out` with the normal deviates of the stream (`seed`, `domain`, `class`, `index`).
pub(super) fn fill(seed: u64, domain: &str, class: u32, index: u64, out: &mut [f32]) {
    Stream::new(seed, domain, class, index).fill_normal(out);
}
