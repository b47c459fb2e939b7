//! Scores of the features, most of them by what the training set looks like.

mod cfood;
mod class;
mod fdbd;
mod gmm;
mod knn;
mod mahalanobis;
mod mixture;
mod nci;
mod neco;
mod neighbours;
mod nnguide;
mod relation;
mod she;
mod vim;

pub(super) use class::Means;
pub(super) use mahalanobis::Gaussian;
pub(super) use neighbours::{Bank, Largest, scan};

pub use cfood::Cfood;
pub use fdbd::Fdbd;
pub use gmm::Gmm;
pub use knn::Knn;
pub use mahalanobis::{Mds, Rmds, Ssd};
pub use nci::Nci;
pub use neco::Neco;
pub use nnguide::NnGuide;
pub use relation::Relation;
pub use she::She;
pub use vim::{Residual, Vim};
