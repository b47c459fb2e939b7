//! A Parquet file as columns, whoever wrote it: some of them, of some row groups.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::ParquetMetaData;

use super::read::contained;
use super::{TABLE_KEY, image_column};
use crate::ending::Ending;
use crate::exchange::ExchangeError;

/// Rows of a batch where a row may be a megabyte.
const FEW: usize = 64;

/// Rows of any other batch.
const MANY: usize = 4096;

/// The head of a file. The column `image` of an exported table of pictures is `png` here.
#[derive(Clone)]
pub(crate) struct ParquetFile {
    path: PathBuf,
    head: ArrowReaderMetadata,
    schema: SchemaRef,
}

impl ParquetFile {
    /// Reads the head of a file.
    ///
    /// # Errors
    /// If the file cannot be read or is no Parquet file.
    pub(crate) fn open(path: &Path) -> Result<Self, ExchangeError> {
        let file = Ending::open(path).map_err(ExchangeError::io(path))?;
        let head = file.head_as_written().map_err(ExchangeError::parquet(path))?;
        let field = |field: &Arc<Field>| match (field.name().as_str(), field.data_type()) {
            (image_column::EXPORTED, DataType::Struct(_)) => {
                Arc::new(Field::new(image_column::STORED, DataType::Binary, true))
            }
            _ => field.clone(),
        };
        let schema = Schema::new(head.schema().fields().iter().map(field).collect::<Vec<_>>());
        Ok(Self {
            path: path.to_owned(),
            head,
            schema: Arc::new(schema),
        })
    }

    /// Returns where the file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the columns.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Returns the table that an export wrote into the file.
    pub(crate) fn table(&self) -> Option<String> {
        let all = self.metadata().file_metadata().key_value_metadata()?;
        all.iter().find(|kv| kv.key == TABLE_KEY)?.value.clone()
    }

    /// Returns what the file says of its row groups.
    pub(crate) fn metadata(&self) -> &ParquetMetaData {
        self.head.metadata()
    }

    /// Returns the compressed bytes of these columns of a row group.
    pub(crate) fn bytes(&self, columns: &[usize], group: usize) -> u64 {
        let parquet = self.head.parquet_schema();
        let group = self.metadata().row_group(group);
        let leaves = group.columns().iter().enumerate();
        let wanted = leaves.filter(|(leaf, _)| columns.contains(&parquet.get_column_root_idx(*leaf)));
        wanted.map(|(_, leaf)| leaf.compressed_size().max(0) as u64).sum()
    }

    /// Begins to read columns at these places, which rise, of these row groups.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) fn rows(
        &self,
        columns: &[usize],
        groups: Vec<usize>,
    ) -> Result<ParquetColumns, ExchangeError> {
        let file = Ending::open(&self.path).map_err(ExchangeError::io(&self.path))?;
        let large = |field: &Field| field.data_type().is_nested() || field.data_type() == &DataType::Binary;
        let wide = columns.iter().any(|place| large(self.schema.field(*place)));
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.head.clone());
        let mask = ProjectionMask::roots(builder.parquet_schema(), columns.iter().copied());
        let builder = builder
            .with_projection(mask)
            .with_row_groups(groups)
            .with_batch_size(if wide { FEW * 8 } else { MANY });
        let reader = contained(&self.path, || builder.build())?;
        let reader = reader.map_err(ExchangeError::parquet(&self.path))?;
        Ok(ParquetColumns {
            path: self.path.clone(),
            schema: Arc::new(self.schema.project(columns)?),
            reader: Some(reader),
        })
    }
}

/// Columns of a file, batch by batch.
pub(crate) struct ParquetColumns {
    path: PathBuf,
    schema: SchemaRef,
    /// None once it has panicked, after which it is not used again.
    reader: Option<ParquetRecordBatchReader>,
}

impl Iterator for ParquetColumns {
    type Item = Result<RecordBatch, ExchangeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let reader = self.reader.as_mut()?;
        let batch = match contained(&self.path, || reader.next()) {
            Ok(batch) => batch?,
            Err(error) => {
                self.reader = None;
                return Some(Err(error));
            }
        };
        let named = |batch: RecordBatch| {
            let column = |column: &ArrayRef| image_column::bytes(column).unwrap_or_else(|| column.clone());
            let columns = batch
                .columns()
                .iter()
                .zip(self.schema.fields())
                .map(|(found, field)| match field.data_type() {
                    DataType::Binary => column(found),
                    _ => found.clone(),
                });
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            RecordBatch::try_new_with_options(self.schema.clone(), columns.collect(), &options)
        };
        Some(batch.and_then(named).map_err(ExchangeError::Arrow))
    }
}
