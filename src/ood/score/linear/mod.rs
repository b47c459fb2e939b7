//! Linear algebra in `f64`: products whose sums run in order, covariances, and what follows of their
//! eigenvectors.

mod covariance;
mod eigen;
mod matrix;

pub(super) use covariance::{class_means, covariance, mean};
pub(super) use eigen::{Eigen, pseudo_inverse_times};
pub(super) use matrix::{Matrix, dot, norm};
