//! A table of artifacts as DataFusion sees it.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use dream_schema::Table;

use super::pushdown;
use super::scan::{Batches, Reads, ScanExec, column_names};
use crate::query::known::Known;
use crate::query::scan::{Cost, Counter, Scan, ScanOptions, cost};
use crate::query::{QueryError, Selection, TableName};
use crate::store::{Snapshot, Tally};

/// A table of artifacts in one snapshot of a store.
pub(super) struct StoreTable {
    known: Arc<Known>,
    schema: SchemaRef,
    counter: Arc<Counter>,
}

impl StoreTable {
    /// Returns the table as it is in `snapshot`. Its vectors are of a fixed size if all that are stored have
    /// the same width, and otherwise lists.
    pub(super) fn new(
        snapshot: Arc<Snapshot>,
        table: Table,
        counter: Arc<Counter>,
    ) -> Result<Self, QueryError> {
        let known = Known::new(snapshot, table)?;
        let widths = known.widths();
        let width = widths.first().copied().unwrap_or(0);
        let mut schema = TableName::Artifacts(table).schema(width as usize);
        if widths.len() != 1 {
            schema = with_lists(&schema);
        }
        Ok(Self {
            known: Arc::new(known),
            schema,
            counter,
        })
    }
}

/// Returns the schema with vectors of any width.
pub(super) fn with_lists(schema: &Schema) -> SchemaRef {
    let list = |field: &FieldRef| match field.data_type() {
        DataType::FixedSizeList(item, _) => {
            Arc::new(Field::new(field.name(), DataType::List(item.clone()), true))
        }
        _ => field.clone(),
    };
    Arc::new(Schema::new(schema.fields().iter().map(list).collect::<Vec<_>>()))
}

impl fmt::Debug for StoreTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StoreTable").field(&self.known.table).finish()
    }
}

#[async_trait]
impl TableProvider for StoreTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match pushdown::condition(self.known.table, filter) {
            Some(_) => TableProviderFilterPushDown::Exact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => self.schema.clone(),
        };
        let reads = StoreRows {
            known: self.known.clone(),
            schema,
            options: ScanOptions {
                selection: pushdown::selection(state, &self.known, filters)?,
                columns: projection.cloned(),
                limit,
                counter: self.counter.clone(),
                tally: Arc::default(),
            },
        };
        Ok(Arc::new(ScanExec::new(Arc::new(reads))))
    }
}

/// The rows of one scan.
struct StoreRows {
    known: Arc<Known>,
    schema: SchemaRef,
    options: ScanOptions,
}

impl fmt::Debug for StoreRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe(f)
    }
}

impl Reads for StoreRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The columns that are read, the keys that rows are looked for under, and what that costs by the index.
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "StoreScan: table={}, columns=[{}]",
            self.known.table,
            column_names(&self.schema)
        )?;
        let Selection {
            runs,
            classes,
            class_names,
            index,
        } = &self.options.selection;
        if let Some(runs) = runs {
            write!(f, ", runs={} of {}", runs.len(), self.known.runs().len())?;
        }
        if let Some(classes) = classes {
            write!(f, ", classes={} of {}", classes.len(), self.known.classes().len())?;
        }
        if let Some(names) = class_names {
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            write!(f, ", class_names=[{}]", names.join(", "))?;
        }
        match (*index.start(), *index.end()) {
            (0, u64::MAX) => {}
            (first, u64::MAX) => write!(f, ", index={first}..")?,
            (first, last) => write!(f, ", index={first}..={last}")?,
        }
        if let Some(limit) = self.options.limit {
            write!(f, ", limit={limit}")?;
        }
        match cost(&self.known, &self.options) {
            Ok(Cost { rows, blocks, bytes }) => write!(f, ", rows={rows}, blocks={blocks}, bytes={bytes}"),
            Err(error) => write!(f, ", {error}"),
        }
    }

    fn batches(&self, tally: &Arc<Tally>) -> Result<Batches> {
        let options = ScanOptions {
            tally: tally.clone(),
            ..self.options.clone()
        };
        let scan = Scan::known(&self.known, options).map_err(external)?;
        let schema = self.schema.clone();
        Ok(Box::new(scan.map(move |batch| {
            batch
                .map_err(external)
                .and_then(|batch| with_schema(&schema, &batch))
        })))
    }
}

/// Returns our error as one of DataFusion's, from which `message::error` takes it out again.
pub(super) fn external(error: QueryError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Returns the batch with the types of the schema: vectors become lists where it says so.
pub(super) fn with_schema(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch> {
    if schema.fields() == batch.schema_ref().fields() {
        return Ok(batch.clone());
    }
    let columns = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| Ok(cast(column, field.data_type())?))
        .collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}
