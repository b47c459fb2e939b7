//! The tables that one can ask: those of artifacts, and what the store knows of runs and data sets.

use std::fmt;
use std::str::FromStr;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use dream_schema::{Table, with_run_schema};

use super::{QueryError, Result, catalog};
use crate::store::{Readable, Snapshot};

/// A table of SQL and of exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TableName {
    /// Stage executions.
    Runs,
    /// Names of runs, one by one.
    RunAliases,
    /// Which run read from which.
    RunInputs,
    /// Parameters of runs, key by key.
    RunParams,
    /// What runs read from outside the store.
    RunSources,
    /// Registered image sets.
    Datasets,
    /// A table of artifacts.
    Artifacts(Table),
}

impl TableName {
    /// Returns every table.
    pub fn all() -> impl Iterator<Item = TableName> {
        let catalog = [
            TableName::Runs,
            TableName::RunAliases,
            TableName::RunInputs,
            TableName::RunParams,
            TableName::RunSources,
            TableName::Datasets,
        ];
        catalog.into_iter().chain(Table::ALL.map(TableName::Artifacts))
    }

    /// Returns the table's name.
    pub fn name(self) -> &'static str {
        match self {
            TableName::Runs => "runs",
            TableName::RunAliases => "run_aliases",
            TableName::RunInputs => "run_inputs",
            TableName::RunParams => "run_params",
            TableName::RunSources => "run_sources",
            TableName::Datasets => "datasets",
            TableName::Artifacts(table) => table.name(),
        }
    }

    /// Returns what a row of the table is, in a sentence.
    pub fn sentence(self) -> String {
        match self {
            TableName::Runs => "A stage execution.".to_owned(),
            TableName::RunAliases => "A name of a run: each of several.".to_owned(),
            TableName::RunInputs => "An edge of the lineage: a run and one that it read from.".to_owned(),
            TableName::RunParams => "A parameter of a run: a dotted key and its value as JSON.".to_owned(),
            TableName::RunSources => "What a run read from outside the store, by its digest.".to_owned(),
            TableName::Datasets => "A registered image set, diffusion model or state dict.".to_owned(),
            TableName::Artifacts(table) => table.declaration().sentence(),
        }
    }

    /// Returns the schema of the table's rows, `run` first, for vectors of `width` numbers.
    pub fn schema(self, width: usize) -> SchemaRef {
        match self {
            TableName::Runs => catalog::runs_schema(),
            TableName::RunAliases => catalog::run_aliases_schema(),
            TableName::RunInputs => catalog::run_inputs_schema(),
            TableName::RunParams => catalog::run_params_schema(),
            TableName::RunSources => catalog::run_sources_schema(),
            TableName::Datasets => catalog::datasets_schema(),
            TableName::Artifacts(table) => with_run_schema(&table.schema(width)),
        }
    }

    /// Returns the rows of a table that is kept as a whole; of a table of artifacts none. Runs whose records
    /// are damaged are left out ([`Readable::legible_runs`] names them).
    pub(super) fn catalog(self, snapshot: &Snapshot) -> Result<RecordBatch> {
        let runs = || Ok::<_, QueryError>(snapshot.legible_runs()?.0);
        match self {
            TableName::Runs => catalog::runs_batch(&runs()?, &snapshot.aliases()?),
            TableName::RunAliases => catalog::run_aliases_batch(&snapshot.aliases()?),
            TableName::RunInputs => catalog::run_inputs_batch(&runs()?),
            TableName::RunParams => catalog::run_params_batch(&runs()?),
            TableName::RunSources => catalog::run_sources_batch(&runs()?, &snapshot.datasets()?),
            TableName::Datasets => catalog::datasets_batch(&snapshot.datasets()?),
            TableName::Artifacts(_) => Ok(RecordBatch::new_empty(self.schema(0))),
        }
    }

    /// Returns the names of all tables.
    pub(super) fn names() -> Vec<String> {
        TableName::all().map(|table| table.name().to_owned()).collect()
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for TableName {
    type Err = QueryError;

    fn from_str(name: &str) -> Result<Self> {
        TableName::all()
            .find(|t| t.name() == name)
            .ok_or_else(|| QueryError::UnknownTable {
                table: name.to_owned(),
                tables: TableName::names(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "| table | a row is | columns beyond run, class_id, class_name, index |\n|-|-|-|\n";

    /// Returns the tables and their columns in Markdown.
    fn markdown() -> String {
        let mut text = HEAD.to_owned();
        for table in TableName::all() {
            let schema = table.schema(1);
            let columns = schema.fields().iter().map(|field| field.name().as_str());
            let own = columns.filter(|name| !["run", "class_id", "class_name", "index"].contains(name));
            let (sentence, own) = (table.sentence(), own.collect::<Vec<_>>().join(", "));
            text += &format!("| {table} | {} | {own} |\n", sentence.replace('|', "\\|"));
        }
        text
    }

    #[test]
    fn architecture_names_every_table_and_column() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/ARCHITECTURE.md");
        let text = std::fs::read_to_string(path).unwrap();
        let start = text
            .find("| table | a row is |")
            .expect("ARCHITECTURE.md lacks the table of SQL tables");
        let end = text[start..]
            .find("\n\n")
            .map_or(text.len(), |length| start + length + 1);
        let tables = markdown();
        if std::env::var_os("RENEW").is_some() {
            let renewed = [&text[..start], &tables, &text[end..]].concat();
            std::fs::write(path, renewed).unwrap();
        } else {
            let how = "RENEW=1 cargo test --lib architecture_names";
            assert_eq!(
                &text[start..end],
                tables,
                "ARCHITECTURE.md is behind the tables; renew it with {how}"
            );
        }
    }
}
