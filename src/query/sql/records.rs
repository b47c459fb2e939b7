//! Tables that are no files of an exported data set: what its records say of its runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use dream_schema::{Dataset, Record, RunId};

use crate::input;
use crate::query::catalog;
use crate::query::{QueryError, Result, TableName};

/// The records of a folder of an archive ([`crate::archive`]).
pub(super) struct Records(PathBuf);

impl Records {
    /// Returns the records of a folder, if it has some.
    pub(super) fn of(folder: &Path) -> Option<Self> {
        let records = folder.join(Record::FOLDER);
        records.is_dir().then_some(Self(records))
    }

    /// Says whether all of a run is there, whose id is `run`.
    pub(super) fn has(&self, run: &str) -> bool {
        self.0.join(format!("{run}.json")).is_file()
    }

    /// Returns the table that the records stand for under a name, if there is one.
    pub(super) fn table_of(name: &str) -> Option<TableName> {
        Self::tables().into_iter().find(|table| table.name() == name)
    }

    /// Returns the tables that the records stand for.
    pub(super) fn tables() -> [TableName; 5] {
        [
            TableName::RunAliases,
            TableName::RunInputs,
            TableName::RunParams,
            TableName::RunSources,
            TableName::Datasets,
        ]
    }

    /// Returns the rows of a table, in the order of a store. Of the data sets those that runs read are there.
    ///
    /// # Errors
    /// If a record cannot be read: its rows would be missing.
    pub(super) fn rows(&self, table: TableName) -> Result<RecordBatch> {
        let records = self.read()?;
        let runs = || {
            records
                .iter()
                .map(|record| record.run.clone())
                .collect::<Vec<_>>()
        };
        match table {
            TableName::RunAliases => catalog::run_aliases_batch(&aliases(&records)),
            TableName::RunInputs => catalog::run_inputs_batch(&runs()),
            TableName::RunParams => catalog::run_params_batch(&runs()),
            TableName::RunSources => catalog::run_sources_batch(&runs(), &datasets(&records)),
            TableName::Datasets => catalog::datasets_batch(&datasets(&records)),
            TableName::Runs | TableName::Artifacts(_) => Ok(RecordBatch::new_empty(table.schema(0))),
        }
    }

    /// Reads the records, those of runs first that were begun first.
    fn read(&self) -> Result<Vec<Record>> {
        let failed = |path: &Path| {
            let folder = path.to_owned();
            move |source| QueryError::Folder { folder, source }
        };
        let mut records = Vec::new();
        for entry in std::fs::read_dir(&self.0).map_err(failed(&self.0))? {
            let path = entry.map_err(failed(&self.0))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(run) = name.and_then(Record::run_of) else {
                continue;
            };
            let json = input::whole(&path, input::ANY).map_err(failed(&path))?;
            let record = Record::read(run, &json).map_err(|reason| QueryError::Record { path, reason })?;
            records.push(record);
        }
        records.sort_by_key(|record| (record.run.started_at, record.run.id));
        Ok(records)
    }
}

/// Returns the names of runs, in order.
fn aliases(records: &[Record]) -> Vec<(String, RunId)> {
    let of = |record: &Record| {
        let run = record.run.id;
        let aliases = record.aliases.iter();
        aliases.map(move |alias| (alias.clone(), run)).collect::<Vec<_>>()
    };
    let mut all: Vec<_> = records.iter().flat_map(of).collect();
    all.sort_unstable();
    all
}

/// Returns what was registered, by name: as the run that was begun last has it.
fn datasets(records: &[Record]) -> Vec<Dataset> {
    let sets = records.iter().flat_map(|record| &record.datasets);
    let all: BTreeMap<_, _> = sets.map(|set| ((&set.name, &set.digest), set)).collect();
    all.into_values().cloned().collect()
}
