//! The format versions: how the rows of a table are cut into strips of columns and these into blocks.
//!
//! A **strip** is some of a table's columns. Each has an index and blocks of its own in the file; a block
//! holds the strip's columns of consecutive rows of one run and one part. The first strip of a table says
//! which rows there are.

mod half;
mod stream;
pub(super) mod v1;
pub(super) mod v2;
mod v3;

use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Schema;
use dream_schema::{SchemaError, Table};
use rayon::prelude::*;
use redb::{ReadTransaction, ReadableTable, TableError};

use super::error::At;
use super::guard::guard;
use super::layout::{self, Key};
use super::{Result, StoreError, pack};
use crate::caught::caught;

/// A format version of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Format {
    /// All columns of a row are in one block.
    V1,
    /// The wide columns of a table are apart from the narrow ones.
    V2,
    /// As in format 2, and index entries are sealed.
    V3,
}

impl Format {
    /// The format of new stores.
    pub const NEWEST: Format = Format::V3;
    /// Every format.
    #[cfg(test)]
    pub const ALL: [Format; 3] = [Format::V1, Format::V2, Format::V3];

    /// Returns the number that stands under `version` in `meta`.
    pub fn version(self) -> u32 {
        match self {
            Format::V1 => 1,
            Format::V2 => 2,
            Format::V3 => 3,
        }
    }

    /// Returns the format of the store that `transaction` reads.
    ///
    /// # Errors
    /// If it is not a store, or of a format that this program does not know.
    pub fn of(path: &Path, transaction: &ReadTransaction) -> Result<Self> {
        guard(path, || match transaction.open_table(layout::META) {
            Ok(meta) => Self::marked(path, &meta),
            Err(TableError::Storage(error)) => Err(error).at(path),
            Err(_) => Err(not_a_store(path, "it is a redb file of another program")),
        })
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
            2 => Format::V2,
            3 => Format::V3,
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
        let share = match self {
            Format::V1 => Share::Whole,
            Format::V2 | Format::V3 => Share::Narrow,
        };
        Strip { table, share }
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
        let shares: &[Share] = match self {
            Format::V1 => &[Share::Whole],
            Format::V2 | Format::V3 if wide(table).is_empty() => &[Share::Narrow],
            Format::V2 | Format::V3 => &[Share::Narrow, Share::Wide],
        };
        let strip = |share: &Share| Strip { table, share: *share };
        shares.iter().map(strip).collect()
    }

    /// Returns the bytes of an index entry under a key.
    pub fn encode(self, key: &Key, entry: &Entry) -> Vec<u8> {
        match self {
            Format::V1 => entry.to_v1().to_vec(),
            Format::V2 => entry.to_v2(),
            Format::V3 => entry.to_v3(key),
        }
    }

    /// Reads the bytes of an index entry under a key; none if they are not one.
    pub fn decode(self, key: &Key, bytes: &[u8]) -> Option<Entry> {
        match self {
            Format::V1 => bytes.try_into().ok().map(Entry::from_v1),
            Format::V2 => Entry::from_v2(bytes),
            Format::V3 => Entry::from_v3(key, bytes),
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
    /// Those that are small in every row.
    Narrow,
    /// Those that take nearly all the room: vectors, tensors, pictures.
    Wide,
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
            Share::Narrow => format!("{}/narrow/index", self.table),
            Share::Wide => format!("{}/wide/index", self.table),
        }
    }

    /// Returns the name of the redb table of the blocks.
    pub fn blocks_name(self) -> String {
        match self.share {
            Share::Whole => format!("{}/blocks", self.table),
            Share::Narrow => format!("{}/narrow/blocks", self.table),
            Share::Wide => format!("{}/wide/blocks", self.table),
        }
    }

    /// Returns the places of the strip's columns in the table's schema.
    pub fn columns(self) -> Vec<usize> {
        let wide = wide(self.table);
        let all = 0..self.table.schema(0).fields().len();
        match self.share {
            Share::Whole => all.collect(),
            Share::Narrow => all.filter(|place| !wide.contains(place)).collect(),
            Share::Wide => wide,
        }
    }

    /// Returns the schema of the strip's columns, for vectors of `width` numbers.
    pub fn schema(self, width: usize) -> Result<Schema> {
        let schema = self.table.schema(width).project(&self.columns());
        Ok(schema.map_err(SchemaError::Arrow)?)
    }

    /// Says whether blocks are cut and joined to fill redb's pages. The narrow strip of a table that has a
    /// wide one takes so little that fewer blocks are better.
    pub fn is_packed(self) -> bool {
        match self.share {
            Share::Whole | Share::Wide => true,
            Share::Narrow => wide(self.table).is_empty(),
        }
    }

    /// Cuts this strip's columns of rows of one part, at consecutive indexes from `first` on, into blocks.
    /// `width` is that of the rows' vectors.
    pub fn cut<'a>(self, first: u64, width: u32, columns: &'a RecordBatch) -> Result<Cuts<'a>> {
        match self.share {
            Share::Whole => v1::cut(width, columns.clone()),
            Share::Wide => v1::cut(width, half::halved(columns).map_err(SchemaError::Arrow)?),
            Share::Narrow if self.is_packed() => v2::cut(first, width, columns, pack::SMALLEST),
            Share::Narrow => v2::cut(first, width, columns, pack::LARGEST),
        }
    }

    /// Reads a block of this strip.
    ///
    /// # Errors
    /// In words, if it is not what was written.
    pub fn decode(self, key: &Key, entry: &Entry, block: &[u8]) -> std::result::Result<Block, String> {
        if block.len() != entry.length as usize {
            return Err(format!("it has {} bytes, expected {}", block.len(), entry.length));
        }
        if blake3::hash(block) != entry.hash {
            return Err("its bytes do not match their BLAKE3".to_owned());
        }
        let decoded = caught(|| self.decode_bytes(key, entry, block));
        decoded.unwrap_or_else(|| Err("its bytes are no record batch".to_owned()))
    }

    /// Reads the bytes of a block, which have the right hash.
    fn decode_bytes(self, key: &Key, entry: &Entry, block: &[u8]) -> std::result::Result<Block, String> {
        let words = |error: &dyn std::fmt::Display| error.to_string();
        let schema = Arc::new(self.schema(entry.width as usize).map_err(|error| words(&error))?);
        let rows = entry.rows as usize;
        match self.share {
            Share::Whole | Share::Wide => {
                let batch = v1::decode(block).and_then(|batch| half::widened(&batch));
                let batch = batch.map_err(|error| words(&error))?;
                if batch.num_rows() != rows {
                    return Err(format!("it has {} rows, expected {rows}", batch.num_rows()));
                }
                let complete = self.table.declaration().complete(batch, &schema);
                let other = |error| format!("its columns are not the table's: {error}");
                Ok(Block::Rows(complete.map_err(other)?))
            }
            Share::Narrow => {
                let (_, _, first) = layout::unkey(key);
                Ok(Block::Narrow(v2::Narrow::decode(
                    self.table, schema, first, rows, block,
                )?))
            }
        }
    }
}

/// A block that was read.
#[derive(Clone)]
pub(super) enum Block {
    Rows(RecordBatch),
    Narrow(v2::Narrow),
}

impl Block {
    /// Returns some of its rows, of the columns at these places in the strip.
    pub fn slice(&self, offset: usize, length: usize, places: &[usize]) -> Result<RecordBatch> {
        let rows = match self {
            Block::Rows(rows) => rows.slice(offset, length).project(places),
            Block::Narrow(narrow) => narrow.slice(offset, length, places),
        };
        Ok(rows.map_err(SchemaError::Arrow)?)
    }

    /// Returns all its rows and columns.
    pub fn rows(&self) -> Result<RecordBatch> {
        match self {
            Block::Rows(rows) => Ok(rows.clone()),
            Block::Narrow(narrow) => {
                let places: Vec<_> = (0..narrow.num_columns()).collect();
                self.slice(0, narrow.num_rows(), &places)
            }
        }
    }
}

/// Returns the places in a table's schema of the columns that take nearly all the room.
pub(super) fn wide(table: Table) -> Vec<usize> {
    let schema = table.schema(0);
    let fields = schema.fields().iter().enumerate();
    fields
        .filter(|(_, field)| table.wide().contains(&field.name().as_str()))
        .map(|(place, _)| place)
        .collect()
}

/// Blocks that are to be written, made when they are asked for or a little before.
pub(super) type Cuts<'a> = Box<dyn Iterator<Item = Result<Cut>> + 'a>;

/// Makes blocks of so many rows each, one after the other: `make` is told how many rows are before those of
/// a block and how many they are. As many as there are threads are in memory at once.
fn cuts<'a>(lengths: Vec<usize>, make: impl Fn(usize, usize) -> Result<Cut> + Sync + 'a) -> Cuts<'a> {
    let mut end = 0;
    let ranges = lengths.into_iter().map(|length| {
        end += length;
        (end - length, length)
    });
    let ranges: Vec<_> = ranges.collect();
    let threads = rayon::current_num_threads();
    let windows: Vec<Vec<_>> = ranges.chunks(threads).map(<[_]>::to_vec).collect();
    Box::new(windows.into_iter().flat_map(move |window| {
        let made = window
            .into_par_iter()
            .map(|(offset, length)| make(offset, length));
        made.collect::<Vec<_>>()
    }))
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
    /// The class of all rows, where the strip says it.
    pub class_name: Option<Arc<str>>,
}

impl Entry {
    /// Returns the entry of a block of so many rows, whose vectors have `width` numbers.
    pub fn new(rows: usize, width: u32, block: &[u8]) -> Self {
        Self {
            // Blocks have a few bytes a row at least, and redb refuses values of more than 3 GiB; a strip of
            // constants is cut with the others of its table.
            rows: rows as u32,
            width,
            length: block.len() as u32,
            hash: *blake3::hash(block).as_bytes(),
            class_name: None,
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
