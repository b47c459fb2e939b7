//! NumPy's `.npy`: vectors in, as 32-bit floats, and out.
//!
//! Format 1.0 is written, 1.0 to 3.0 are read. [`write_npy`] puts a table of the rows' other columns beside
//! the file, because an array alone does not say whose vectors it holds; [`NpyVectors`] reads one class at a
//! time, so a file may be larger than memory.

mod header;
mod read;
mod write;

#[cfg(test)]
mod tests;

pub(in crate::exchange) use header::decode_any;
pub use read::NpyVectors;
pub use write::{NpyLayout, NpyWritten, write_npy};
