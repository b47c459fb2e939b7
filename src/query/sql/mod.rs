//! SQL over a store, by DataFusion. Only reading.
//!
//! Every query sees one snapshot, of which the tables that it names are made: so their vector columns have
//! the width of what is stored now, and of the others not even the index is read. A query runs on the thread
//! that asks for its rows, with one more that reads and decodes blocks ahead of it.

mod functions;
mod message;
mod provider;
mod pushdown;
mod tables;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::config::Dialect;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::{SQLOptions, SessionContext};
use datafusion::logical_expr::{Expr, LogicalPlan, col, lit};
use tokio::runtime::Runtime;

use super::scan::Counter;
use super::{Class, Filter, QueryError, Result, Rows, TableName};
use crate::store::{Snapshot, Store};

/// Answers SQL queries on a store.
///
/// The tables are those of [`TableName`]. Beyond DataFusion's own functions there are `dot(a, b)`, `norm(a)`,
/// `l2_distance(a, b)` and `cosine_similarity(a, b)` on vectors.
pub struct Sql<'a> {
    store: &'a Store,
    counter: Arc<Counter>,
}

impl<'a> Sql<'a> {
    /// Prepares to query `store`.
    pub fn new(store: &'a Store) -> Self {
        Self {
            store,
            counter: Arc::default(),
        }
    }

    /// Returns how much the queries have read so far.
    pub fn counter(&self) -> &Counter {
        &self.counter
    }

    /// Returns the rows that a SELECT gives.
    ///
    /// # Errors
    /// If the query is wrong or would change something, or if the store cannot be read.
    pub fn query(&self, sql: &str) -> Result<Rows> {
        let context = tables::context(Arc::new(self.store.snapshot()?), &self.counter)?;
        rows(async {
            let plan = plan(&context, sql).await?;
            context.execute_logical_plan(plan).await.map_err(message::error)
        })
    }
}

/// Returns the rows of a filter that meet a condition. Only the condition is parsed.
pub(super) fn filtered(snapshot: Arc<Snapshot>, filter: &Filter, condition: &str) -> Result<Rows> {
    let context = tables::context(snapshot, &Arc::default())?;
    rows(async {
        // A line of its own, so that a comment at its end does not swallow the bracket.
        let sql = format!("SELECT * FROM {} WHERE ({condition}\n)", filter.table);
        let plan = plan(&context, &sql).await?;
        let mut frame = DataFrame::new(context.state(), plan);
        for chosen in chosen(filter) {
            frame = frame.filter(chosen).map_err(message::error)?;
        }
        frame.limit(0, filter.limit).map_err(message::error)
    })
}

/// Returns what the typed part of a filter asks of a row.
fn chosen(filter: &Filter) -> Vec<Expr> {
    let mut chosen = Vec::new();
    if !filter.runs.is_empty() {
        let runs = filter.runs.iter().map(|run| lit(run.to_string())).collect();
        chosen.push(col("run").in_list(runs, false));
    }
    match &filter.class {
        Some(Class::Id(id)) => chosen.push(col("class_id").eq(lit(*id as i32))),
        Some(Class::Name(name)) => chosen.push(col("class_name").eq(lit(name.as_str()))),
        None => {}
    }
    chosen
}

/// Begins to execute a query and returns its rows.
fn rows(frame: impl Future<Output = Result<DataFrame>>) -> Result<Rows> {
    // Timers are not enabled: nothing here waits for a clock.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|e| QueryError::Sql {
            message: format!("no thread for the query: {e}"),
        })?;
    let stream = runtime.block_on(async {
        let frame = frame.await?;
        frame.execute_stream().await.map_err(message::error)
    })?;
    Ok(Rows::new(stream.schema(), Answer { stream, runtime }))
}

/// The rows of a query that is being executed.
struct Answer {
    /// Dropped first: what reads ahead ends when nobody takes its rows any more.
    stream: SendableRecordBatchStream,
    runtime: Runtime,
}

impl Iterator for Answer {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let stream = &mut self.stream;
            let next = poll_fn(|context| stream.as_mut().poll_next(context));
            match self.runtime.block_on(next)? {
                Ok(batch) if batch.num_rows() == 0 => {}
                batch => return Some(batch.map_err(message::error)),
            }
        }
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
