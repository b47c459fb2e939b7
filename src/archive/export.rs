//! Runs out of a store.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use dream_schema::{Checkpoint, Record, Run, RunId, Status, Table, with_run};

use super::layout::Layout;
use super::{ArchiveError, Cancelled, Place};
use crate::exchange::{self, BoxError};
use crate::query::runs_batch;
use crate::store::{Projection, Readable, Store, StoreError};

/// What [`export`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Runs that were written.
    pub runs: usize,
    /// Runs that were there already.
    pub known: usize,
    /// Rows of the runs that were written.
    pub rows: u64,
    /// Runs that were there with other aliases, or another note, than here: they have those of here now.
    pub updated: usize,
    /// Files of runs that were there which were missing, and were written again.
    pub restored: usize,
}

/// Writes finished runs to a data set, of those that are there already only what is missing of their files,
/// and aliases and notes that are others here. A run that is interrupted is written anew by the next export.
///
/// # Errors
/// [`ArchiveError::Unfinished`] before anything is written, [`ArchiveError::Conflict`] if a run is there with
/// another digest, [`ArchiveError::Interrupted`] if `cancelled` says so, and whatever store and place fail
/// with.
pub fn export(
    store: &Store,
    runs: &[RunId],
    place: &dyn Place,
    cancelled: Cancelled<'_>,
) -> Result<Exported, ArchiveError> {
    let runs = runs
        .iter()
        .map(|run| store.run(*run))
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(open) = runs.iter().find(|run| run.status != Status::Finished) {
        return Err(ArchiveError::Unfinished {
            run: open.id,
            status: open.status,
        });
    }
    let mut exported = Exported::default();
    let there = super::import::runs(place, cancelled)?;
    let named = Named::of(store)?;
    let mut taken = BTreeSet::new();
    let mut layout = None;
    for run in &runs {
        let record = match there.contains(&run.id) {
            true => super::import::record(place, run.id, cancelled)?,
            false => None,
        };
        match record {
            Some(there) if there.run.digest == run.digest => {
                exported.known += 1;
                exported.restored += restore(store, &there, place, cancelled)?;
                let aliases = named.aliases(run.id);
                let gained = aliases.iter().filter(|alias| !there.aliases.contains(alias));
                taken.extend(gained.cloned());
                if there.aliases != aliases || there.run.note != run.note {
                    let mut record = there;
                    record.run.note.clone_from(&run.note);
                    record.aliases = aliases;
                    put(&record, place, cancelled)?;
                    exported.updated += 1;
                }
            }
            Some(there) => {
                let word = |digest: &Option<String>| digest.clone().unwrap_or_default();
                return Err(ArchiveError::Conflict {
                    place: place.shown(),
                    run: run.id,
                    here: word(&run.digest),
                    there: word(&there.run.digest),
                });
            }
            None => {
                let aliases = named.aliases(run.id);
                taken.extend(aliases.iter().cloned());
                let layout = match layout {
                    Some(known) => known,
                    None => *layout.insert(Layout::beside(there.iter().copied(), place, cancelled)?),
                };
                exported.rows += write(store, run, layout, aliases, place, cancelled)?;
                exported.runs += 1;
            }
        }
    }
    // An alias is of one run: those that have come to these runs leave others of this store.
    let others = there.iter().filter(|id| !runs.iter().any(|run| run.id == **id));
    for id in others.filter(|id| !taken.is_empty() && store.run(**id).is_ok()) {
        let Some(mut record) = super::import::record(place, *id, cancelled)? else {
            continue;
        };
        let before = record.aliases.len();
        record.aliases.retain(|alias| !taken.contains(alias));
        if record.aliases.len() < before {
            put(&record, place, cancelled)?;
            exported.updated += 1;
        }
    }
    Ok(exported)
}

/// The aliases of a store, in order.
struct Named(Vec<(String, RunId)>);

impl Named {
    fn of(store: &Store) -> Result<Self, ArchiveError> {
        let mut all = store.aliases()?;
        all.sort_unstable();
        Ok(Self(all))
    }

    fn aliases(&self, run: RunId) -> Vec<String> {
        let named = self.0.iter().filter(|(_, named)| *named == run);
        named.map(|(name, _)| name.clone()).collect()
    }
}

/// Writes again what is missing of the files of a run that is there; returns how many they were.
fn restore(
    store: &Store,
    record: &Record,
    place: &dyn Place,
    cancelled: Cancelled<'_>,
) -> Result<usize, ArchiveError> {
    let (run, layout) = (record.run.id, Layout::of(record));
    let mut restored = 0;
    let tables = Table::ALL.into_iter();
    for table in tables.filter(|table| record.rows.contains_key(table.name())) {
        let there = place.list(&layout.folder(table.name(), run), cancelled)?;
        for part in store.parts(run, table)? {
            let file = layout.file(table, run, part);
            if there.binary_search(&file).is_err() {
                part_of(store, run, table, part, &file, place, cancelled)?;
                restored += 1;
            }
        }
    }
    restored += put_blobs(store, &record.blobs, place, cancelled)?;
    if !place.has(&layout.row(run), cancelled)? {
        put(record, place, cancelled)?;
        restored += 1;
    }
    Ok(restored)
}

/// Writes the bytes that are not there; returns how many they were.
fn put_blobs(
    store: &Store,
    blobs: &[String],
    place: &dyn Place,
    cancelled: Cancelled<'_>,
) -> Result<usize, ArchiveError> {
    let mut written = 0;
    for blob in blobs {
        let name = format!("_blobs/{blob}");
        if !place.has(&name, cancelled)? {
            place.put(&name, &store.blob(blob)?, cancelled)?;
            written += 1;
        }
    }
    Ok(written)
}

/// Writes a run, its record last.
fn write(
    store: &Store,
    run: &Run,
    layout: Layout,
    aliases: Vec<String>,
    place: &dyn Place,
    cancelled: Cancelled<'_>,
) -> Result<u64, ArchiveError> {
    let mut rows = BTreeMap::new();
    for table in Table::ALL {
        let mut written = 0;
        for part in store.parts(run.id, table)? {
            if cancelled() {
                return Err(ArchiveError::Interrupted);
            }
            let file = layout.file(table, run.id, part);
            written += part_of(store, run.id, table, part, &file, place, cancelled)?;
        }
        if written > 0 {
            rows.insert(table.name().to_owned(), written);
        }
    }
    let checkpoints: Vec<Checkpoint> = store.rows(run.id, None)?;
    let mut blobs: Vec<String> = checkpoints.into_iter().map(|row| row.blob).collect();
    blobs.sort_unstable();
    blobs.dedup();
    put_blobs(store, &blobs, place, cancelled)?;
    let mut datasets = store.datasets()?;
    datasets.retain(|set| run.spec.sources.values().any(|digest| *digest == set.digest));
    let all = rows.values().sum();
    let record = Record {
        version: layout.version,
        run: run.clone(),
        aliases,
        datasets,
        rows,
        blobs,
    };
    put(&record, place, cancelled)?;
    Ok(all)
}

/// Writes the run of a record as a row of `runs`, and the record.
fn put(record: &Record, place: &dyn Place, cancelled: Cancelled<'_>) -> Result<(), ArchiveError> {
    let run = &record.run;
    let shown: Vec<(String, RunId)> = record.aliases.iter().map(|name| (name.clone(), run.id)).collect();
    let batch = runs_batch(std::slice::from_ref(run), &shown)?;
    place.write(&Layout::of(record).row(run.id), cancelled, &mut |target| {
        let rows = [Ok::<_, BoxError>(batch.clone())];
        exchange::write_parquet(target, "runs", &batch.schema(), rows)?;
        Ok(())
    })?;
    let json = serde_json::to_vec_pretty(record).map_err(StoreError::from)?;
    place.put(&Record::name(run.id), &json, cancelled)
}

/// Writes the rows of one part (class) of a run in a table to a file.
fn part_of(
    store: &Store,
    run: RunId,
    table: Table,
    part: u32,
    file: &str,
    place: &dyn Place,
    cancelled: Cancelled<'_>,
) -> Result<u64, ArchiveError> {
    let mut written = 0;
    place.write(file, cancelled, &mut |target| {
        let mut blocks = store.blocks(table, Some(run), Some(part), &Projection::All)?;
        let Some(first) = blocks.next() else { return Ok(()) };
        let first = with_run(run, &first?.1)?;
        let schema = first.schema();
        let more = blocks.map(|block| -> Result<RecordBatch, BoxError> { Ok(with_run(run, &block?.1)?) });
        let rows = std::iter::once(Ok(first)).chain(more);
        written = exchange::write_parquet(target, table.name(), &schema, rows)?;
        Ok(())
    })?;
    Ok(written)
}
