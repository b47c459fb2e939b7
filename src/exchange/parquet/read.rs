//! Reading our own files back, bit for bit.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use dream_schema::Table;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::{TABLE_KEY, image_column};
use crate::caught::caught;
use crate::ending::Ending;
use crate::exchange::ExchangeError;
use crate::exchange::list::list_value;

/// Rows of a batch.
const BATCH: usize = 4096;

/// Rows of a table in a Parquet file, batch by batch, in the types of the store.
///
/// The column `run` comes first if the file has one; `Artifact::from_batch` passes it over, and [`runs_of`]
/// cuts a batch where it changes. Columns may come in any order, and as the wider types that pandas and
/// Hugging Face `datasets` write (64-bit integers, large strings, lists of any size) as long as the values
/// fit; floats of another width are refused.
pub struct ParquetRows {
    path: PathBuf,
    table: Table,
    schema: SchemaRef,
    rows: u64,
    reader: ParquetRecordBatchReader,
    /// Whether the reader has panicked, after which it is not used again.
    damaged: bool,
}

impl ParquetRows {
    /// Opens the file and checks its columns.
    ///
    /// # Errors
    /// If the file cannot be read, is no Parquet file, says that it is another table, lacks a column, or has
    /// one of a type that does not fit.
    pub fn open(path: &Path, table: Table) -> Result<Self, ExchangeError> {
        let builder = builder(path)?;
        let metadata = builder.metadata().file_metadata();
        let named = metadata
            .key_value_metadata()
            .and_then(|all| all.iter().find(|kv| kv.key == TABLE_KEY));
        if let Some(name) = named.and_then(|kv| kv.value.as_deref())
            && name != table.name()
        {
            return Err(ExchangeError::format(path, "the table", table.name(), name));
        }
        let rows = u64::try_from(metadata.num_rows()).unwrap_or(0);
        let width = match builder.schema().field_with_name("vector") {
            Ok(field) if table.has_vectors() => width(path, field)?,
            _ => 0,
        };
        let schema = stored_schema(path, table, builder.schema(), width)?;
        // Rows of images may be a megabyte each: 64 of them make a batch, 4096 of anything else.
        let batch = if table == Table::Images || table == Table::Latents {
            64
        } else {
            BATCH
        };
        let reader = reader(path, builder.with_batch_size(batch))?;
        Ok(Self {
            path: path.to_owned(),
            table,
            schema,
            rows,
            reader,
            damaged: false,
        })
    }

    /// Returns the schema of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Returns the number of rows in the file.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    fn stored(&self, batch: &RecordBatch) -> Result<RecordBatch, ExchangeError> {
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for field in self.schema.fields() {
            let column = find(batch, field.name()).ok_or_else(|| missing(&self.path, self.table, field))?;
            columns.push(convert(&self.path, field, &column)?);
        }
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }
}

impl Iterator for ParquetRows {
    type Item = Result<RecordBatch, ExchangeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.damaged {
            return None;
        }
        let reader = &mut self.reader;
        let batch = match contained(&self.path, || reader.next()) {
            Ok(batch) => batch?,
            Err(error) => {
                self.damaged = true;
                return Some(Err(error));
            }
        };
        Some(
            batch
                .map_err(ExchangeError::from)
                .and_then(|batch| self.stored(&batch)),
        )
    }
}

/// The batches of any Parquet file, as they are.
pub struct RawParquet {
    path: PathBuf,
    table: Option<String>,
    reader: Option<ParquetRecordBatchReader>,
}

impl RawParquet {
    /// Opens the file.
    ///
    /// # Errors
    /// If it cannot be read, or is no Parquet file.
    pub fn open(path: &Path) -> Result<Self, ExchangeError> {
        let builder = builder(path)?;
        let metadata = builder.metadata().file_metadata().key_value_metadata();
        let named = metadata.and_then(|all| all.iter().find(|kv| kv.key == TABLE_KEY));
        let table = named.and_then(|kv| kv.value.clone());
        Ok(Self {
            path: path.to_owned(),
            table,
            reader: Some(reader(path, builder.with_batch_size(BATCH))?),
        })
    }

    /// Returns the table that the file says it is of, where it does.
    pub fn table(&self) -> Option<&str> {
        self.table.as_deref()
    }
}

impl Iterator for RawParquet {
    type Item = Result<RecordBatch, ExchangeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let reader = self.reader.as_mut()?;
        match contained(&self.path, || reader.next()) {
            Ok(batch) => Some(batch?.map_err(ExchangeError::from)),
            Err(error) => {
                // What has panicked is not used again.
                self.reader = None;
                Some(Err(error))
            }
        }
    }
}

/// Cuts a batch where its column `run` changes: the run, and its rows without the column. No run where there
/// is no column.
///
/// # Errors
/// [`ExchangeError::Arrow`].
pub fn runs_of(batch: &RecordBatch) -> Result<Vec<(Option<String>, RecordBatch)>, ExchangeError> {
    let Some(runs) = batch.column_by_name("run").and_then(|c| c.as_string_opt::<i32>()) else {
        return Ok(vec![(None, batch.clone())]);
    };
    let others: Vec<_> = (0..batch.num_columns())
        .filter(|i| batch.schema_ref().field(*i).name() != "run")
        .collect();
    let rest = batch.project(&others)?;
    let mut cuts = Vec::new();
    let mut start = 0;
    for row in 1..=batch.num_rows() {
        if row == batch.num_rows() || runs.value(row) != runs.value(start) {
            let run = runs.is_valid(start).then(|| runs.value(start).to_owned());
            cuts.push((run, rest.slice(start, row - start)));
            start = row;
        }
    }
    Ok(cuts)
}

fn find(batch: &RecordBatch, name: &str) -> Option<ArrayRef> {
    if let Some(column) = batch.column_by_name(name) {
        return Some(column.clone());
    }
    (name == image_column::STORED).then(|| batch.column_by_name(image_column::EXPORTED).cloned())?
}

fn missing(path: &Path, table: Table, field: &Field) -> ExchangeError {
    let expected = format!("`{}`, as the table {table} has", field.name());
    ExchangeError::format(path, "the columns", expected, "no such column")
}

fn builder(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<Ending>, ExchangeError> {
    let file = Ending::open(path).map_err(ExchangeError::io(path))?;
    // The Arrow types that writers leave are not needed: all ours follow from Parquet's, the width from the
    // first row.
    let head = file.head().map_err(ExchangeError::parquet(path))?;
    Ok(ParquetRecordBatchReaderBuilder::new_with_metadata(file, head))
}

/// Begins to read.
fn reader(
    path: &Path,
    builder: ParquetRecordBatchReaderBuilder<Ending>,
) -> Result<ParquetRecordBatchReader, ExchangeError> {
    contained(path, || builder.build())?.map_err(ExchangeError::parquet(path))
}

/// Runs a step of the Parquet library, which panics on some damaged files; to us that is damage like any
/// other.
pub(super) fn contained<T>(path: &Path, step: impl FnOnce() -> T) -> Result<T, ExchangeError> {
    caught(step).ok_or_else(|| ExchangeError::format(path, "the file", "whole Parquet pages", "damaged ones"))
}

/// Returns the width of the vectors in a column: what its type says, or where that says nothing the length of
/// the first.
fn width(path: &Path, field: &Field) -> Result<usize, ExchangeError> {
    match field.data_type() {
        DataType::FixedSizeList(_, width) => return Ok(*width as usize),
        DataType::List(_) | DataType::LargeList(_) => {}
        other => {
            let what = format!("the type of `{}`", field.name());
            return Err(ExchangeError::format(
                path,
                what,
                "lists of numbers",
                other.to_string(),
            ));
        }
    }
    let builder = builder(path)?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), [field.name().as_str()]);
    let mut reader = reader(
        path,
        builder.with_projection(mask).with_batch_size(1).with_limit(1),
    )?;
    let first = contained(path, || reader.next())?.transpose()?;
    let list = first.and_then(|batch| list_value(batch.column(0), 0));
    Ok(list.map_or(0, |list| list.len()))
}

/// Returns the schema of the batches to yield for a file of `schema`.
fn stored_schema(
    path: &Path,
    table: Table,
    schema: &Schema,
    width: usize,
) -> Result<SchemaRef, ExchangeError> {
    let mut fields = Vec::new();
    if schema.field_with_name("run").is_ok() {
        fields.push(Arc::new(Field::new("run", DataType::Utf8, true)));
    }
    let stored = table.schema(width);
    for field in stored.fields() {
        let names = [field.name().as_str(), image_column::EXPORTED];
        let names = if field.name() == image_column::STORED {
            &names[..]
        } else {
            &names[..1]
        };
        if names.iter().all(|name| schema.field_with_name(name).is_err()) {
            let column = table.declaration().column(field.name());
            if column.is_some_and(|column| column.default.is_some()) {
                // A file from before the column was added; `Artifact::from_batch` knows what to put there.
                continue;
            }
            return Err(missing(path, table, field));
        }
        fields.push(field.clone());
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// Returns the column in the type of `field`, if that loses nothing.
pub(in crate::exchange) fn convert(
    path: &Path,
    field: &Field,
    column: &ArrayRef,
) -> Result<ArrayRef, ExchangeError> {
    use DataType::{
        Binary, FixedSizeList, Int8, Int16, Int32, Int64, LargeBinary, LargeUtf8, List, UInt8, UInt16,
        UInt32, UInt64, Utf8,
    };
    let column = &image_column::bytes(column).unwrap_or_else(|| column.clone());
    let wrong = || {
        let what = format!("the type of `{}`", field.name());
        let (expected, actual) = (field.data_type().to_string(), column.data_type().to_string());
        ExchangeError::format(path, what, expected, actual)
    };
    let lossless = match (column.data_type(), field.data_type()) {
        (a, b) if a == b => return Ok(column.clone()),
        (Int8 | Int16 | UInt8 | UInt16 | UInt32, Int32 | Int64 | UInt64) => true,
        (Int32 | Int64 | UInt64, Int32 | Int64 | UInt64) => true,
        (LargeUtf8 | Utf8 | DataType::Utf8View, Utf8) => true,
        (LargeBinary | DataType::BinaryView, Binary) => true,
        (DataType::Dictionary(_, value), Utf8) => value.is_string(),
        (FixedSizeList(a, n), FixedSizeList(b, m)) => a.data_type() == b.data_type() && n == m,
        (List(a) | DataType::LargeList(a), List(b) | FixedSizeList(b, _)) => a.data_type() == b.data_type(),
        _ => false,
    };
    if !lossless {
        return Err(wrong());
    }
    let stored = cast(column, field.data_type())?;
    // What does not fit becomes null.
    if stored.null_count() != column.null_count() {
        let what = format!("the values of `{}`", field.name());
        let (expected, actual) = (field.data_type().to_string(), "a value that does not fit");
        return Err(ExchangeError::format(path, what, expected, actual));
    }
    Ok(stored)
}
