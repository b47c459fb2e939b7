//! `dream-ood`: an embedded artifact store and the pipeline of DREAM-OOD on it.
//!
//! The library never prints, and never reads the environment or the clock on its own.

pub mod ask;
pub mod bitmap;
pub mod dataset;
pub mod diffusion;
pub mod engine;
pub mod error;
pub mod exchange;
mod floats;
pub mod lfs;
pub mod nn;
pub mod ood;
pub mod outlier;
mod pickle;
pub mod query;
pub mod report;
pub mod rng;
pub mod stage;
pub mod store;
mod words;

pub use error::{Error, Kind};
