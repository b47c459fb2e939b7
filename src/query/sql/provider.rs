//! A table of artifacts as DataFusion sees it.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use dream_schema::Table;

use super::pushdown;
use crate::query::known::Known;
use crate::query::scan::{Counter, Scan, ScanOptions};
use crate::query::{QueryError, TableName};
use crate::store::Snapshot;

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
fn with_lists(schema: &Schema) -> SchemaRef {
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
        let partition = Partition {
            known: self.known.clone(),
            schema: schema.clone(),
            options: ScanOptions {
                selection: pushdown::selection(state, &self.known, filters)?,
                columns: projection.cloned(),
                limit,
                counter: self.counter.clone(),
            },
        };
        let exec = StreamingTableExec::try_new(schema, vec![Arc::new(partition)], None, [], false, limit)?;
        Ok(Arc::new(exec))
    }
}

/// The rows of one scan.
struct Partition {
    known: Arc<Known>,
    schema: SchemaRef,
    options: ScanOptions,
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Partition");
        debug
            .field("table", &self.known.table)
            .field("selection", &self.options.selection)
            .finish()
    }
}

impl PartitionStream for Partition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        // One batch is computed on, one waits, one is being read.
        let mut builder = RecordBatchReceiverStream::builder(self.schema.clone(), 1);
        let sender = builder.tx();
        let (known, schema, options) = (self.known.clone(), self.schema.clone(), self.options.clone());
        builder.spawn_blocking(move || {
            for batch in Scan::known(&known, options).map_err(external)? {
                let batch = batch
                    .map_err(external)
                    .and_then(|batch| with_schema(&schema, &batch));
                let failed = batch.is_err();
                // A closed channel means that nobody wants more.
                if sender.blocking_send(batch).is_err() || failed {
                    break;
                }
            }
            Ok(())
        });
        builder.build()
    }
}

/// Returns our error as one of DataFusion's, from which `message::error` takes it out again.
pub(super) fn external(error: QueryError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Returns the batch with its vectors as lists where the schema says so.
fn with_schema(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch> {
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
