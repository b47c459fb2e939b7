//! Putting right what [`Store::verify`] found.
//!
//! What cannot be read here is taken from another store that has it whole: rows of a finished run only where
//! their digest is the run's, blobs only where their BLAKE3 is their address. Without another store only that
//! is changed which costs no byte of what can still be read: names of what is not there, blobs that nothing
//! names, and runs whose rows were lost, which are partial from then on, so that their stage makes them anew.
//!
//! Each run is one transaction: it is whole afterwards, or as it was.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use dream_schema::{Run, RunId, RunInput, Status, Table};

use super::face::{Readable, Viewed};
use super::view::{View, Writer};
use super::write::{self, Group};
use super::{
    Place, Problem, ProblemKind, Projection, Result, Store, StoreError, Verification, blob, dataset, gc,
    layout, merge, names, partial, repack, runs,
};
use crate::error::{HasKind, Kind};

/// How [`Store::repair`] goes about it.
#[derive(Clone, Copy, Default)]
pub struct RepairOptions<'a> {
    /// A store that has what is damaged here.
    pub from: Option<&'a Store>,
    /// Only this run and its blobs.
    pub run: Option<RunId>,
    /// Changes nothing; says what would be done.
    pub dry_run: bool,
}

/// What [`Store::repair`] did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// What is put right.
    pub fixes: Vec<Fix>,
    /// What is left as it was, and why.
    pub left: Vec<(Problem, String)>,
}

/// One thing that was put right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fix {
    /// A run got its rows from the other store.
    Rows {
        /// The run.
        run: RunId,
        /// How many rows could not be read here.
        rows: u64,
    },
    /// The record of a run came from the other store.
    Record(RunId),
    /// A run of which rows were lost is partial: asked for again, it is made from the beginning.
    Reopened {
        /// The run.
        run: RunId,
        /// How many rows it still has.
        rows: u64,
    },
    /// Blocks that nothing names were removed; the rows of their run are complete without them.
    Strays(RunId),
    /// Bytes came from the other store.
    Blob(String),
    /// Bytes that no checkpoint names were removed.
    Freed {
        /// Their address.
        hash: String,
        /// How many they were.
        bytes: u64,
    },
    /// A name of a run that is not there was removed.
    Alias(String),
    /// An entry of what is registered came from the other store.
    Dataset(String),
}

impl Store {
    /// Puts right what `report` found, as far as that is possible, and says what is left.
    ///
    /// # Errors
    /// If the disk fails, or the other store cannot be read. What was put right before stays.
    pub fn repair(&self, report: &Verification, options: RepairOptions<'_>) -> Result<Repaired> {
        let mut repair = Repair {
            store: self,
            theirs: options.from.map(Viewed::view).transpose()?,
            dry_run: options.dry_run,
            mended: BTreeMap::new(),
            repaired: Repaired::default(),
        };
        let wanted = |problem: &&Problem| match (options.run, &problem.place) {
            (None, _) => true,
            (Some(run), Place::Blob { runs, .. }) => runs.contains(&run),
            (Some(run), _) => problem.run() == Some(run),
        };
        let problems: Vec<&Problem> = report.problems.iter().filter(wanted).collect();
        let in_rows = |problem: &&&Problem| {
            matches!(problem.place, Place::Block(_) | Place::Run(_)) && problem.kind != ProblemKind::Input
        };
        let runs: BTreeSet<RunId> = problems.iter().filter(in_rows).filter_map(|p| p.run()).collect();
        for run in runs {
            let of_run: Vec<&Problem> = problems.iter().filter(in_rows).copied().collect();
            let of_run: Vec<&Problem> = of_run.into_iter().filter(|p| p.run() == Some(run)).collect();
            repair.run(run, &of_run)?;
        }
        for problem in problems.iter().filter(|problem| !in_rows(problem)) {
            match (&problem.place, problem.kind) {
                (Place::Run(run), ProblemKind::Input) => repair.inputs(*run, problem)?,
                _ => repair.other(problem)?,
            }
        }
        if options.run.is_none() {
            repair.free()?;
        }
        Ok(repair.repaired)
    }
}

/// Why something is left as it is.
enum Left {
    Because(String),
    Failed(StoreError),
}

impl From<StoreError> for Left {
    fn from(error: StoreError) -> Self {
        match HasKind::kind(&error) {
            Kind::Corrupt | Kind::Changed | Kind::Missing => Self::Because(error.to_string()),
            _ => Self::Failed(error),
        }
    }
}

/// A repair in progress.
struct Repair<'a> {
    store: &'a Store,
    theirs: Option<View<'a>>,
    dry_run: bool,
    /// Runs that came from the other store, with their digests.
    mended: BTreeMap<RunId, Option<String>>,
    repaired: Repaired,
}

impl Repair<'_> {
    /// Makes changes durable, unless they are only tried.
    fn commit(&self, writer: Writer<'_>) -> Result<()> {
        match self.dry_run {
            true => Ok(()),
            false => writer.commit(),
        }
    }

    fn note(&mut self, fixed: std::result::Result<Fix, Left>, problems: &[&Problem]) -> Result<()> {
        match fixed {
            Ok(fix) => self.repaired.fixes.push(fix),
            Err(Left::Failed(error)) => return Err(error),
            Err(Left::Because(why)) => {
                let left = problems.iter().map(|problem| ((*problem).clone(), why.clone()));
                self.repaired.left.extend(left);
            }
        }
        Ok(())
    }

    fn run(&mut self, run: RunId, problems: &[&Problem]) -> Result<()> {
        let fixed = match &self.theirs {
            Some(theirs) => match self.take(theirs, run, problems) {
                Err(Left::Because(why)) => self.without(run, problems).map_err(|left| match left {
                    Left::Because(_) => Left::Because(why),
                    failed => failed,
                }),
                Ok((fix, digest)) => {
                    self.mended.insert(run, digest);
                    Ok(fix)
                }
                Err(failed) => Err(failed),
            },
            None => self.without(run, problems),
        };
        self.note(fixed, problems)
    }

    /// Looks whether what a run was made from is what it was, after runs were put right.
    fn inputs(&mut self, run: RunId, problem: &Problem) -> Result<()> {
        let ours = self.store.view()?;
        let as_read = |input: &RunInput| -> Result<bool> {
            let digest = match self.mended.get(&input.run) {
                Some(digest) => digest.clone(),
                None => runs::find(&ours, input.run)
                    .ok()
                    .flatten()
                    .and_then(|run| run.digest),
            };
            Ok(digest.as_ref() == Some(&input.digest))
        };
        for input in runs::require(&ours, run)?.spec.inputs {
            if !as_read(&input)? {
                let why = "what it was made from is not here; its own rows are not touched by that";
                self.repaired.left.push((problem.clone(), why.to_owned()));
                break;
            }
        }
        Ok(())
    }

    /// Takes what cannot be read of a run from the other store; returns also its digest then.
    fn take(
        &self,
        theirs: &View<'_>,
        run: RunId,
        problems: &[&Problem],
    ) -> std::result::Result<(Fix, Option<String>), Left> {
        let because = |why: &str| Left::Because(format!("{}: {why}", theirs.path.display()));
        let Some(their_run) = runs::find(theirs, run)? else {
            return Err(because("the run is not there"));
        };
        let ours = self.store.view()?;
        let our_run = runs::find(&ours, run).ok().flatten();
        let result = our_run.as_ref().and_then(Run::result);
        if result.is_some() && their_run.result().is_some() && result != their_run.result() {
            return Err(because("the run has other rows there"));
        }
        let result = result.or(their_run.result()).map(str::to_owned);
        let finished = |run: &&Run| run.status == Status::Finished;
        let records = [our_run.as_ref(), Some(&their_run)].into_iter().flatten();
        let known = |run: &&Run| run.result().is_some();
        let whole = records.clone().find(finished).or(records.clone().find(known));
        let whole = whole.or(records.clone().next());
        let mut record = match (&result, whole) {
            (Some(_), Some(record)) if finished(&record) => record.clone(),
            (Some(_), Some(record)) => record.clone().into_restored(),
            // Of a run that was never finished nothing says which rows belong to it.
            (None, Some(record)) if record.status != Status::Partial => record.clone(),
            _ => return Err(because("the run is not finished there")),
        };
        if let Some(note) = our_run.as_ref().and_then(merge::own_note) {
            record.note = Some(note.clone());
        }
        let writer = self.store.write()?;
        let is_partial = our_run.as_ref().is_some_and(|run| run.status == Status::Partial);
        let mut unread = 0;
        if our_run.is_some() || result.is_none() || runs::digest(&ours, run).ok() != result {
            match is_partial && finished(&&their_run) {
                true => writer.remove_rows(run)?,
                false => drop(readable_rows(&ours, &writer, run)?),
            }
            unread = rows_of(theirs, &writer, run)?;
            repack::repack(&writer, run)?;
        }
        let is_whole = match &result {
            Some(result) => runs::digest(&writer.view(), run)? == *result,
            None => their_run.status != Status::Partial && partial::has_all(&writer, run, problems)?,
        };
        if !is_whole {
            return Err(because("the run is not whole there"));
        }
        take_blobs(theirs, &writer, run)?;
        runs::write(&writer, &record)?;
        self.commit(writer)?;
        let fix = match our_run {
            Some(_) => Fix::Rows { run, rows: unread },
            None => Fix::Record(run),
        };
        Ok((fix, record.digest))
    }

    /// Does what can be done for a run without another store.
    fn without(&self, run: RunId, problems: &[&Problem]) -> std::result::Result<Fix, Left> {
        let because = |why: &str| Err(Left::Because(why.to_owned()));
        let has = |kind| problems.iter().any(|problem| problem.kind == kind);
        let ours = self.store.view()?;
        let Ok(Some(record)) = runs::find(&ours, run) else {
            return because("its record is needed, which another store may have");
        };
        if has(ProblemKind::Damaged) {
            return because("a sound copy is needed, from another store or by making the run again");
        }
        let in_blocks = problems
            .iter()
            .any(|problem| matches!(problem.place, Place::Block(_)));
        if record.status == Status::Partial && !in_blocks {
            return because("asked for again, it is made from the beginning");
        }
        let writer = self.store.write()?;
        let rows = readable_rows(&ours, &writer, run)?;
        repack::repack(&writer, run)?;
        let is_whole = Some(runs::digest(&writer.view(), run)?) == record.digest;
        if !is_whole {
            runs::write(&writer, &record.into_partial())?;
        }
        self.commit(writer)?;
        Ok(match is_whole {
            true => Fix::Strays(run),
            false => Fix::Reopened { run, rows },
        })
    }

    /// Puts right what is no row of a run.
    fn other(&mut self, problem: &Problem) -> Result<()> {
        let fixed = match &problem.place {
            Place::Alias(name) => self.alias(name),
            Place::Blob { hash, .. } => self.blob(hash),
            Place::Dataset(name) => self.dataset(name),
            Place::Pages => Err(Left::Because(
                "the pages of the file itself are damaged: what is whole can be saved to another file"
                    .to_owned(),
            )),
            Place::Block(_) | Place::Run(_) => return Ok(()),
        };
        self.note(fixed, &[problem])
    }

    fn alias(&self, name: &str) -> std::result::Result<Fix, Left> {
        let writer = self.store.write()?;
        let named = names::all(&writer.view())?
            .into_iter()
            .find(|(other, _)| other == name);
        if let Some((_, run)) = named
            && !runs::is_there(&writer.view(), run)?
        {
            writer.remove(layout::ALIASES, name)?;
            self.commit(writer)?;
        }
        Ok(Fix::Alias(name.to_owned()))
    }

    fn blob(&self, hash: &str) -> std::result::Result<Fix, Left> {
        let Some(theirs) = &self.theirs else {
            let why = "a sound copy is needed, from another store or by making the run again";
            return Err(Left::Because(why.to_owned()));
        };
        let bytes = blob::get(theirs, hash)?;
        let writer = self.store.write()?;
        let hash = blake3::hash(&bytes);
        blob::remove(&writer, &hash)?;
        blob::put(&writer, &hash, &bytes)?;
        self.commit(writer)?;
        Ok(Fix::Blob(hash.to_hex().to_string()))
    }

    fn dataset(&self, name: &str) -> std::result::Result<Fix, Left> {
        let Some(theirs) = &self.theirs else {
            let why = "its entry is needed, which another store may have; or register it again";
            return Err(Left::Because(why.to_owned()));
        };
        let entry = dataset::require(theirs, name)?;
        let writer = self.store.write()?;
        dataset::write(&writer, &entry)?;
        self.commit(writer)?;
        Ok(Fix::Dataset(name.to_owned()))
    }

    /// Removes blobs that no checkpoint names, where all checkpoints can be read.
    fn free(&mut self) -> Result<()> {
        let writer = self.store.write()?;
        let unnamed = match gc::unnamed_blobs(&writer.view()) {
            Ok(unnamed) => unnamed,
            Err(error) if HasKind::kind(&error) == Kind::Corrupt => return Ok(()),
            Err(error) => return Err(error),
        };
        // What a run that is being made has put and not yet named is not lost.
        let unfinished = |run: &Run| run.status == Status::Running;
        let (runs, damaged) = self.store.legible_runs()?;
        if unnamed.is_empty() || !damaged.is_empty() || runs.iter().any(unfinished) {
            return Ok(());
        }
        for (hash, bytes) in unnamed {
            blob::remove(&writer, &hash)?;
            let hash = hash.to_hex().to_string();
            let is_it = |(problem, _): &(Problem, String)| match &problem.place {
                Place::Blob { hash: other, .. } => *other == hash,
                Place::Block(_) | Place::Run(_) | Place::Alias(_) | Place::Dataset(_) | Place::Pages => false,
            };
            self.repaired.left.retain(|left| !is_it(left));
            self.repaired.fixes.push(Fix::Freed { hash, bytes });
        }
        self.commit(writer)
    }
}

/// Writes the rows of a run that can be read, in place of all that is there of it; returns how many they are.
fn readable_rows(ours: &View<'_>, writer: &Writer<'_>, run: RunId) -> Result<u64> {
    let mut kept = 0;
    writer.remove_rows(run)?;
    for table in Table::ALL {
        let infos = match ours.infos(table, Some(run), None, &Projection::All) {
            Ok(infos) => infos,
            Err(error) if HasKind::kind(&error) == Kind::Corrupt => continue,
            Err(error) => return Err(error),
        };
        for info in infos {
            match ours.stretch(table, &info, &Projection::All) {
                Ok(rows) => {
                    let group = Group {
                        table,
                        part: info.part,
                        first: info.first,
                        rows,
                    };
                    kept += write::put(writer, run, &group)?;
                }
                Err(error) if HasKind::kind(&error) == Kind::Corrupt => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(kept)
}

/// Writes the rows of a run that another store has and this one has not; returns how many they are.
pub(super) fn rows_of(theirs: &View<'_>, writer: &Writer<'_>, run: RunId) -> Result<u64> {
    let mut put = 0;
    for table in Table::ALL {
        for info in theirs.infos(table, Some(run), None, &Projection::All)? {
            let group = Group {
                table,
                part: info.part,
                first: info.first,
                rows: theirs.stretch(table, &info, &Projection::All)?,
            };
            put += write::put(writer, run, &group)?;
        }
    }
    Ok(put)
}

/// Writes the blobs that the checkpoints of a run name.
pub(super) fn take_blobs(theirs: &View<'_>, writer: &Writer<'_>, run: RunId) -> Result<()> {
    let table = Table::Checkpoints;
    for info in theirs.infos(table, Some(run), None, &Projection::All)? {
        blobs_of(theirs, writer, &theirs.stretch(table, &info, &Projection::All)?)?;
    }
    Ok(())
}

/// Writes the blobs that rows of `checkpoints` name.
pub(super) fn blobs_of(theirs: &View<'_>, writer: &Writer<'_>, checkpoints: &RecordBatch) -> Result<()> {
    for name in blob::names(checkpoints) {
        if !blob::has(&writer.view(), &name)? {
            let bytes = blob::get(theirs, &name)?;
            blob::put(writer, &blake3::hash(&bytes), &bytes)?;
        }
    }
    Ok(())
}
