//! `dream-ood`: an embedded artifact store and the pipeline of DREAM-OOD on it.
//!
//! The library never prints, and never reads the clock. Of the environment it reads only what a bucket needs:
//! the folder for temporary files and, with the feature `cloud`, credentials and endpoint.

pub mod archive;
pub mod ask;
pub mod bitmap;
mod caught;
pub mod content;
pub mod dataset;
pub mod diffusion;
mod ending;
pub mod engine;
pub mod error;
pub mod exchange;
mod file_digest;
mod floats;
pub mod input;
pub mod nn;
mod npy;
pub mod ood;
pub mod outlier;
#[doc(hidden)]
pub mod outside;
mod pickle;
pub mod query;
pub mod report;
pub mod rng;
pub mod stage;
pub mod stop;
pub mod store;
mod tensor_file;
mod words;

pub use caught::keep_caught_panics_quiet;
pub use error::{Error, Kind};
