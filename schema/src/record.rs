//! What is on record of a run that was exported as Parquet files, beside them: `_runs/ID.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Dataset, Run, RunId};

/// A run that was exported: what its Parquet files do not say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The version of the layout of the run's files.
    pub version: u32,
    /// The run as the store kept it.
    pub run: Run,
    /// Its names.
    pub aliases: Vec<String>,
    /// What was registered of the sources that it names.
    pub datasets: Vec<Dataset>,
    /// The rows that it has in each table.
    pub rows: BTreeMap<String, u64>,
    /// The bytes that its checkpoints name.
    pub blobs: Vec<String>,
}

impl Record {
    /// The folder of all records.
    pub const FOLDER: &str = "_runs";

    /// The newest version. Before it, in version 1, the folders of runs were called as the column `run` is.
    pub const VERSION: u32 = 2;

    /// Returns the name of a run's record.
    pub fn name(run: RunId) -> String {
        format!("{}/{run}.json", Self::FOLDER)
    }

    /// Returns the run whose record a file of this name is, in its folder.
    pub fn run_of(file: &str) -> Option<RunId> {
        file.strip_suffix(".json")?.parse().ok()
    }

    /// Reads the record of `run`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn read(run: RunId, json: &[u8]) -> Result<Self, String> {
        let record: Self =
            serde_json::from_slice(json).map_err(|error| format!("it is no record of a run: {error}"))?;
        let (version, newest) = (record.version, Self::VERSION);
        if !(1..=newest).contains(&version) {
            return Err(format!("it is of version {version}, this program reads {newest}"));
        }
        if record.run.id != run || record.run.spec.id() != run || record.run.digest.is_none() {
            return Err("it is not that of the run whose name it has".to_owned());
        }
        Ok(record)
    }
}
