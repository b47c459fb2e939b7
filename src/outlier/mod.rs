//! Outlier embeddings: vectors at the rim of a class in the text-conditioned latent space (DREAM-OOD, Sec. 3.2), and the
//! inlier embeddings of DREAM-ID.
//!
//! A class is its L2-normalised ID features z_1..z_n in R^m. d_k(z) is the Euclidean distance from z to its k-th nearest
//! feature; a feature counts as its own first neighbour. The `select` features with the largest d_k are the boundary set.
//! In a round, every chosen boundary feature b_i is moved by the same noise vectors e_j to v_ij = normalise(b_i + sigma *
//! e_j), and of each b_i the `keep` candidates with the largest d_k stay. For inliers it is the smallest d_k both times.
//!
//! The search is exact, yet costs one small matrix product a round instead of one a boundary feature, because
//! v_ij . z_l = (b_i . z_l + sigma * e_j . z_l) / |b_i + sigma * e_j| and the noise is shared. Of 1500 candidates only two
//! are wanted, so that a candidate is mostly dismissed by *counting* the features nearer than the current cut-off, with no
//! sort (`round.rs`, `count.rs`).
//!
//! **Rounding.** Dot products are `f32` sums of unit vectors: a squared distance 2 - 2 v.z is right to about 1e-6.
//! **Ties.** Equal distances go to the lower index (feature, or noise vector). **Order.** Output is by round, then boundary
//! rank, then best first, and does not depend on the number of threads. Noise is `rng::Stream(seed, "sample/noise", class,
//! round)`, so that a round is the same whatever rounds are made with it.

mod beyond;
mod boundary;
mod count;
mod error;
mod gaussian;
mod geometry;
mod params;
mod round;
mod sample;
#[cfg(test)]
mod tests;

pub use beyond::{BeyondParams, beyond};
pub use boundary::{boundary, knn_distances};
pub use error::OutlierError;
pub use gaussian::{GaussianParams, gaussian};
pub use params::{Kind, Knn, Sampled, SamplingParams};
pub use sample::sample_class;
