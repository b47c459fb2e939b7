//! Runs: begun, sealed, given up, found.

use std::collections::BTreeSet;
use std::path::Path;

use dream_schema::digest::Digest;
use dream_schema::{Process, Run, RunId, RunSpec, Status, Table};

use super::face::Viewed;
use super::view::{View, Writer};
use super::{Projection, Result, Store, StoreError, layout, partial, repack};

/// When and where a run is executed. The caller reads the clock and the machine's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Now, in microseconds since 1970-01-01 UTC.
    pub time_micros: i64,
    /// Version of the program.
    pub version: String,
    /// The processor: `cpu`, `cuda:0`.
    pub device: String,
    /// What computes there.
    pub engine: Option<String>,
    /// The machine.
    pub host: String,
    /// The process.
    pub process: Option<Process>,
}

impl Stamp {
    /// Returns the stamp with which a run was begun, to store the run elsewhere as it was made.
    pub fn of(run: &Run) -> Self {
        Self {
            time_micros: run.started_at,
            version: run.version.clone(),
            device: run.device.clone(),
            engine: run.engine.clone(),
            host: run.host.clone(),
            process: None,
        }
    }
}

/// What [`Store::begin`] found.
#[derive(Clone, Debug, PartialEq)]
pub enum Begun {
    /// The run is there and complete: there is nothing to do.
    Finished(Run),
    /// The run was interrupted or had failed: what is missing remains to be done.
    Resumed(Run),
    /// Rows of the run had been lost. What was left of them is removed, and all remains to be done.
    Remade(Run),
    /// The run is new.
    New(Run),
}

impl Begun {
    /// Returns the run, whatever became of it.
    pub fn into_run(self) -> Run {
        match self {
            Begun::Finished(run) | Begun::Resumed(run) | Begun::Remade(run) | Begun::New(run) => run,
        }
    }

    /// Says whether the run is complete already.
    pub fn is_finished(&self) -> bool {
        matches!(self, Begun::Finished(_))
    }
}

impl Store {
    /// Begins the run that `spec` asks for, or takes it up again. What is left of a partial run is removed: a
    /// stage goes on where the rows end, and here some are missing in the middle.
    ///
    /// # Errors
    /// [`StoreError::UnknownRun`] or [`StoreError::InputChanged`] if an input is not in the store, or not as
    /// `spec` says.
    pub fn begin(&self, spec: &RunSpec, stamp: &Stamp) -> Result<Begun> {
        let id = spec.id();
        if let Some(run) = self.finished_beneath(id)? {
            return Ok(Begun::Finished(run));
        }
        // The answer of a store that may only be read.
        if let Some(run) = find(&self.view()?, id)?.filter(|run| run.status == Status::Finished) {
            return Ok(Begun::Finished(run));
        }
        let writer = self.write()?;
        let begun = match find(&writer.view(), id)? {
            Some(old) => {
                let is_partial = old.status == Status::Partial;
                if is_partial {
                    writer.remove_rows(id)?;
                }
                let run = Run {
                    status: Status::Running,
                    finished_at: None,
                    note: old.note.filter(|_| old.status != Status::Failed),
                    version: stamp.version.clone(),
                    device: stamp.device.clone(),
                    engine: stamp.engine.clone(),
                    host: stamp.host.clone(),
                    process: stamp.process,
                    ..old
                };
                write(&writer, &run)?;
                match is_partial {
                    true => Begun::Remade(run),
                    false => Begun::Resumed(run),
                }
            }
            None => {
                self.check_inputs(&writer.view(), spec)?;
                let run = Run {
                    id,
                    spec: spec.clone(),
                    status: Status::Running,
                    digest: None,
                    started_at: stamp.time_micros,
                    finished_at: None,
                    version: stamp.version.clone(),
                    device: stamp.device.clone(),
                    engine: stamp.engine.clone(),
                    host: stamp.host.clone(),
                    process: stamp.process,
                    note: None,
                    former: None,
                };
                write(&writer, &run)?;
                Begun::New(run)
            }
        };
        writer.commit()?;
        Ok(begun)
    }

    /// Seals a run: takes the digest over all its rows, and marks it finished.
    ///
    /// # Errors
    /// [`StoreError::UnknownRun`], [`StoreError::Finished`] if it is sealed already, [`StoreError::Corrupt`]
    /// if a row cannot be read back, [`StoreError::OtherResult`] if it was finished before rows of it were
    /// lost, and these are not its rows; they are removed then.
    pub fn finish(&self, run: RunId, finished_at_micros: i64) -> Result<Run> {
        let writer = self.write()?;
        let open = require_open(&writer.view(), run)?;
        repack::repack(&writer, run)?;
        let digest = digest(&writer.view(), run)?;
        seal(writer, open, digest, finished_at_micros)
    }

    /// Marks a run as given up, with the error as its note. [`Store::begin`] takes it up again.
    ///
    /// # Errors
    /// [`StoreError::UnknownRun`], [`StoreError::Finished`].
    pub fn fail(&self, run: RunId, error: &str, at_micros: i64) -> Result<Run> {
        let writer = self.write()?;
        let mut failed = require_open(&writer.view(), run)?;
        failed.status = Status::Failed;
        failed.finished_at = Some(at_micros);
        failed.process = None;
        failed.note = Some(error.to_owned());
        write(&writer, &failed)?;
        writer.commit()?;
        Ok(failed)
    }

    /// Sets or clears the words of the user about a run; also of a finished one, because they are no part of
    /// its result.
    ///
    /// # Errors
    /// [`StoreError::UnknownRun`].
    pub fn set_note(&self, run: RunId, note: Option<&str>) -> Result<()> {
        let writer = self.write()?;
        let mut noted = require(&writer.view(), run)?;
        noted.note = note.map(str::to_owned);
        write(&writer, &noted)?;
        writer.commit()
    }
}

impl Store {
    /// Returns a run that is not here, and finished in a store beneath.
    fn finished_beneath(&self, run: RunId) -> Result<Option<Run>> {
        if self.beneath.is_empty() || is_there(&self.view()?, run)? {
            return Ok(None);
        }
        for view in self.beneath()? {
            let found = finished(&view, run)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn check_inputs(&self, view: &View<'_>, spec: &RunSpec) -> Result<()> {
        for input in &spec.inputs {
            let stored = match find(view, input.run)? {
                Some(stored) => stored,
                None => (self.finished_beneath(input.run)?).ok_or_else(|| unknown(input.run))?,
            };
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
}

/// Returns a run, if it is there and finished.
pub(super) fn finished(view: &View<'_>, run: RunId) -> Result<Option<Run>> {
    Ok(find(view, run)?.filter(|run| run.status == Status::Finished))
}

/// Adds the runs of another store to those that are known, in the order in which they were begun.
pub(super) fn unite(known: &mut Vec<Run>, more: Vec<Run>) {
    let ids: BTreeSet<RunId> = known.iter().map(|run| run.id).collect();
    known.extend(more.into_iter().filter(|run| !ids.contains(&run.id)));
    known.sort_by_key(|run| (run.started_at, run.id));
}

/// Marks a run finished, with the digest of its rows, and commits.
pub(super) fn seal(writer: Writer<'_>, open: Run, digest: String, finished_at_micros: i64) -> Result<Run> {
    if let Some(former) = open.former.as_ref().filter(|former| former.digest != digest)
        && !partial::may_differ(&writer.view(), &open)?
    {
        let error = StoreError::OtherResult {
            run: open.id,
            expected: former.digest.clone(),
            actual: digest,
        };
        writer.remove_rows(open.id)?;
        write(&writer, &open.into_partial())?;
        writer.commit()?;
        return Err(error);
    }
    let sealed = Run {
        digest: Some(digest),
        status: Status::Finished,
        finished_at: Some(finished_at_micros),
        process: None,
        former: None,
        ..open
    };
    write(&writer, &sealed)?;
    writer.commit()?;
    Ok(sealed)
}

/// Returns the error for a run that is not there.
pub(super) fn unknown(run: RunId) -> StoreError {
    StoreError::UnknownRun {
        name: run.to_string(),
        near: Vec::new(),
    }
}

/// Returns all runs, in the order in which they were begun.
pub(super) fn all(view: &View<'_>) -> Result<Vec<Run>> {
    let table = view.table(layout::RUNS)?;
    let mut runs = Vec::new();
    for item in table.iter()? {
        let (id, json) = item?;
        runs.push(parse(view.path, RunId(*id.value()), json.value())?);
    }
    runs.sort_by_key(|run: &Run| (run.started_at, run.id));
    Ok(runs)
}

/// The runs whose records can be read, in the order in which they were begun, and of the others the ids and
/// what is wrong.
pub type Legible = (Vec<Run>, Vec<(RunId, String)>);

/// Returns the runs, as far as their records can be read.
pub(super) fn legible(view: &View<'_>) -> Result<Legible> {
    let table = view.table(layout::RUNS)?;
    let (mut runs, mut damaged) = (Vec::new(), Vec::new());
    for item in table.iter()? {
        let (id, json) = item?;
        let id = RunId(*id.value());
        match parse(view.path, id, json.value()) {
            Ok(run) => runs.push(run),
            Err(StoreError::CorruptRecord { reason, .. }) => damaged.push((id, reason)),
            Err(error) => return Err(error),
        }
    }
    runs.sort_by_key(|run: &Run| (run.started_at, run.id));
    Ok((runs, damaged))
}

/// Says whether there is a record of a run, legible or not.
pub(super) fn is_there(view: &View<'_>, run: RunId) -> Result<bool> {
    Ok(view.table(layout::RUNS)?.get(&run.0)?.is_some())
}

/// Returns a run, if it is there.
pub(super) fn find(view: &View<'_>, run: RunId) -> Result<Option<Run>> {
    let table = view.table(layout::RUNS)?;
    let json = table.get(&run.0)?;
    json.map(|json| parse(view.path, run, json.value())).transpose()
}

/// Returns a run that must be there.
pub(super) fn require(view: &View<'_>, run: RunId) -> Result<Run> {
    find(view, run)?.ok_or_else(|| unknown(run))
}

/// Returns those of `all` runs that were made from `run`, directly or through others.
pub(super) fn dependents(all: &[Run], run: RunId) -> Vec<RunId> {
    let mut from = BTreeSet::from([run]);
    loop {
        let before = from.len();
        let reads = |other: &&Run| other.spec.inputs.iter().any(|input| from.contains(&input.run));
        let more: Vec<_> = all.iter().filter(reads).map(|other| other.id).collect();
        from.extend(more);
        if from.len() == before {
            break;
        }
    }
    let dependents = all.iter().map(|other| other.id);
    dependents
        .filter(|other| *other != run && from.contains(other))
        .collect()
}

/// Reads the record of a run, which must be that of `id`, with a question that has this id.
pub(super) fn parse(path: &Path, id: RunId, json: &[u8]) -> Result<Run> {
    let corrupt = |reason: String| StoreError::CorruptRecord {
        path: path.to_owned(),
        record: format!("run {id}"),
        reason,
    };
    let run: Run = serde_json::from_slice(json).map_err(|error| corrupt(error.to_string()))?;
    if run.id != id {
        return Err(corrupt(format!("it says that it is {}", run.id)));
    }
    if run.spec.id() != id {
        return Err(corrupt(format!(
            "what it was asked for has the id {}",
            run.spec.id()
        )));
    }
    Ok(partial::as_meant(run))
}

/// Writes the record of a run.
pub(super) fn write(writer: &Writer<'_>, run: &Run) -> Result<()> {
    let json = serde_json::to_vec(run)?;
    writer.put(layout::RUNS, &run.id.0, json.as_slice())?;
    partial::mark(writer, run.status == Status::Partial)
}

/// Removes the record of a run.
pub(super) fn remove(writer: &Writer<'_>, run: RunId) -> Result<()> {
    writer.remove(layout::RUNS, &run.0)?;
    partial::mark(writer, false)
}

/// Returns a run that may still be written to.
pub(super) fn require_open(view: &View<'_>, run: RunId) -> Result<Run> {
    let found = require(view, run)?;
    if found.status == Status::Finished {
        return Err(StoreError::Finished { run });
    }
    Ok(found)
}

/// Returns the number of rows of a run.
pub(super) fn rows(view: &View<'_>, run: RunId) -> Result<u64> {
    let mut rows = 0;
    for table in Table::ALL {
        let entries = view.entries(view.format.keys(table), Some(run), None)?;
        rows += entries
            .iter()
            .map(|(_, entry)| u64::from(entry.rows))
            .sum::<u64>();
    }
    Ok(rows)
}

/// Returns the digest over the rows of a run: tables in their order, rows by key.
pub(super) fn digest(view: &View<'_>, run: RunId) -> Result<String> {
    let mut digest = Digest::new();
    for table in Table::ALL {
        for info in view.infos(table, Some(run), None, &Projection::All)? {
            digest.update(table, &view.stretch(table, &info, &Projection::All)?)?;
        }
    }
    Ok(digest.finish())
}
