//! Blocks: record batches as bytes, and back with every check.

use std::path::Path;

use arrow::array::{AsArray, RecordBatch};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use dream_schema::{RunId, SchemaError, Table};

use super::layout::{Entry, KEY, unkey};
use super::{Result, StoreError};

/// Returns the bytes of a block.
pub(super) fn encode(batch: &RecordBatch) -> Result<Vec<u8>> {
    let stream = || -> std::result::Result<Vec<u8>, ArrowError> {
        let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref())?;
        writer.write(batch)?;
        writer.into_inner()
    };
    stream().map_err(|error| SchemaError::Arrow(error).into())
}

/// Returns the index entry of a block.
pub(super) fn entry(batch: &RecordBatch, block: &[u8]) -> Entry {
    Entry {
        // A block has at most as many rows as bytes, and redb refuses values of more than 3 GiB.
        rows: batch.num_rows() as u32,
        width: width(batch) as u32,
        length: block.len() as u32,
        hash: *blake3::hash(block).as_bytes(),
    }
}

/// Returns the width of the vectors of `batch`; 0 where it has none.
pub(super) fn width(batch: &RecordBatch) -> usize {
    let vectors = batch
        .column_by_name("vector")
        .and_then(|c| c.as_fixed_size_list_opt());
    vectors.map_or(0, |v| v.value_length() as usize)
}

/// Where a block is, for errors about it.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// The file.
    pub path: &'a Path,
    /// The table.
    pub table: Table,
    /// The run.
    pub run: RunId,
    /// The part.
    pub part: u32,
    /// Index of the first row.
    pub first: u64,
}

impl<'a> Place<'a> {
    /// Returns the place that a key names.
    pub fn new(path: &'a Path, table: Table, key: &[u8; KEY]) -> Self {
        let (run, part, first) = unkey(key);
        Self {
            path,
            table,
            run,
            part,
            first,
        }
    }

    /// Returns the error for a block that is not right.
    pub fn corrupt(&self, reason: impl Into<String>) -> StoreError {
        StoreError::Corrupt {
            path: self.path.to_owned(),
            table: self.table,
            run: self.run,
            part: self.part,
            index: self.first,
            reason: reason.into(),
        }
    }

    /// Returns the rows of a block, after comparing it with its index entry and its table's schema.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if anything differs.
    pub fn decode(&self, entry: &Entry, block: Option<&[u8]>) -> Result<RecordBatch> {
        let block = block.ok_or_else(|| self.corrupt("the block is missing"))?;
        if block.len() != entry.length as usize {
            let reason = format!("it has {} bytes, expected {}", block.len(), entry.length);
            return Err(self.corrupt(reason));
        }
        if blake3::hash(block) != entry.hash {
            return Err(self.corrupt("its bytes do not match their BLAKE3"));
        }
        let batch = read(block).map_err(|error| self.corrupt(error.to_string()))?;
        if batch.num_rows() != entry.rows as usize {
            let reason = format!("it has {} rows, expected {}", batch.num_rows(), entry.rows);
            return Err(self.corrupt(reason));
        }
        if batch.schema() != self.table.schema(entry.width as usize) {
            return Err(self.corrupt("its columns are not the table's"));
        }
        Ok(batch)
    }
}

fn read(block: &[u8]) -> std::result::Result<RecordBatch, ArrowError> {
    let mut reader = StreamReader::try_new(block, None)?;
    reader
        .next()
        .unwrap_or_else(|| Err(ArrowError::IpcError("it holds no record batch".to_owned())))
}

/// Returns the first row in which two batches of the same table differ; floats are compared by their bits.
pub(super) fn first_difference(a: &RecordBatch, b: &RecordBatch) -> Option<usize> {
    if a.columns() == b.columns() {
        return None;
    }
    let differs = |row: &usize| {
        let (a, b) = (a.slice(*row, 1), b.slice(*row, 1));
        a.columns() != b.columns()
    };
    // Types that differ (vector widths) make the first row differ.
    Some((0..a.num_rows().min(b.num_rows())).find(differs).unwrap_or(0))
}
