//! Outlier embeddings: vectors at the rim of a class in the text-conditioned latent space (DREAM-OOD, Sec.
//! 3.2), and the inlier embeddings of DREAM-ID.
//!
//! A class is its L2-normalised ID features z_1..z_n in R^m. d_k(z) is the Euclidean distance from z to its
//! k-th nearest feature; a feature counts as its own first neighbour. The `select` features with the largest
//! d_k are the boundary set. In a round, every chosen boundary feature b_i is moved by the same noise vectors
//! e_j to v_ij = normalise(b_i + sigma * e_j), and of each b_i the `keep` candidates with the largest d_k
//! stay. For inliers it is the smallest d_k both times.
//!
//! The search is exact, yet costs at most one matrix product a round instead of one a boundary feature,
//! because v_ij . z_l = (b_i . z_l + sigma * e_j . z_l) / |b_i + sigma * e_j| and the noise is shared. Of
//! 1500 candidates only two are wanted, so that a candidate is mostly dismissed by *counting* the features
//! nearer than the current cut-off, with no sort, and before the product with all the features is there
//! (`round/`, `columns.rs`, `count.rs`).
//!
//! What it is compared with: noise around the class embedding ([`gaussian()`]), features pushed out of the
//! class in a random direction ([`beyond()`]), and features moved across the classifier's decision boundary
//! ([`crossing()`]).
//!
//! **Rounding.** Dot products are `f32` sums of unit vectors, right to about 1e-6 once squared distances:
//! candidates and features whose squared distances differ by less may be taken for one another; where noise
//! nearly cancels the feature, by less than that times (1 + sigma |e_j|) / |b_i + sigma e_j|, which in
//! hundreds of dimensions is below 2. The distance that is reported is computed in `f64` from the vector that
//! is returned. **Speed.** On two cores of a Zen 3 processor (`benches/sampling.rs` under `perf`) half of a
//! round of CIFAR-100's shape is the inner loop of the matrix product, at about 80 of the 100 GFLOP/s of
//! fused multiply-adds that a core does at most; an eighth draws the noise, a tenth counts. The 4.6 MB of
//! noise are written and read a few times in 20 ms, far from the memory's bandwidth. **GPUs** draw the noise
//! of several rounds themselves, take all products, and search every group by the same rule and with the same
//! rounding (`engine.rs`); only the kept ones come back, by number. Of CIFAR-100's 10,000 rounds the products
//! are 11.5 TFLOP in f32, 0.3 s of an H100 at 60 % of its 67 TFLOP/s; the counting reads each product once an
//! anchor, 1.5 TB from the second-level cache, 0.3 s and more: that is arithmetic, not a measurement.
//! **Ties.** Equal distances go to the lower index (feature, or noise vector). **Order.** Output is by round,
//! then boundary rank, then best first, and does not depend on the number of threads. Noise is
//! `rng::Stream(seed, "sample/noise", class, round)`, so that a round is the same whatever rounds are made
//! with it.

mod best;
mod beyond;
mod boundary;
mod columns;
mod count;
mod crossing;
mod engine;
mod error;
mod gaussian;
mod geometry;
mod params;
mod round;
mod sample;
#[cfg(test)]
mod tests;
mod tied;

pub use beyond::{BeyondParams, beyond};
pub use boundary::{boundary, knn_distances};
pub use crossing::{CrossingParams, Head, crossing};
pub use error::OutlierError;
pub use gaussian::{GaussianParams, gaussian};
pub use params::{Knn, Sampled, SamplingParams, Side};
pub use sample::{Sampling, sample_class};
pub use tied::TiedGaussians;
