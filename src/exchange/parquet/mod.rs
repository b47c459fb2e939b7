//! Parquet: every table out, and our own files back in.
//!
//! The columns are those of SQL, `run` first; vectors are `FixedSizeList<Float32>`. A column `png` becomes a
//! column `image` of type `struct<bytes: binary, path: string>` with the metadata by which Hugging Face
//! `datasets` knows pictures, and becomes `png` again on the way in. Bits survive both ways.
//!
//! Encodings, and why: float columns are split by byte (BYTE_STREAM_SPLIT) and compressed with zstd; strings
//! that repeat get a dictionary; PNG is stored as it is, because it is compressed already; statistics are
//! kept for what one filters by and not for vectors and bytes. A row group holds at most [`ROW_GROUP_BYTES`],
//! which bounds the memory of writer and reader; the writer encodes a few at once.

mod encoding;
mod features;
#[cfg(feature = "sql")]
mod file;
mod image_column;
mod read;
mod write;

#[cfg(test)]
mod tests;

#[cfg(feature = "sql")]
pub(crate) use file::ParquetFile;
pub(in crate::exchange) use read::convert;
pub use read::{ParquetRows, RawParquet, runs_of};
pub use write::write_parquet;

/// The most bytes of a row group in memory, before compression (a single larger row still makes one).
pub const ROW_GROUP_BYTES: usize = 64 << 20;

/// The key of the file's metadata under which the table's name stands.
pub const TABLE_KEY: &str = "dream-ood.table";
