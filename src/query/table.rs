//! The tables that one can ask: those of artifacts, and what the store knows of runs and data sets.

use std::fmt;
use std::str::FromStr;

use arrow::datatypes::SchemaRef;
use dream_schema::{Table, with_run_schema};

use super::{QueryError, catalog};

/// A table of SQL and of exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TableName {
    /// Stage executions.
    Runs,
    /// Which run read from which.
    RunInputs,
    /// Registered image sets.
    Datasets,
    /// A table of artifacts.
    Artifacts(Table),
}

impl TableName {
    /// Returns every table.
    pub fn all() -> impl Iterator<Item = TableName> {
        let catalog = [TableName::Runs, TableName::RunInputs, TableName::Datasets];
        catalog.into_iter().chain(Table::ALL.map(TableName::Artifacts))
    }

    /// Returns the table's name.
    pub fn name(self) -> &'static str {
        match self {
            TableName::Runs => "runs",
            TableName::RunInputs => "run_inputs",
            TableName::Datasets => "datasets",
            TableName::Artifacts(table) => table.name(),
        }
    }

    /// Returns the schema of the table's rows, `run` first, for vectors of `width` numbers.
    pub fn schema(self, width: usize) -> SchemaRef {
        match self {
            TableName::Runs => catalog::runs_schema(),
            TableName::RunInputs => catalog::run_inputs_schema(),
            TableName::Datasets => catalog::datasets_schema(),
            TableName::Artifacts(table) => with_run_schema(&table.schema(width)),
        }
    }

    /// Returns the names of all tables, as an error shows them.
    pub(crate) fn names() -> String {
        TableName::all()
            .map(TableName::name)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for TableName {
    type Err = QueryError;

    fn from_str(name: &str) -> Result<Self, QueryError> {
        TableName::all()
            .find(|t| t.name() == name)
            .ok_or_else(|| QueryError::UnknownTable {
                table: name.to_owned(),
                tables: TableName::names(),
            })
    }
}

/// Says whether a table's rows are kept by class, so that those of a class are found without reading the others.
pub(crate) fn by_class(table: Table) -> bool {
    matches!(
        table,
        Table::ClassEmbeddings | Table::Features | Table::Outliers | Table::Latents | Table::Images
    )
}
