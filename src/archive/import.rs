//! Runs into a store.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use dream_schema::{Artifact, Record, Run, RunId, Status, Table, TableVisitor};

use super::layout::Layout;
use super::{ArchiveError, Cancelled, Place};
use crate::exchange::ParquetRows;
use crate::store::{Readable, Stamp, Store, StoreError};

/// What [`import`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Runs that were taken in.
    pub runs: Vec<RunId>,
    /// Runs that were here already.
    pub known: usize,
    /// Rows of the runs that were taken in.
    pub rows: u64,
    /// Aliases and names of data sets that mean something else here, and were left as they are.
    pub kept: Vec<String>,
}

/// Takes in the runs of a data set: all of them, or those that are named by id, alias or the beginning of an
/// id, with what they came from. Each is as it was made, with its times, its aliases and its digest, which is
/// taken again over what was read; a run whose digest is another is not kept.
///
/// # Errors
/// [`ArchiveError::NoFolder`], [`ArchiveError::Empty`], [`ArchiveError::UnknownRun`],
/// [`ArchiveError::Conflict`] if a run has another digest here, [`ArchiveError::Damaged`] if rows are missing
/// or are not the run's, [`ArchiveError::Interrupted`], and whatever store and place fail with. Runs before
/// it stay.
pub fn import(
    store: &Store,
    place: &dyn Place,
    named: &[String],
    cancelled: Cancelled<'_>,
) -> Result<Imported, ArchiveError> {
    let mut imported = Imported::default();
    let records = chosen(place, named, cancelled)?;
    for record in records.values() {
        if let Ok(here) = store.run(record.run.id)
            && here.result().is_some()
            && here.result() != record.run.result()
        {
            return Err(conflict(place, &here, &record.run));
        }
    }
    for id in order(&records) {
        let Some(record) = records.get(&id) else { continue };
        if store.run(id).is_ok_and(|here| here.status == Status::Finished) {
            imported.known += 1;
        } else {
            imported.rows += take(store, place, record, cancelled)?;
            imported.runs.push(id);
        }
        names(store, record, &mut imported.kept)?;
    }
    Ok(imported)
}

fn conflict(place: &dyn Place, here: &Run, there: &Run) -> ArchiveError {
    let word = |run: &Run| run.result().unwrap_or_default().to_owned();
    ArchiveError::Conflict {
        place: place.shown(),
        run: here.id,
        here: word(here),
        there: word(there),
    }
}

/// Returns the record of a run, if the run is there.
pub(super) fn record(
    place: &dyn Place,
    run: RunId,
    cancelled: Cancelled<'_>,
) -> Result<Option<Record>, ArchiveError> {
    let name = Record::name(run);
    let Some(json) = place.bytes(&name, cancelled)? else {
        return Ok(None);
    };
    let wrong = |reason: String| ArchiveError::Record {
        place: format!("{}/{name}", place.shown()),
        reason,
    };
    Record::read(run, &json).map(Some).map_err(wrong)
}

/// Returns the runs that are there.
pub(super) fn runs(place: &dyn Place, cancelled: Cancelled<'_>) -> Result<BTreeSet<RunId>, ArchiveError> {
    let names = place.list(Record::FOLDER, cancelled)?;
    let id = |name: &String| Record::run_of(name.strip_prefix(Record::FOLDER)?.strip_prefix('/')?);
    Ok(names.iter().filter_map(id).collect())
}

/// Returns the records of the runs that are named, and of all that they came from.
fn chosen(
    place: &dyn Place,
    named: &[String],
    cancelled: Cancelled<'_>,
) -> Result<BTreeMap<RunId, Record>, ArchiveError> {
    let ids = runs(place, cancelled)?;
    if ids.is_empty() {
        let there = place.is_there();
        let place = place.shown();
        return Err(match there {
            true => ArchiveError::Empty { place },
            false => ArchiveError::NoFolder { place },
        });
    }
    let mut all = BTreeMap::new();
    for id in ids {
        all.extend(record(place, id, cancelled)?.map(|record| (id, record)));
    }
    if named.is_empty() {
        return Ok(all);
    }
    let mut wanted: Vec<RunId> = Vec::new();
    for name in named {
        let is_it = |record: &&Record| {
            let id = record.run.id.to_string();
            record.aliases.contains(name) || (name.len() >= 4 && id.starts_with(name.as_str()))
        };
        let found: Vec<RunId> = all.values().filter(is_it).map(|record| record.run.id).collect();
        let [run] = found.as_slice() else {
            return Err(ArchiveError::UnknownRun {
                place: place.shown(),
                name: name.clone(),
            });
        };
        wanted.push(*run);
    }
    let mut kept = BTreeSet::new();
    while let Some(run) = wanted.pop() {
        if kept.insert(run) {
            let inputs = all.get(&run).map(|record| &record.run.spec.inputs);
            wanted.extend(inputs.into_iter().flatten().map(|input| input.run));
        }
    }
    all.retain(|run, _| kept.contains(run));
    Ok(all)
}

/// Returns the runs, inputs before what reads them.
fn order(records: &BTreeMap<RunId, Record>) -> Vec<RunId> {
    let (mut order, mut placed) = (Vec::new(), BTreeSet::new());
    while order.len() < records.len() {
        let before = order.len();
        for (id, record) in records {
            let mut inputs = record.run.spec.inputs.iter();
            let ready = inputs.all(|input| placed.contains(&input.run) || !records.contains_key(&input.run));
            if !placed.contains(id) && ready {
                placed.insert(*id);
                order.push(*id);
            }
        }
        // A run's id hashes its inputs' digests, so there are no circles.
        if order.len() == before {
            break;
        }
    }
    order
}

/// Takes in a run; what was stored of it goes where it is not what it should be.
fn take(
    store: &Store,
    place: &dyn Place,
    record: &Record,
    cancelled: Cancelled<'_>,
) -> Result<u64, ArchiveError> {
    let run = &record.run;
    store.begin(&run.spec, &Stamp::of(run))?;
    let taken = rows(store, place, record, cancelled).and_then(|rows| {
        let sealed = store.finish(run.id, run.finished_at.unwrap_or(run.started_at))?;
        match sealed.digest == run.digest {
            true => Ok(rows),
            false => Err(damaged(
                place,
                run.id,
                format!(
                    "the digest of its rows is {}, on record is {}",
                    sealed.digest.unwrap_or_default(),
                    run.digest.clone().unwrap_or_default()
                ),
            )),
        }
    });
    match taken {
        Ok(rows) => {
            store.set_note(run.id, run.note.as_deref())?;
            Ok(rows)
        }
        Err(ArchiveError::Interrupted) => Err(ArchiveError::Interrupted),
        Err(error) => {
            // The first error is the one to tell, even if its remains cannot be removed (a full disk).
            let _ = store.remove(&[run.id]);
            Err(error)
        }
    }
}

fn damaged(place: &dyn Place, run: RunId, reason: String) -> ArchiveError {
    ArchiveError::Damaged {
        place: place.shown(),
        run,
        reason,
    }
}

/// Takes in the rows of a run, and the bytes that they name.
fn rows(
    store: &Store,
    place: &dyn Place,
    record: &Record,
    cancelled: Cancelled<'_>,
) -> Result<u64, ArchiveError> {
    let run = record.run.id;
    let mut all = 0;
    for table in Table::ALL {
        let blobs = match table {
            Table::Checkpoints => bytes(place, record, cancelled)?,
            _ => Vec::new(),
        };
        let mut put = Put {
            store,
            run,
            batch: None,
            blobs,
        };
        let mut taken = 0;
        let folder = Layout::of(record).folder(table.name(), run);
        for name in place.list(&folder, cancelled)? {
            if !name.ends_with(".parquet") {
                continue;
            }
            let Some(file) = place.read(&name, cancelled)? else {
                continue;
            };
            for batch in ParquetRows::open(file.path(), table)? {
                if cancelled() {
                    return Err(ArchiveError::Interrupted);
                }
                let batch = batch?;
                taken += batch.num_rows() as u64;
                put.batch = Some(batch);
                table.visit(&mut put)?;
            }
        }
        let expected = record.rows.get(table.name()).copied().unwrap_or(0);
        if taken != expected {
            let reason = format!("it has {expected} rows of {table}, {taken} are there");
            return Err(damaged(place, run, reason));
        }
        all += taken;
    }
    Ok(all)
}

/// Returns the bytes that the checkpoints of a run name.
fn bytes(place: &dyn Place, record: &Record, cancelled: Cancelled<'_>) -> Result<Vec<Vec<u8>>, ArchiveError> {
    let mut all = Vec::new();
    for blob in &record.blobs {
        let missing = || damaged(place, record.run.id, format!("there is no _blobs/{blob}"));
        let bytes = place
            .bytes(&format!("_blobs/{blob}"), cancelled)?
            .ok_or_else(missing)?;
        if blake3::hash(&bytes).to_hex().as_str() != blob {
            let reason = format!("_blobs/{blob} has other bytes than its name says");
            return Err(damaged(place, record.run.id, reason));
        }
        all.push(bytes);
    }
    Ok(all)
}

/// Stores a batch of rows of the table that it is visited for.
struct Put<'a> {
    store: &'a Store,
    run: RunId,
    batch: Option<RecordBatch>,
    blobs: Vec<Vec<u8>>,
}

impl TableVisitor for &mut Put<'_> {
    type Output = Result<(), ArchiveError>;

    fn visit<A: Artifact>(self) -> Self::Output {
        let Some(rows) = self.batch.take() else {
            return Ok(());
        };
        let mut batch = self.store.batch(self.run);
        for blob in self.blobs.drain(..) {
            batch.blob(blob);
        }
        batch.add(&A::from_batch(&rows)?)?.commit()?;
        Ok(())
    }
}

/// Gives a run its aliases, and registers what it reads, where the names are free.
fn names(store: &Store, record: &Record, kept: &mut Vec<String>) -> Result<(), ArchiveError> {
    for alias in &record.aliases {
        match store.set_alias(alias, record.run.id) {
            Ok(()) => {}
            Err(StoreError::AliasTaken { name, .. }) => kept.push(name),
            Err(error) => return Err(error.into()),
        }
    }
    for set in &record.datasets {
        match store.dataset(&set.name) {
            Ok(known) if known.digest == set.digest => {}
            Ok(_) => kept.push(set.name.clone()),
            Err(StoreError::UnknownDataset { .. }) => store.copy_dataset(set)?,
            Err(error) => return Err(error.into()),
        }
    }
    kept.sort_unstable();
    kept.dedup();
    Ok(())
}
