//! Writing.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, compute_leaves};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::writer::SerializedFileWriter;
use rayon::prelude::*;

use super::{ROW_GROUP_BYTES, TABLE_KEY, encoding, features, image_column};
use crate::exchange::atomic::AtomicFile;
use crate::exchange::{BoxError, ExchangeError, Target};

/// Row groups that are encoded at once, each by a thread: more would take more memory than it saves time.
const AT_ONCE: usize = 4;

/// Writes the rows of `table` as a Parquet file and returns their number. Memory is bounded by a few row
/// groups. The file does not depend on the number of threads.
///
/// `table` is a name for the file's metadata; `schema` is that of the batches, with the column `run` where
/// they have it.
///
/// # Errors
/// If the rows cannot be had or differ from `schema`, or if the file cannot be written or is there already.
pub fn write_parquet<E: Into<BoxError>>(
    target: &Target,
    table: &str,
    schema: &Schema,
    batches: impl IntoIterator<Item = Result<RecordBatch, E>>,
) -> Result<u64, ExchangeError> {
    let path = &target.path;
    let schema = image_column::exported_schema(schema);
    let mut metadata = HashMap::from([(TABLE_KEY.to_owned(), table.to_owned())]);
    if let Some(features) = features::features(&schema) {
        metadata.insert(features::KEY.to_owned(), features);
    }
    let mut entries: Vec<_> = metadata
        .iter()
        .map(|(k, v)| KeyValue::new(k.clone(), v.clone()))
        .collect();
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    let properties = encoding::properties(&schema, entries);
    // Arrow's readers take the metadata from the Arrow schema in the file, others from the file's own.
    let schema: SchemaRef = Arc::new(schema.as_ref().clone().with_metadata(metadata));
    let mut file = AtomicFile::create(target)?;
    let writer = ArrowWriter::try_new(&mut file, schema.clone(), Some(properties));
    let writer = writer.and_then(ArrowWriter::into_serialized_writer);
    let (mut writer, factory) = writer.map_err(ExchangeError::parquet(path))?;
    let exported = batches.into_iter().map(|batch| {
        let batch = batch.map_err(|e| ExchangeError::Source(e.into()))?;
        image_column::export(&batch, &schema)
    });
    let mut groups = Groups::new(exported);
    let at_once = rayon::current_num_threads().min(AT_ONCE);
    let (mut rows, mut written) = (0, 0);
    loop {
        let next: Vec<_> = groups.by_ref().take(at_once).collect::<Result<_, _>>()?;
        if next.is_empty() {
            break;
        }
        let encoded = next.par_iter().enumerate().map(|(nth, group)| {
            let columns = factory.create_column_writers(written + nth)?;
            encode(&schema, columns, group)
        });
        for chunks in encoded.collect::<Vec<_>>() {
            append(&mut writer, chunks).map_err(ExchangeError::parquet(path))?;
        }
        written += next.len();
        rows += next
            .iter()
            .flatten()
            .map(|batch| batch.num_rows() as u64)
            .sum::<u64>();
    }
    writer.close().map_err(ExchangeError::parquet(path))?;
    file.commit()?;
    Ok(rows)
}

/// Encodes a row group.
fn encode(
    schema: &SchemaRef,
    mut columns: Vec<ArrowColumnWriter>,
    group: &[RecordBatch],
) -> Result<Vec<ArrowColumnChunk>, ParquetError> {
    for batch in group {
        let mut next = columns.iter_mut();
        for (field, column) in schema.fields().iter().zip(batch.columns()) {
            for (leaf, writer) in compute_leaves(field, column)?.iter().zip(&mut next) {
                writer.write(leaf)?;
            }
        }
    }
    columns.into_iter().map(ArrowColumnWriter::close).collect()
}

/// Writes a row group that is encoded.
fn append<W: Write + Send>(
    writer: &mut SerializedFileWriter<W>,
    chunks: Result<Vec<ArrowColumnChunk>, ParquetError>,
) -> Result<(), ParquetError> {
    let mut group = writer.next_row_group()?;
    for chunk in chunks? {
        chunk.append_to_row_group(&mut group)?;
    }
    group.close()?;
    Ok(())
}

/// Puts batches together to row groups of at most [`ROW_GROUP_BYTES`]; where rows are cut depends on nothing
/// but the rows and the batches they come in.
struct Groups<I> {
    batches: I,
    /// What did not fit into the group before, its last rows first.
    rest: Vec<RecordBatch>,
}

impl<I: Iterator<Item = Result<RecordBatch, ExchangeError>>> Groups<I> {
    fn new(batches: I) -> Self {
        Self {
            batches,
            rest: Vec::new(),
        }
    }

    fn next_batch(&mut self) -> Option<I::Item> {
        self.rest.pop().map(Ok).or_else(|| self.batches.next())
    }
}

impl<I: Iterator<Item = Result<RecordBatch, ExchangeError>>> Iterator for Groups<I> {
    type Item = Result<Vec<RecordBatch>, ExchangeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (mut group, mut bytes) = (Vec::new(), 0);
        while let Some(batch) = self.next_batch() {
            let batch = match batch {
                Ok(batch) if batch.num_rows() == 0 => continue,
                Ok(batch) => batch,
                Err(error) => return Some(Err(error)),
            };
            let (size, rows) = (bytes_of(&batch), batch.num_rows());
            if bytes + size <= ROW_GROUP_BYTES {
                bytes += size;
                group.push(batch);
            } else if rows > 1 && size > ROW_GROUP_BYTES {
                self.rest.push(batch.slice(rows / 2, rows - rows / 2));
                self.rest.push(batch.slice(0, rows / 2));
            } else if group.is_empty() {
                return Some(Ok(vec![batch]));
            } else {
                self.rest.push(batch);
                break;
            }
        }
        (!group.is_empty()).then_some(Ok(group))
    }
}

/// Returns the bytes that the rows take in memory, without what they share with others.
fn bytes_of(batch: &RecordBatch) -> usize {
    let bytes = |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or(0);
    batch.columns().iter().map(bytes).sum()
}
