//! Rows of vectors in tables of other programs: Parquet or CSV, with the columns that they have.
//!
//! A file that we wrote has all columns of its table and comes back as it was. Of another one, the vectors
//! are the column `vector`, or the only column of lists of numbers, or columns that are numbered; what else a
//! row has and the file does not say is unknown.

mod cells;
mod columns;
mod conform;
mod flat;
mod joined;
#[cfg(test)]
mod tests;
mod text;

use std::path::Path;

use arrow::array::RecordBatch;

use super::ExchangeError;
use super::parquet::RawParquet;
use crate::content::Content;

pub(crate) use columns::{column, is_of_names, named};
pub use conform::{Conformed, Given, conform};
pub(crate) use flat::flatten;
use text::CsvBatches;

/// The batches of a table in a file.
pub enum Records {
    /// Of a Parquet file.
    Parquet(RawParquet),
    /// Of a CSV file.
    Csv(Box<CsvBatches>),
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Parquet(_) => "Records::Parquet",
            Self::Csv(_) => "Records::Csv",
        })
    }
}

impl Records {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// If it cannot be read, or is neither Parquet nor CSV with a header.
    pub fn open(path: &Path) -> Result<Self, ExchangeError> {
        match Content::at(path).map_err(ExchangeError::io(path))? {
            Content::Parquet => RawParquet::open(path).map(Self::Parquet),
            Content::Text | Content::Json => Ok(Self::Csv(Box::new(CsvBatches::open(path)?))),
            content => Err(ExchangeError::Other {
                path: path.to_owned(),
                content,
                expected: "Parquet or CSV",
            }),
        }
    }

    /// Says whether a file that is this is read so.
    pub fn is_content(content: Content) -> bool {
        matches!(content, Content::Parquet | Content::Text | Content::Json)
    }

    /// Returns the table that the file says it is of, where it does.
    pub fn table(&self) -> Option<&str> {
        match self {
            Self::Parquet(file) => file.table(),
            Self::Csv(_) => None,
        }
    }
}

impl Iterator for Records {
    type Item = Result<RecordBatch, ExchangeError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Parquet(file) => Some(file.next()?.and_then(joined::joined)),
            Self::Csv(file) => file.next(),
        }
    }
}
