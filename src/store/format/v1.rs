//! Format 1: a block is an Arrow IPC stream of one record batch with all columns.

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use dream_schema::SchemaError;

use super::{Cut, Cuts, Entry, cuts, stream};
use crate::store::{Result, pack};

/// The length of an index entry.
pub(in crate::store) const ENTRY: usize = 44;

/// Cuts rows into blocks.
pub(super) fn cut<'a>(width: u32, rows: RecordBatch) -> Result<Cuts<'a>> {
    // Every buffer is padded to 64 bytes.
    let head = encode(&rows.slice(0, 0), 0)?.len() + 128 * rows.num_columns();
    let sizes = pack::row_sizes(&rows);
    let lengths = pack::cuts(&sizes, head, pack::SMALLEST);
    Ok(cuts(lengths, move |offset, length| {
        let batch = rows.slice(offset, length);
        let sizes = sizes.get(offset..offset + length).unwrap_or_default();
        let block = encode(&batch, head + sizes.iter().sum::<usize>())?;
        Ok(Cut {
            offset: offset as u64,
            entry: Entry::new(length, width, &block),
            block,
        })
    }))
}

/// Returns the bytes of a block, which takes about `size` of them.
fn encode(batch: &RecordBatch, size: usize) -> Result<Vec<u8>> {
    let stream = || -> std::result::Result<Vec<u8>, ArrowError> {
        let mut writer = StreamWriter::try_new(Vec::with_capacity(size), batch.schema_ref())?;
        writer.write(batch)?;
        writer.into_inner()
    };
    stream().map_err(|error| SchemaError::Arrow(error).into())
}

/// Returns the rows of a block.
pub(super) fn decode(block: &[u8]) -> std::result::Result<RecordBatch, ArrowError> {
    stream::read(&mut Buffer::from(block))
}

impl Entry {
    /// Returns the bytes of the entry.
    pub(in crate::store) fn to_v1(&self) -> [u8; ENTRY] {
        let mut bytes = [0; ENTRY];
        bytes[..4].copy_from_slice(&self.rows.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.width.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.length.to_be_bytes());
        bytes[12..].copy_from_slice(&self.hash);
        bytes
    }

    /// Reads the bytes of an entry.
    pub(in crate::store) fn from_v1(bytes: &[u8; ENTRY]) -> Self {
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let mut hash = [0; 32];
        hash.copy_from_slice(&bytes[12..]);
        Self {
            rows: word(0),
            width: word(4),
            length: word(8),
            hash,
            class_name: None,
        }
    }
}
