//! The format versions: how the rows of a table are cut into strips of columns and these into blocks.
//!
//! A **strip** is some of a table's columns. Each has an index and blocks of its own in the file; a block holds the
//! strip's columns of consecutive rows of one run and one part. The first strip of a table says which rows there are.

pub(super) mod v1;

use std::path::Path;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Schema;
use dream_schema::{SchemaError, Table};
use redb::{ReadTransaction, ReadableTable, TableError};

use super::error::At;
use super::layout::{self, Key};
use super::{Result, StoreError};

/// A format version of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Format {
    /// All columns of a row are in one block.
    V1,
}

impl Format {
    /// The format of new stores.
    pub const NEWEST: Format = Format::V1;

    /// Returns the number that stands under `version` in `meta`.
    pub fn version(self) -> u32 {
        match self {
            Format::V1 => 1,
        }
    }

    /// Returns the format of the store that `transaction` reads.
    ///
    /// # Errors
    /// If it is not a store, or of a format that this program does not know.
    pub fn of(path: &Path, transaction: &ReadTransaction) -> Result<Self> {
        match transaction.open_table(layout::META) {
            Ok(meta) => Self::marked(path, &meta),
            Err(TableError::Storage(error)) => Err(error).at(path),
            Err(_) => Err(not_a_store(path, "it is a redb file of another program")),
        }
    }

    /// Returns the format that `meta` names.
    ///
    /// # Errors
    /// As [`Format::of`].
    pub fn marked(path: &Path, meta: &impl ReadableTable<&'static str, &'static str>) -> Result<Self> {
        let text = |key: &str| -> Result<Option<String>> {
            Ok(meta.get(key).at(path)?.map(|value| value.value().to_owned()))
        };
        if text("magic")?.as_deref() != Some(layout::MAGIC) {
            return Err(not_a_store(path, "it is a redb file of another program"));
        }
        let found = text("version")?
            .and_then(|version| version.parse::<u32>().ok())
            .ok_or_else(|| not_a_store(path, "its format version is missing"))?;
        let format = match found {
            1 => Format::V1,
            0 => return Err(not_a_store(path, "there was no format version 0")),
            _ => {
                return Err(StoreError::Newer {
                    path: path.to_owned(),
                    found,
                    supported: Self::NEWEST.version(),
                });
            }
        };
        let features = text("features")?.unwrap_or_default();
        let unknown = |feature: &&str| !feature.is_empty() && !layout::FEATURES.contains(feature);
        if let Some(feature) = features.split(',').find(unknown) {
            return Err(StoreError::UnknownFeature {
                path: path.to_owned(),
                feature: feature.to_owned(),
            });
        }
        Ok(format)
    }

    /// Returns the strip that says which rows of a table there are.
    pub fn keys(self, table: Table) -> Strip {
        match self {
            Format::V1 => Strip {
                table,
                share: Share::Whole,
            },
        }
    }

    /// Returns the strips of all tables.
    pub fn all_strips(self) -> Vec<Strip> {
        Table::ALL
            .into_iter()
            .flat_map(|table| self.strips(table))
            .collect()
    }

    /// Returns the strips of a table.
    pub fn strips(self, table: Table) -> Vec<Strip> {
        match self {
            Format::V1 => vec![Strip {
                table,
                share: Share::Whole,
            }],
        }
    }
}

fn not_a_store(path: &Path, reason: &str) -> StoreError {
    StoreError::NotAStore {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

/// Which columns a strip has, and how they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// All of them, as format 1 writes them.
    Whole,
}

/// Some columns of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Strip {
    pub table: Table,
    pub share: Share,
}

impl Strip {
    /// Returns the name of the redb table that says which blocks there are.
    pub fn index_name(self) -> String {
        match self.share {
            Share::Whole => format!("{}/index", self.table),
        }
    }

    /// Returns the name of the redb table of the blocks.
    pub fn blocks_name(self) -> String {
        match self.share {
            Share::Whole => format!("{}/blocks", self.table),
        }
    }

    /// Returns the places of the strip's columns in the table's schema.
    pub fn columns(self) -> Vec<usize> {
        match self.share {
            Share::Whole => (0..self.table.schema(0).fields().len()).collect(),
        }
    }

    /// Returns the schema of the strip's columns, for vectors of `width` numbers.
    pub fn schema(self, width: usize) -> Result<Schema> {
        let schema = self.table.schema(width).project(&self.columns());
        Ok(schema.map_err(SchemaError::Arrow)?)
    }

    /// Cuts rows of one part at consecutive indexes from `first` on into blocks of this strip.
    pub fn cut(self, rows: &RecordBatch) -> Result<Vec<Cut>> {
        match self.share {
            Share::Whole => v1::cut(rows),
        }
    }

    /// Returns the strip's columns of the rows of a block, in the order of the schema.
    ///
    /// # Errors
    /// In words, if it is not what was written.
    pub fn decode(self, _key: &Key, entry: &Entry, block: &[u8]) -> std::result::Result<RecordBatch, String> {
        if block.len() != entry.length as usize {
            return Err(format!("it has {} bytes, expected {}", block.len(), entry.length));
        }
        if blake3::hash(block) != entry.hash {
            return Err("its bytes do not match their BLAKE3".to_owned());
        }
        let batch = match self.share {
            Share::Whole => v1::decode(block).map_err(|error| error.to_string())?,
        };
        if batch.num_rows() != entry.rows as usize {
            return Err(format!(
                "it has {} rows, expected {}",
                batch.num_rows(),
                entry.rows
            ));
        }
        Ok(batch)
    }
}

/// A block that is to be written.
pub(super) struct Cut {
    /// How many rows of the whole are before it.
    pub offset: u64,
    pub entry: Entry,
    pub block: Vec<u8>,
}

/// What an index says of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Rows in the block, at consecutive indexes.
    pub rows: u32,
    /// Width of the table's vectors; 0 for a table without them.
    pub width: u32,
    /// Length of the block in bytes.
    pub length: u32,
    /// BLAKE3 of the block.
    pub hash: [u8; 32],
}

impl Entry {
    /// Returns the entry of a block of `rows`.
    pub fn new(rows: &RecordBatch, block: &[u8]) -> Self {
        Self {
            // A block has at most as many rows as bytes, and redb refuses values of more than 3 GiB.
            rows: rows.num_rows() as u32,
            width: width(rows) as u32,
            length: block.len() as u32,
            hash: *blake3::hash(block).as_bytes(),
        }
    }
}

/// Returns the width of the vectors of `rows`; 0 where there are none.
pub(super) fn width(rows: &RecordBatch) -> usize {
    let vectors = rows
        .column_by_name("vector")
        .and_then(|c| c.as_fixed_size_list_opt());
    vectors.map_or(0, |v| v.value_length() as usize)
}
