//! Learning-rate schedules and the order of samples.

use crate::rng::Stream;

/// Returns the cosine-annealed rate of step `step` of `total`: `base` at step 0, `min` at `total` and after
/// (Loshchilov and Hutter 2017, Eq. 5, without restarts).
pub fn cosine(step: usize, total: usize, base: f64, min: f64) -> f64 {
    if step >= total {
        return min;
    }
    let turn = std::f64::consts::PI * step as f64 / total as f64;
    min + (base - min) * 0.5 * (1.0 + turn.cos())
}

/// Returns the order of `samples` samples in `epoch`: a permutation that (`seed`, `domain`, `epoch`) alone
/// decide. `domain` says whose order it is ("train/id", "train/outlier").
pub fn permutation(samples: usize, seed: u64, domain: &str, epoch: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..samples as u32).collect();
    Stream::new(seed, domain, 0, epoch).shuffle(&mut order);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_runs_from_base_to_min() {
        assert_eq!(cosine(0, 100, 0.1, 1e-6), 0.1);
        assert!((cosine(50, 100, 0.1, 0.0) - 0.05).abs() < 1e-12);
        assert_eq!(cosine(100, 100, 0.1, 1e-6), 1e-6);
        assert_eq!(cosine(0, 0, 0.1, 1e-6), 1e-6);
        assert!((1..100).all(|i| cosine(i, 100, 0.1, 1e-6) < cosine(i - 1, 100, 0.1, 1e-6)));
    }

    #[test]
    fn an_order_is_a_permutation_and_differs_by_epoch() {
        let first = permutation(1000, 1, "train", 0);
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<u32>>());
        assert_eq!(first, permutation(1000, 1, "train", 0));
        assert_ne!(first, permutation(1000, 1, "train", 1));
        assert_ne!(first, permutation(1000, 2, "train", 0));
    }
}
