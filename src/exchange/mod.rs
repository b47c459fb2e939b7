//! Out of a store and into it: Parquet, CSV, `.npy`, safetensors and PNG.
//!
//! Everything here works on Arrow record batches that someone else hands over one by one, so an export of any
//! size takes little memory. A file is written beside its target and renamed at the end: a target is whole or
//! not there. What is there already is not replaced unless [`Target::overwrite`] says so.

mod arrays;
mod atomic;
pub mod csv;
mod earlier;
mod error;
mod from_vector;
pub mod images;
pub(crate) mod json_numbers;
pub(crate) mod list;
pub mod npy;
pub mod parquet;
pub mod png;
pub mod records;
pub mod safetensors;
mod vectors;

pub use self::arrays::{Array, ArrayFile, Numbers};
pub use self::parquet::{ParquetRows, write_parquet};
pub use self::png::{Png, decode_png, encode_png};
pub use self::safetensors::{check_checkpoint, write_checkpoint, write_vectors};
pub(crate) use atomic::AtomicFile;
pub use atomic::{Target, write_file};
pub use csv::write_csv;
pub use error::{BoxError, ExchangeError};
pub use from_vector::{FromVector, VectorRows};
pub use images::{METADATA, write_images};
pub use npy::{NpyLayout, NpyVectors, NpyWritten, write_npy};
pub use vectors::flat_vectors;
