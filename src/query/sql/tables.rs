//! The tables of a store as a schema of DataFusion's: each is made when a query names it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{MemTable, SchemaProvider, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::TableType;
use datafusion::prelude::SessionConfig;

use super::provider::{StoreTable, external};
use super::{functions, message};
use crate::query::scan::Counter;
use crate::query::{self, QueryError, TableName};
use crate::store::Snapshot;

/// Returns what queries on a snapshot are planned and executed with.
pub(super) fn context(snapshot: Arc<Snapshot>, counter: &Arc<Counter>) -> query::Result<SessionContext> {
    const CATALOG: &str = "store";
    const SCHEMA: &str = "public";
    let config = SessionConfig::new()
        // The thread that asks for rows is the only one that computes.
        .with_target_partitions(1)
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_information_schema(true);
    let context = SessionContext::new_with_config(config);
    for function in functions::all() {
        context.register_udf(function);
    }
    let counter = counter.clone();
    let catalog = context.catalog(CATALOG).ok_or_else(|| QueryError::Sql {
        message: "the query engine has no catalog".to_owned(),
    })?;
    catalog
        .register_schema(SCHEMA, Arc::new(Tables { snapshot, counter }))
        .map_err(message::error)?;
    Ok(context)
}

/// The tables of a snapshot.
struct Tables {
    snapshot: Arc<Snapshot>,
    counter: Arc<Counter>,
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tables")
    }
}

impl Tables {
    fn named(name: &str) -> Option<TableName> {
        TableName::all().find(|table| table.name() == name)
    }

    fn make(&self, table: TableName) -> Result<Arc<dyn TableProvider>> {
        self.counter.add_table();
        match table {
            TableName::Artifacts(table) => {
                let (snapshot, counter) = (self.snapshot.clone(), self.counter.clone());
                let table = StoreTable::new(snapshot, table, counter).map_err(external)?;
                Ok(Arc::new(table))
            }
            TableName::Runs | TableName::RunInputs | TableName::Datasets => {
                let batch = table.catalog(&self.snapshot).map_err(external)?;
                Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
            }
        }
    }
}

#[async_trait]
impl SchemaProvider for Tables {
    fn table_names(&self) -> Vec<String> {
        TableName::all().map(|table| table.name().to_owned()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        Self::named(name).map(|table| self.make(table)).transpose()
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        Ok(Self::named(name).map(|_| TableType::Base))
    }

    fn table_exist(&self, name: &str) -> bool {
        Self::named(name).is_some()
    }
}
