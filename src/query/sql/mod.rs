//! SQL over a store, by DataFusion. Only reading.
//!
//! Every query sees one snapshot, for which the tables are made anew: so their vector columns have the width of what is stored
//! now. A query runs on the calling thread, with one more that reads and decodes blocks ahead of it.

mod functions;
mod message;
mod provider;
mod pushdown;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::config::Dialect;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::execution::context::{SQLOptions, SessionContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionConfig;

use super::filter::catalog_batch;
use super::scan::Counter;
use super::{QueryError, Result, TableName};
use crate::store::{Snapshot, Store};

/// Answers SQL queries on a store.
///
/// The tables are those of [`TableName`]. Beyond DataFusion's own functions there are `dot(a, b)`, `norm(a)`,
/// `l2_distance(a, b)` and `cosine_similarity(a, b)` on vectors.
pub struct Sql {
    store: Arc<Store>,
    counter: Arc<Counter>,
}

impl Sql {
    /// Prepares to query `store`.
    pub fn new(store: &Arc<Store>) -> Self {
        Self {
            store: store.clone(),
            counter: Arc::default(),
        }
    }

    /// Returns how much the queries have read so far.
    pub fn counter(&self) -> &Counter {
        &self.counter
    }

    /// Returns the rows that a SELECT gives, all of them in memory. There is at least one batch, if need be without rows.
    ///
    /// # Errors
    /// If the query is wrong or would change something, or if the store cannot be read.
    pub fn query(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        let schema = self.stream(sql, &mut |batch| {
            batches.push(batch);
            Ok(ControlFlow::Continue(()))
        })?;
        if batches.is_empty() {
            batches.push(RecordBatch::new_empty(schema));
        }
        Ok(batches)
    }

    /// Hands the rows that a SELECT gives to `take`, batch by batch, until it breaks, and returns their schema.
    ///
    /// # Errors
    /// As [`Sql::query`], and whatever `take` returns.
    pub fn stream(
        &self,
        sql: &str,
        take: &mut dyn FnMut(RecordBatch) -> Result<ControlFlow<()>>,
    ) -> Result<SchemaRef> {
        // Timers are not enabled: nothing here waits for a clock.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .map_err(|e| QueryError::Sql {
                message: format!("no thread for the query: {e}"),
            })?;
        runtime.block_on(self.run(sql, take))
    }

    async fn run(
        &self,
        sql: &str,
        take: &mut dyn FnMut(RecordBatch) -> Result<ControlFlow<()>>,
    ) -> Result<SchemaRef> {
        let context = self.context(Arc::new(self.store.snapshot()?))?;
        let plan = plan(&context, sql).await?;
        let frame = context.execute_logical_plan(plan).await.map_err(message::error)?;
        let mut stream = frame.execute_stream().await.map_err(message::error)?;
        let schema = stream.schema();
        while let Some(batch) = poll_fn(|cx| stream.as_mut().poll_next(cx)).await {
            let batch = batch.map_err(message::error)?;
            if batch.num_rows() > 0 && take(batch)?.is_break() {
                break;
            }
        }
        Ok(schema)
    }

    fn context(&self, snapshot: Arc<Snapshot>) -> Result<SessionContext> {
        let config = SessionConfig::new()
            // The calling thread is the only one that computes.
            .with_target_partitions(1)
            .with_information_schema(true);
        let context = SessionContext::new_with_config(config);
        for function in functions::all() {
            context.register_udf(function);
        }
        for table in TableName::all() {
            let provider: Arc<dyn datafusion::catalog::TableProvider> = match table {
                TableName::Artifacts(artifacts) => Arc::new(provider::StoreTable::new(
                    snapshot.clone(),
                    artifacts,
                    self.counter.clone(),
                )?),
                _ => {
                    let batch = catalog_batch(table, &snapshot)?;
                    let memory = MemTable::try_new(batch.schema(), vec![vec![batch]]);
                    Arc::new(memory.map_err(message::error)?)
                }
            };
            context
                .register_table(table.name(), provider)
                .map_err(message::error)?;
        }
        Ok(context)
    }
}

/// Returns the plan of a query that only reads.
async fn plan(context: &SessionContext, sql: &str) -> Result<LogicalPlan> {
    let state = context.state();
    let statement = state
        .sql_to_statement(sql, &Dialect::PostgreSQL)
        .map_err(message::error)?;
    message::check_statement(&statement)?;
    for table in state
        .resolve_table_references(&statement)
        .map_err(message::error)?
    {
        let known = TableName::all().any(|t| t.name() == table.table());
        if table.schema().is_none() && !known {
            return Err(QueryError::UnknownTable {
                table: table.table().to_owned(),
                tables: TableName::names(),
            });
        }
    }
    let plan = state.statement_to_plan(statement).await.map_err(message::error)?;
    let options = SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false);
    let refused = |e: DataFusionError| QueryError::ReadOnly {
        what: e.message().into_owned(),
    };
    options.verify_plan(&plan).map_err(refused)?;
    Ok(plan)
}
