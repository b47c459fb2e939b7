//! Writing.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;

use super::{TABLE_KEY, encoding, features, image_column};
use crate::exchange::atomic::AtomicFile;
use crate::exchange::{BoxError, ExchangeError, Target};

/// Writes the rows of `table` as a Parquet file and returns their number. Memory is bounded by a row group.
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
    let mut writer = ArrowWriter::try_new(&mut file, schema.clone(), Some(properties))
        .map_err(ExchangeError::parquet(path))?;
    let mut rows = 0;
    for batch in batches {
        let batch = batch.map_err(|e| ExchangeError::Source(e.into()))?;
        rows += batch.num_rows() as u64;
        let batch = image_column::export(&batch, &schema)?;
        writer.write(&batch).map_err(ExchangeError::parquet(path))?;
    }
    writer.close().map_err(ExchangeError::parquet(path))?;
    file.commit()?;
    Ok(rows)
}
