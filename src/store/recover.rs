//! Saving what is still whole in a damaged file to a new store.
//!
//! The file is only read, without locks or repairs. First redb's trees are followed, from the last commit and
//! from the one before; runs that cannot be reached so are looked for in the pages themselves
//! ([`Salvage`]). Whatever is found, a finished run is saved as such only if its rows have its digest, and
//! one that was not finished only if a commit has all that its index names. Of any other what is left is
//! saved as a partial run.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::Path;

use arrow::array::RecordBatch;
use dream_schema::{Dataset, Run, RunId, Status, Table};
use tempfile::TempDir;

use super::detached::Commit;
use super::error::At;
use super::face::Viewed;
use super::open::require_folder;
use super::salvage::Salvage;
use super::view::{View, Writer};
use super::write::{self, Group};
use super::{
    BlockInfo, Projection, Readable, Result, Store, StoreError, dataset, head, layout, names, partial,
    repack, repair, runs,
};
use crate::error::{HasKind, Kind};

/// What [`Store::recover`] saved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Finished runs whose rows have their digest.
    pub whole: Vec<RunId>,
    /// Runs that were not finished, as far as they were.
    pub unfinished: Vec<RunId>,
    /// Runs that are not whole: those of their rows that can be read are saved. They are partial: asked for
    /// again, they are made from the beginning.
    pub in_part: Vec<LostRun>,
    /// Number of aliases.
    pub aliases: u64,
    /// Number of registered data sets and models.
    pub datasets: u64,
    /// Records, aliases and entries that cannot be read, in words.
    pub lost: Vec<String>,
}

/// A run that is not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostRun {
    /// The run.
    pub run: RunId,
    /// How many of its rows are saved.
    pub rows: u64,
    /// What is wrong with it.
    pub reason: String,
}

impl Store {
    /// Saves every run of `old` that is whole to a new store at `new`, which is there once all is saved.
    /// Nothing is written to `old`.
    ///
    /// # Errors
    /// If `new` is there already, nothing in `old` is of a store, or the disk fails.
    pub fn recover(old: &Path, new: &Path) -> Result<Recovered> {
        let mut salvage = None;
        match head::look(old) {
            Ok(()) | Err(StoreError::Truncated { .. } | StoreError::Damaged { .. }) => {}
            // The first page may be what is damaged.
            Err(foreign @ StoreError::NotAStore { .. }) => match Salvage::scan(old)? {
                found if found.is_empty() => return Err(foreign),
                found => salvage = Some(found),
            },
            Err(error) => return Err(error),
        }
        let exists = || StoreError::Exists { path: new.to_owned() };
        if new.exists() {
            return Err(exists());
        }
        require_folder(new)?;
        // Where another process writes to it, what is read stays as it is while this is open.
        let pinned = Store::open_read_only(old).and_then(|store| store.snapshot().map(|pin| (store, pin)));
        let folder = workplace(new)?;
        let saved = folder.path().join(SAVED);
        let mut recovery = Recovery {
            target: Store::create(&saved)?,
            runs: BTreeMap::new(),
            records: BTreeMap::new(),
            recovered: Recovered::default(),
            complete: false,
        };
        for commit in [Commit::Last, Commit::OneBefore] {
            // What this commit does not give, the other or the pages may.
            match Store::open_commit(old, commit) {
                Ok(source) => recovery.take(&source, Source::Commit)?,
                Err(error) if is_damage(&error) => {}
                Err(error) => return Err(error),
            }
            if recovery.is_done() {
                break;
            }
        }
        if !recovery.is_done() {
            let salvage = match salvage {
                Some(salvage) => salvage,
                None => Salvage::scan(old)?,
            };
            let found = salvage.store(&folder.path().join("salvage.redb"))?;
            recovery.take(&found, Source::Pages)?;
        }
        drop(pinned);
        let recovered = recovery.conclude()?;
        if new.exists() {
            return Err(exists());
        }
        std::fs::rename(&saved, new).at(new)?;
        Ok(recovered)
    }
}

/// What is saved so far, in a folder beside the new store.
const SAVED: &str = "saved.redb";

/// Makes the folder for what is saved so far. It is named after the new store, so that one that a killed
/// recovery left is found and taken away.
fn workplace(new: &Path) -> Result<TempDir> {
    let parent = new.parent().filter(|folder| !folder.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let name = new.file_name().unwrap_or_default();
    let make = || {
        let mut named = tempfile::Builder::new();
        named
            .prefix(".recover-")
            .suffix(name)
            .rand_bytes(0)
            .tempdir_in(parent)
    };
    let left = match make() {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let mut left = OsString::from(".recover-");
            left.push(name);
            parent.join(left)
        }
        made => return made.at(new),
    };
    // Another process may be at it.
    if let Err(error @ StoreError::Locked { .. }) = Store::open(left.join(SAVED)) {
        return Err(error);
    }
    std::fs::remove_dir_all(&left).at(new)?;
    make().at(new)
}

/// Where a store comes from that something is saved from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    /// A commit: its indexes say what there was.
    Commit,
    /// The pages of the file, whatever names them: what is not found there is not missed.
    Pages,
}

/// What became of a run so far.
enum Outcome {
    Whole,
    Unfinished,
    InPart { rows: u64, reason: String },
}

/// A recovery in progress.
struct Recovery {
    target: Store,
    runs: BTreeMap<RunId, Outcome>,
    /// The records that were found first, of finished runs where there are such.
    records: BTreeMap<RunId, Run>,
    recovered: Recovered,
    /// Whether a source gave all names.
    complete: bool,
}

impl Recovery {
    /// Says whether all that was ever named is saved.
    fn is_done(&self) -> bool {
        let in_part = |outcome: &Outcome| matches!(outcome, Outcome::InPart { .. });
        self.complete && !self.runs.values().any(in_part)
    }

    /// Saves what a source has and is not saved yet.
    fn take(&mut self, source: &Store, kind: Source) -> Result<()> {
        let Some(theirs) = self.read(source.view())? else {
            return Ok(());
        };
        self.complete = true;
        let records = self.read(runs::legible(&theirs))?;
        let (records, damaged) = records.unwrap_or_default();
        self.complete &= damaged.is_empty();
        for (id, reason) in damaged {
            self.recovered
                .lost
                .push(format!("the record of run {id}: {reason}"));
        }
        for record in records {
            if let Some(Outcome::Whole | Outcome::Unfinished) = self.runs.get(&record.id) {
                continue;
            }
            let record = match self.records.get(&record.id) {
                Some(known) if known.result().is_some() || record.result().is_none() => known.clone(),
                _ => record,
            };
            self.runs.insert(record.id, self.run(&theirs, &record, kind)?);
            self.records.insert(record.id, record);
        }
        for entry in self.read(dataset::all(&theirs))?.unwrap_or_default() {
            self.entry(&entry)?;
        }
        for (name, run) in self.read(names::all(&theirs))?.unwrap_or_default() {
            self.alias(&name, run)?;
        }
        Ok(())
    }

    /// Takes what could be read; that something could not be is remembered.
    fn read<T>(&mut self, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(found) => Ok(Some(found)),
            Err(error) if is_damage(&error) => {
                self.complete = false;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn run(&self, theirs: &View<'_>, record: &Run, kind: Source) -> Result<Outcome> {
        let reason = match self.whole(theirs, record, kind) {
            Ok(outcome) => return Ok(outcome),
            Err(error) if is_damage(&error) => reason(&error),
            Err(error) => return Err(error),
        };
        let writer = self.target.write()?;
        // Rows of an earlier attempt stay.
        for table in Table::ALL {
            let infos = match theirs.infos(table, Some(record.id), None, &Projection::All) {
                Ok(infos) => infos,
                Err(error) if is_damage(&error) => continue,
                Err(error) => return Err(error),
            };
            for info in infos {
                // A row that differs from one of the same key is of another attempt.
                let rows = theirs.stretch(table, &info, &Projection::All);
                match rows.and_then(|rows| put(theirs, &writer, table, &info, &rows)) {
                    Ok(()) => {}
                    Err(error) if is_damage(&error) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        repack::repack(&writer, record.id)?;
        // What one source lacks another may have had.
        let restored = partial::restored(record);
        let is_whole = match &restored.digest {
            Some(digest) => runs::digest(&writer.view(), record.id)? == *digest,
            None => false,
        };
        let outcome = match is_whole {
            true => {
                runs::write(&writer, &restored)?;
                Outcome::Whole
            }
            false => {
                runs::write(&writer, &record.clone().into_partial())?;
                let rows = runs::rows(&writer.view(), record.id)?;
                Outcome::InPart { rows, reason }
            }
        };
        writer.commit()?;
        Ok(outcome)
    }

    /// Saves a run of which everything can be read.
    fn whole(&self, theirs: &View<'_>, record: &Run, kind: Source) -> Result<Outcome> {
        let writer = self.target.write()?;
        // Those of an earlier attempt are not all of its rows.
        writer.remove_rows(record.id)?;
        repair::rows_of(theirs, &writer, record.id)?;
        repair::take_blobs(theirs, &writer, record.id)?;
        repack::repack(&writer, record.id)?;
        let restored = partial::restored(record);
        let is_whole = match &restored.digest {
            Some(digest) => runs::digest(&writer.view(), record.id)? == *digest,
            None => {
                record.status != Status::Partial
                    && kind == Source::Commit
                    && partial::is_closed(theirs, record.id)?
            }
        };
        if !is_whole {
            return Err(StoreError::CorruptRecord {
                path: theirs.path.to_owned(),
                record: format!("run {}", record.id),
                reason: match restored.digest {
                    Some(_) => "its rows are not all there".to_owned(),
                    None => "whether its rows are all there cannot be told".to_owned(),
                },
            });
        }
        runs::write(&writer, &restored)?;
        writer.commit()?;
        Ok(match restored.status {
            Status::Finished => Outcome::Whole,
            Status::Running | Status::Failed | Status::Partial => Outcome::Unfinished,
        })
    }

    fn entry(&mut self, entry: &Dataset) -> Result<()> {
        let writer = self.target.write()?;
        if dataset::find(&writer.view(), &entry.name)?.is_none() {
            dataset::write(&writer, entry)?;
            writer.commit()?;
        }
        Ok(())
    }

    fn alias(&mut self, name: &str, run: RunId) -> Result<()> {
        let taken = names::all(&self.target.view()?)?
            .iter()
            .any(|(other, _)| other == name);
        if !taken && self.runs.contains_key(&run) {
            let writer = self.target.write()?;
            writer.put(layout::ALIASES, name, &run.0)?;
            writer.commit()?;
        }
        Ok(())
    }

    fn conclude(mut self) -> Result<Recovered> {
        let order = self.target.runs()?.into_iter().map(|run| run.id);
        for run in order {
            match self.runs.remove(&run) {
                Some(Outcome::Whole) => self.recovered.whole.push(run),
                Some(Outcome::Unfinished) => self.recovered.unfinished.push(run),
                Some(Outcome::InPart { rows, reason }) => {
                    self.recovered.in_part.push(LostRun { run, rows, reason });
                }
                None => {}
            }
        }
        // A record that one source could not give may have come from another.
        let saved: Vec<String> = self.target.runs()?.iter().map(|run| run.id.to_string()).collect();
        let is_saved = |words: &String| saved.iter().any(|id| words.contains(id));
        self.recovered.lost.retain(|words| !is_saved(words));
        self.recovered.lost.sort();
        self.recovered.lost.dedup();
        self.recovered.aliases = self.target.aliases()?.len() as u64;
        self.recovered.datasets = self.target.datasets()?.len() as u64;
        Ok(self.recovered)
    }
}

/// Puts rows that can be read; a checkpoint only with the bytes that it names.
fn put(
    theirs: &View<'_>,
    writer: &Writer<'_>,
    table: Table,
    info: &BlockInfo,
    rows: &RecordBatch,
) -> Result<()> {
    let group = |first: u64, rows: RecordBatch| Group {
        table,
        part: info.part,
        first,
        rows,
    };
    if table != Table::Checkpoints {
        write::put(writer, info.run, &group(info.first, rows.clone()))?;
        return Ok(());
    }
    for place in 0..rows.num_rows() {
        let row = rows.slice(place, 1);
        match repair::blobs_of(theirs, writer, &row) {
            Ok(()) => {
                write::put(writer, info.run, &group(info.first + place as u64, row))?;
            }
            Err(error) if is_damage(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Says what is wrong with a run.
fn reason(error: &StoreError) -> String {
    match error {
        StoreError::Corrupt {
            table,
            part,
            index,
            reason,
            ..
        } => format!("table {table}, part {part}, index {index}: {reason}"),
        StoreError::CorruptRecord { reason, .. } | StoreError::Damaged { reason, .. } => reason.clone(),
        StoreError::UnknownBlob { hash, .. } => format!("the bytes {hash} of a checkpoint are not there"),
        StoreError::CorruptBlob { hash, reason, .. } => format!("the bytes {hash} of a checkpoint: {reason}"),
        other => other.to_string(),
    }
}

/// Says whether an error is of the file's contents.
fn is_damage(error: &StoreError) -> bool {
    match HasKind::kind(error) {
        Kind::Corrupt | Kind::Missing | Kind::Changed => true,
        // A lock that a panic has poisoned, or pages that a failed reading has closed.
        Kind::Io | Kind::Internal => matches!(error, StoreError::Redb { .. }),
        Kind::Exists
        | Kind::Refused
        | Kind::Locked
        | Kind::Unsupported
        | Kind::Interrupted
        | Kind::Diverged
        | Kind::Resource => false,
    }
}
