//! The tables of a store, or of a folder of Parquet files, as a schema of DataFusion's: each is made when a
//! query names it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{MemTable, SchemaProvider, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::context::SessionContext;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::functions::datetime::planner::DatetimeFunctionPlanner;
use datafusion::logical_expr::TableType;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::prelude::SessionConfig;

use super::files::Folder;
use super::growth::{self, Planned};
use super::provider::{StoreTable, external};
use super::{aggregates, bytes, checked, functions, json, message, narrow, sum};
use crate::query::scan::Counter;
use crate::query::{self, QueryError, QueryOptions, TableName};
use crate::store::Snapshot;

const CATALOG: &str = "store";
const SCHEMA: &str = "public";

/// The most that is set aside for merging.
const RESERVED: usize = 10 << 20;

/// Memory for each row of a batch: a thousand batches or so fit, and of rows of vectors forty.
const MEMORY_OF_A_ROW: usize = 128 << 10;

/// Rows of a batch, at least and at most.
const FEWEST: usize = 64;
const MOST: usize = 8192;

/// Where the rows of the tables are.
#[derive(Clone)]
pub(super) enum Source {
    Snapshot(Arc<Snapshot>),
    Parquet(Arc<Folder>),
}

impl Source {
    /// Says whether the columns `run` and `input` of a table hold ids of runs: in files of others they may
    /// hold anything.
    pub(super) fn has_ids(&self, table: &str) -> bool {
        match self {
            Self::Snapshot(_) => true,
            Self::Parquet(folder) => folder.is_exported(table),
        }
    }
}

/// Returns what a query is planned and executed with.
pub(super) fn context(
    source: Source,
    counter: &Arc<Counter>,
    options: &QueryOptions,
    planned: &Planned,
) -> query::Result<SessionContext> {
    let config = config(options);
    let runtime = runtime(options).map_err(message::error)?;
    let mut context = SessionContext::new_with_config_rt(config, runtime);
    let state = context.state();
    for function in growth::bounded(state.scalar_functions().values(), options.memory, planned) {
        context.register_udf(function);
    }
    for function in functions::all().chain(json::all()).chain(bytes::all()) {
        context.register_udf(function);
    }
    for aggregate in aggregates::all().chain([sum::checked()]) {
        context.register_udaf(aggregate);
    }
    // `extract(year from started_at)`.
    let planner = Arc::new(DatetimeFunctionPlanner);
    context.register_expr_planner(planner).map_err(message::error)?;
    let rewrites: [Arc<dyn FunctionRewrite + Send + Sync>; 2] =
        [Arc::new(narrow::Narrow), Arc::new(checked::Checked)];
    for rewrite in rewrites {
        context
            .register_function_rewrite(rewrite)
            .map_err(message::error)?;
    }
    let counter = counter.clone();
    let catalog = context.catalog(CATALOG).ok_or(QueryError::Engine)?;
    catalog
        .register_schema(SCHEMA, Arc::new(Tables { source, counter }))
        .map_err(message::error)?;
    Ok(context)
}

/// Refuses the name of a table that there is not.
pub(super) fn check_name(context: &SessionContext, table: &str) -> query::Result<()> {
    let catalog = context.catalog(CATALOG);
    let schema = catalog.and_then(|catalog| catalog.schema(SCHEMA));
    let schema = schema.ok_or(QueryError::Engine)?;
    match schema.table_exist(table) {
        true => Ok(()),
        false => Err(QueryError::UnknownTable {
            table: table.to_owned(),
            tables: schema.table_names(),
        }),
    }
}

fn config(options: &QueryOptions) -> SessionConfig {
    SessionConfig::new()
        // The thread that executes the query is the only one that computes.
        .with_target_partitions(1)
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_information_schema(true)
        // What merging the files of a sort sets aside, and the rows of each of them that it holds.
        .with_sort_spill_reservation_bytes((options.memory / 8).min(RESERVED))
        .with_batch_size((options.memory / MEMORY_OF_A_ROW).clamp(FEWEST, MOST))
}

/// Returns the limit of memory, and the place of what goes beyond it.
fn runtime(options: &QueryOptions) -> Result<Arc<RuntimeEnv>> {
    let mode = match &options.spill {
        Some(folder) => DiskManagerMode::Directories(vec![folder.clone()]),
        None => DiskManagerMode::OsTmpDirectory,
    };
    RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(options.memory)))
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(mode))
        .build_arc()
}

/// The tables of a source.
struct Tables {
    source: Source,
    counter: Arc<Counter>,
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tables")
    }
}

impl Tables {
    fn make(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let made = match &self.source {
            Source::Snapshot(snapshot) => {
                let table = TableName::all().find(|table| table.name() == name);
                table.map(|table| self.of_store(snapshot, table)).transpose()?
            }
            Source::Parquet(folder) => folder.table(name).map_err(external)?,
        };
        if made.is_some() {
            self.counter.add_table();
        }
        Ok(made)
    }

    fn of_store(&self, snapshot: &Arc<Snapshot>, table: TableName) -> Result<Arc<dyn TableProvider>> {
        match table {
            TableName::Artifacts(table) => {
                let (snapshot, counter) = (snapshot.clone(), self.counter.clone());
                let table = StoreTable::new(snapshot, table, counter).map_err(external)?;
                Ok(Arc::new(table))
            }
            TableName::Runs
            | TableName::RunAliases
            | TableName::RunInputs
            | TableName::RunParams
            | TableName::RunSources
            | TableName::Datasets => {
                let batch = table.catalog(snapshot).map_err(external)?;
                Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
            }
        }
    }
}

#[async_trait]
impl SchemaProvider for Tables {
    fn table_names(&self) -> Vec<String> {
        match &self.source {
            Source::Snapshot(_) => TableName::names(),
            Source::Parquet(folder) => folder.names(),
        }
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        self.make(name)
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        Ok(self.table_exist(name).then_some(TableType::Base))
    }

    fn table_exist(&self, name: &str) -> bool {
        match &self.source {
            Source::Snapshot(_) => self.table_names().iter().any(|known| known == name),
            Source::Parquet(folder) => folder.has(name),
        }
    }
}
