//! Rounds of noise around the boundary features of a class, as `outlier` asks an engine for the best of their
//! candidates. What is meant by it all is said there.

use candle_core::Result;

/// A class, and what is looked for in its rounds.
///
/// Candidate `(anchor, j)` is a boundary feature b moved by the noise vector e_j; its products with the
/// features z are those of b plus `sigma e_j . z`, divided by `sqrt(|b|^2 + 2 sigma e_j . b + sigma^2
/// |e_j|^2)`, and its score is the k-th largest. The noise of round r is that of the stream (`key`, `class`,
/// r).
#[derive(Clone, Debug)]
#[cfg_attr(
    not(any(feature = "cuda", test)),
    expect(dead_code, reason = "only GPUs have a search of their own")
)]
pub(crate) struct Rounds {
    /// Features n, and the width m of each.
    pub features: usize,
    pub width: usize,
    /// sigma * z, `[n, m]`.
    pub steps: Vec<f32>,
    /// The boundary features, as numbers of features.
    pub boundary: Vec<u32>,
    /// Their products with all features, `[boundary, n]`, and their squares.
    pub gram: Vec<f32>,
    pub squares: Vec<f64>,
    pub sigma: f32,
    pub k: usize,
    /// Whether the nearest are looked for, and not the furthest.
    pub nearest: bool,
    /// Noise vectors of a round, boundary features in it, and candidates kept of each.
    pub noise: usize,
    pub anchors: usize,
    pub keep: usize,
    /// Whether candidates are grouped as `Knn::Upstream` does.
    pub mixed: bool,
    pub key: [u32; 2],
    pub class: u32,
}

/// A candidate that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Its noise vector.
    pub noise: u32,
    /// Its k-th nearest feature, the lowest among equals.
    pub kth: u32,
}

/// An engine ready to search the rounds of a class.
pub(crate) trait RoundSearch {
    /// How many rounds it takes at once.
    fn at_once(&self) -> usize;

    /// Searches the rounds from `first` on: as many as `ranks`, `[rounds, anchors]`, has of boundary features
    /// by their places in `boundary`. Returns what is kept, `[rounds, anchors, keep]`, best first.
    fn search(&mut self, first: u32, ranks: &[u32]) -> Result<Vec<Kept>>;
}
