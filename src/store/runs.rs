//! Runs: begun, sealed, given up, found.

use std::path::Path;

use dream_schema::digest::Digest;
use dream_schema::{Run, RunId, RunSpec, Status, Table};
use redb::{ReadableTable, WriteTransaction};

use super::block::Place;
use super::error::At;
use super::layout::{self, Entry, KEY};
use super::{Result, Store, StoreError, repack};

/// When and where a run is executed. The caller reads the clock and the machine's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Now, in microseconds since 1970-01-01 UTC.
    pub time_micros: i64,
    /// Version of the program.
    pub version: String,
    /// The processor: `cpu`, `cuda:0`.
    pub device: String,
    /// The machine.
    pub host: String,
}

/// What [`Store::begin`] found.
#[derive(Clone, Debug, PartialEq)]
pub enum Begun {
    /// The run is there and complete: there is nothing to do.
    Finished(Run),
    /// The run was interrupted or had failed: what is missing remains to be done.
    Resumed(Run),
    /// The run is new.
    New(Run),
}

impl Begun {
    /// Returns the run, whatever became of it.
    pub fn into_run(self) -> Run {
        match self {
            Begun::Finished(run) | Begun::Resumed(run) | Begun::New(run) => run,
        }
    }

    /// Says whether the run is complete already.
    pub fn is_finished(&self) -> bool {
        matches!(self, Begun::Finished(_))
    }
}

pub(super) type RunTable<'t> = redb::Table<'t, &'static [u8; 16], &'static [u8]>;

impl Store {
    /// Begins the run that `spec` asks for, or takes it up again.
    ///
    /// # Errors
    /// [`StoreError::UnknownRun`] or [`StoreError::InputChanged`] if an input is not in the store, or not as `spec` says.
    pub fn begin(&self, spec: &RunSpec, stamp: &Stamp) -> Result<Begun> {
        let path = &self.path;
        let id = spec.id();
        let transaction = self.write()?;
        let begun = {
            let mut runs = transaction.open_table(layout::RUNS).at(path)?;
            match find(&runs, path, id)? {
                Some(run) if run.status == Status::Finished => return Ok(Begun::Finished(run)),
                Some(old) => {
                    let run = Run {
                        status: Status::Running,
                        finished_at: None,
                        note: old.note.filter(|_| old.status == Status::Running),
                        version: stamp.version.clone(),
                        device: stamp.device.clone(),
                        host: stamp.host.clone(),
                        ..old
                    };
                    write(&mut runs, path, &run)?;
                    Begun::Resumed(run)
                }
                None => {
                    check_inputs(&runs, path, spec)?;
                    let run = Run {
                        id,
                        spec: spec.clone(),
                        status: Status::Running,
                        digest: None,
                        started_at: stamp.time_micros,
                        finished_at: None,
                        version: stamp.version.clone(),
                        device: stamp.device.clone(),
                        host: stamp.host.clone(),
                        note: None,
                    };
                    write(&mut runs, path, &run)?;
                    Begun::New(run)
                }
            }
        };
        transaction.commit().at(path)?;
        Ok(begun)
    }

    /// Seals a run: takes the digest over all its rows, and marks it finished.
    ///
    /// # Errors
    /// [`StoreError::UnknownRun`], [`StoreError::Finished`] if it is sealed already, [`StoreError::Corrupt`] if a row cannot be
    /// read back.
    pub fn finish(&self, run: RunId, finished_at_micros: i64) -> Result<Run> {
        let path = &self.path;
        let transaction = self.write()?;
        let mut sealed = require_open(&transaction, path, run)?;
        for table in Table::ALL {
            repack::repack(&transaction, path, run, table)?;
        }
        sealed.digest = Some(digest(&transaction, path, run)?);
        sealed.status = Status::Finished;
        sealed.finished_at = Some(finished_at_micros);
        write(&mut transaction.open_table(layout::RUNS).at(path)?, path, &sealed)?;
        transaction.commit().at(path)?;
        Ok(sealed)
    }

    /// Marks a run as given up, with the error as its note. [`Store::begin`] takes it up again.
    ///
    /// # Errors
    /// [`StoreError::UnknownRun`], [`StoreError::Finished`].
    pub fn fail(&self, run: RunId, error: &str, at_micros: i64) -> Result<Run> {
        let path = &self.path;
        let transaction = self.write()?;
        let mut failed = require_open(&transaction, path, run)?;
        failed.status = Status::Failed;
        failed.finished_at = Some(at_micros);
        failed.note = Some(error.to_owned());
        write(&mut transaction.open_table(layout::RUNS).at(path)?, path, &failed)?;
        transaction.commit().at(path)?;
        Ok(failed)
    }

    /// Sets or clears the words of the user about a run; also of a finished one, because they are no part of its result.
    ///
    /// # Errors
    /// [`StoreError::UnknownRun`].
    pub fn set_note(&self, run: RunId, note: Option<&str>) -> Result<()> {
        let path = &self.path;
        let transaction = self.write()?;
        {
            let mut runs = transaction.open_table(layout::RUNS).at(path)?;
            let mut noted = find(&runs, path, run)?.ok_or_else(|| unknown(run))?;
            noted.note = note.map(str::to_owned);
            write(&mut runs, path, &noted)?;
        }
        transaction.commit().at(path)
    }

    /// Returns a run.
    ///
    /// # Errors
    /// [`StoreError::UnknownRun`].
    pub fn run(&self, run: RunId) -> Result<Run> {
        let runs = self.read()?.open_table(layout::RUNS).at(&self.path)?;
        find(&runs, &self.path, run)?.ok_or_else(|| unknown(run))
    }

    /// Returns all runs, in the order in which they were begun.
    ///
    /// # Errors
    /// If the disk fails or a record is corrupt.
    pub fn runs(&self) -> Result<Vec<Run>> {
        let table = self.read()?.open_table(layout::RUNS).at(&self.path)?;
        all(&table, &self.path)
    }
}

/// Returns the error for a run that is not there.
pub(super) fn unknown(run: RunId) -> StoreError {
    StoreError::UnknownRun {
        name: run.to_string(),
        near: Vec::new(),
    }
}

/// Returns all runs, in the order in which they were begun.
pub(super) fn all(
    table: &impl ReadableTable<&'static [u8; 16], &'static [u8]>,
    path: &Path,
) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for item in table.iter().at(path)? {
        let (id, json) = item.at(path)?;
        runs.push(parse(path, RunId(*id.value()), json.value())?);
    }
    runs.sort_by_key(|run: &Run| (run.started_at, run.id));
    Ok(runs)
}

/// Returns a run, if it is there.
pub(super) fn find(
    table: &impl ReadableTable<&'static [u8; 16], &'static [u8]>,
    path: &Path,
    run: RunId,
) -> Result<Option<Run>> {
    let json = table.get(&run.0).at(path)?;
    json.map(|json| parse(path, run, json.value())).transpose()
}

fn parse(path: &Path, id: RunId, json: &[u8]) -> Result<Run> {
    let corrupt = |reason: String| StoreError::CorruptRecord {
        path: path.to_owned(),
        record: format!("run {id}"),
        reason,
    };
    let run: Run = serde_json::from_slice(json).map_err(|error| corrupt(error.to_string()))?;
    if run.id != id {
        return Err(corrupt(format!("it says that it is {}", run.id)));
    }
    Ok(run)
}

/// Writes the record of a run.
pub(super) fn write(table: &mut RunTable<'_>, path: &Path, run: &Run) -> Result<()> {
    let json = serde_json::to_vec(run)?;
    table.insert(&run.id.0, json.as_slice()).at(path)?;
    Ok(())
}

/// Returns a run that may still be written to.
pub(super) fn require_open(transaction: &WriteTransaction, path: &Path, run: RunId) -> Result<Run> {
    let runs = transaction.open_table(layout::RUNS).at(path)?;
    let found = find(&runs, path, run)?.ok_or_else(|| unknown(run))?;
    if found.status == Status::Finished {
        return Err(StoreError::Finished { run });
    }
    Ok(found)
}

fn check_inputs(
    runs: &impl ReadableTable<&'static [u8; 16], &'static [u8]>,
    path: &Path,
    spec: &RunSpec,
) -> Result<()> {
    for input in &spec.inputs {
        let stored = find(runs, path, input.run)?.ok_or_else(|| unknown(input.run))?;
        if stored.digest.as_ref() != Some(&input.digest) {
            return Err(StoreError::InputChanged {
                role: input.role.clone(),
                run: input.run,
                expected: input.digest.clone(),
                actual: stored.digest.unwrap_or_else(|| "none".to_owned()),
            });
        }
    }
    Ok(())
}

/// Returns the digest over the rows of a run: tables in their order, rows by key.
pub(super) fn digest(transaction: &WriteTransaction, path: &Path, run: RunId) -> Result<String> {
    let mut digest = Digest::new();
    let (low, high) = layout::bounds(Some(run), None);
    for table in Table::ALL {
        let (index, blocks) = layout::tables(table);
        let index = transaction.open_table(index).at(path)?;
        let blocks = transaction.open_table(blocks).at(path)?;
        for item in index.range::<&[u8; KEY]>(&low..=&high).at(path)? {
            let (key, entry) = item.at(path)?;
            let block = blocks.get(key.value()).at(path)?;
            let batch = Place::new(path, table, key.value()).decode(
                &Entry::decode(entry.value()),
                block.as_ref().map(|guard| guard.value()),
            )?;
            digest.update(table, &batch)?;
        }
    }
    Ok(digest.finish())
}
