//! Parquet files of one table, read one after the other.
//!
//! A column that one of them lacks is null there. Only the columns that a query names are read, and of those
//! only the row groups whose statistics let its conditions hold.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::provider::external;
use super::row_groups;
use super::scan::{Batches, Reads, ScanExec, column_names};
use crate::exchange::parquet::ParquetFile;
use crate::query::{self, QueryError};
use crate::store::Tally;

/// The files of one table.
pub(super) struct FileTable {
    name: String,
    pub(super) files: Vec<ParquetFile>,
    schema: SchemaRef,
}

impl FileTable {
    /// # Errors
    /// If the files differ in the type of a column.
    pub(super) fn new(name: String, files: Vec<ParquetFile>) -> query::Result<Self> {
        let mut fields: Vec<Field> = Vec::new();
        for file in &files {
            for field in file.schema().fields() {
                match fields.iter_mut().find(|known| known.name() == field.name()) {
                    None => fields.push(field.as_ref().clone().with_nullable(true)),
                    Some(known) => {
                        let Some(both) = common(known.data_type(), field.data_type()) else {
                            return Err(QueryError::ColumnTypes {
                                file: file.path().to_owned(),
                                column: field.name().clone(),
                                found: field.data_type().to_string(),
                                expected: known.data_type().to_string(),
                            });
                        };
                        *known = known.clone().with_data_type(both);
                    }
                }
            }
        }
        let schema = Arc::new(Schema::new(fields));
        Ok(Self { name, files, schema })
    }
}

/// Returns a type that values of both types have a place in: vectors of two widths become lists.
fn common(a: &DataType, b: &DataType) -> Option<DataType> {
    match (a, b) {
        (a, b) if a == b => Some(a.clone()),
        (
            DataType::FixedSizeList(a, _) | DataType::List(a),
            DataType::FixedSizeList(b, _) | DataType::List(b),
        ) if a.data_type() == b.data_type() => Some(DataType::List(a.clone())),
        (DataType::Int32, DataType::Int64) | (DataType::Int64, DataType::Int32) => Some(DataType::Int64),
        (DataType::Float32, DataType::Float64) | (DataType::Float64, DataType::Float32) => {
            Some(DataType::Float64)
        }
        (a, b) if a.is_string() && b.is_string() => Some(DataType::Utf8),
        (DataType::Null, other) | (other, DataType::Null) => Some(other.clone()),
        _ => None,
    }
}

impl fmt::Debug for FileTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FileTable").field(&self.name).finish()
    }
}

#[async_trait]
impl TableProvider for FileTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => self.schema.clone(),
        };
        let predicate = row_groups::predicate(state, &self.schema, filters)?;
        let mut parts = Vec::new();
        for file in &self.files {
            let groups = match &predicate {
                Some(predicate) => row_groups::passing(predicate, &self.schema, file)?,
                None => (0..file.metadata().num_row_groups()).collect(),
            };
            parts.push(Part::new(file, &schema, groups));
        }
        let reads = FileRows {
            table: self.name.clone(),
            schema,
            parts,
        };
        Ok(Arc::new(ScanExec::new(Arc::new(reads))))
    }
}

/// What is read of one file.
#[derive(Clone)]
struct Part {
    file: ParquetFile,
    groups: Vec<usize>,
    /// Places in the file of the columns that it has, rising.
    columns: Vec<usize>,
}

impl Part {
    fn new(file: &ParquetFile, schema: &Schema, groups: Vec<usize>) -> Self {
        let fields = file.schema().fields().iter().enumerate();
        let wanted = fields.filter(|(_, field)| schema.index_of(field.name()).is_ok());
        Self {
            file: file.clone(),
            groups,
            columns: wanted.map(|(place, _)| place).collect(),
        }
    }

    fn bytes(&self) -> u64 {
        self.groups
            .iter()
            .map(|group| self.file.bytes(&self.columns, *group))
            .sum()
    }

    fn rows(&self) -> i64 {
        let metadata = self.file.metadata();
        self.groups
            .iter()
            .map(|group| metadata.row_group(*group).num_rows())
            .sum()
    }

    /// Begins to read, in the columns and types of `schema`.
    fn read(&self, schema: &SchemaRef, tally: &Tally) -> query::Result<Batches> {
        for group in &self.groups {
            tally.add(self.file.bytes(&self.columns, *group) as usize);
        }
        let rows = self.file.rows(&self.columns, self.groups.clone())?;
        let schema = schema.clone();
        Ok(Box::new(rows.map(move |batch| {
            let batch = batch.map_err(|error| external(error.into()))?;
            completed(&schema, &batch)
        })))
    }
}

/// Returns the batch in the columns and types of `schema`; what it lacks is null.
fn completed(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch> {
    let column = |field: &FieldRef| -> Result<ArrayRef> {
        match batch.column_by_name(field.name()) {
            Some(column) if column.data_type() == field.data_type() => Ok(column.clone()),
            Some(column) => Ok(cast(column, field.data_type())?),
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
        }
    };
    let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        schema.clone(),
        columns,
        &options,
    )?)
}

/// The rows of one scan.
struct FileRows {
    table: String,
    schema: SchemaRef,
    parts: Vec<Part>,
}

impl fmt::Debug for FileRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe(f)
    }
}

impl Reads for FileRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self
            .parts
            .iter()
            .map(|part| part.file.metadata().num_row_groups());
        let groups = self.parts.iter().map(|part| part.groups.len());
        write!(
            f,
            "ParquetScan: table={}, columns=[{}], files={}, row_groups={} of {}, rows={}, bytes={}",
            self.table,
            column_names(&self.schema),
            self.parts.len(),
            groups.sum::<usize>(),
            all.sum::<usize>(),
            self.parts.iter().map(Part::rows).sum::<i64>(),
            self.parts.iter().map(Part::bytes).sum::<u64>(),
        )
    }

    fn batches(&self, tally: &Arc<Tally>) -> Result<Batches> {
        let (parts, schema, tally) = (self.parts.clone(), self.schema.clone(), tally.clone());
        Ok(Box::new(parts.into_iter().flat_map(
            move |part| match part.read(&schema, &tally).map_err(external) {
                Ok(batches) => batches,
                Err(error) => Box::new(std::iter::once(Err(error))),
            },
        )))
    }
}
