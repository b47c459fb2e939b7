//! Runs out of a store.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use dream_schema::{Checkpoint, Run, RunId, Status, Table, with_run};

use super::{ArchiveError, Cancelled, Place, Record, VERSION};
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
}

/// Writes finished runs to a data set, those that are there already not again. A run that is interrupted is
/// written anew by the next export.
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
    for run in &runs {
        let record = match there.contains(&run.id) {
            true => super::import::record(place, run.id, cancelled)?,
            false => None,
        };
        match record {
            Some(there) if there.run.digest == run.digest => exported.known += 1,
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
                exported.rows += write(store, run, place, cancelled)?;
                exported.runs += 1;
            }
        }
    }
    Ok(exported)
}

/// Writes a run, its record last.
fn write(store: &Store, run: &Run, place: &dyn Place, cancelled: Cancelled<'_>) -> Result<u64, ArchiveError> {
    let mut rows = BTreeMap::new();
    for table in Table::ALL {
        let mut written = 0;
        for part in store.parts(run.id, table)? {
            if cancelled() {
                return Err(ArchiveError::Interrupted);
            }
            written += part_of(store, run.id, table, part, place, cancelled)?;
        }
        if written > 0 {
            rows.insert(table.name().to_owned(), written);
        }
    }
    let checkpoints: Vec<Checkpoint> = store.rows(run.id, None)?;
    let mut blobs: Vec<String> = checkpoints.into_iter().map(|row| row.blob).collect();
    blobs.sort_unstable();
    blobs.dedup();
    for blob in &blobs {
        let name = format!("_blobs/{blob}");
        if !place.has(&name, cancelled)? {
            place.put(&name, &store.blob(blob)?, cancelled)?;
        }
    }
    let named = store.aliases()?.into_iter().filter(|(_, named)| *named == run.id);
    let aliases: Vec<String> = named.map(|(name, _)| name).collect();
    let mut datasets = store.datasets()?;
    datasets.retain(|set| run.spec.sources.values().any(|digest| *digest == set.digest));
    let all = rows.values().sum();
    let shown: Vec<(String, RunId)> = aliases.iter().map(|name| (name.clone(), run.id)).collect();
    let batch = runs_batch(std::slice::from_ref(run), &shown)?;
    let record = Record {
        version: VERSION,
        run: run.clone(),
        aliases,
        datasets,
        rows,
        blobs,
    };
    place.write(
        &format!("table=runs/run={}/rows.parquet", run.id),
        cancelled,
        &mut |target| {
            let rows = [Ok::<_, BoxError>(batch.clone())];
            exchange::write_parquet(target, "runs", &batch.schema(), rows)?;
            Ok(())
        },
    )?;
    let json = serde_json::to_vec_pretty(&record).map_err(StoreError::from)?;
    place.put(&Record::name(run.id), &json, cancelled)?;
    Ok(all)
}

/// Writes the rows of one part (class) of a run in a table.
fn part_of(
    store: &Store,
    run: RunId,
    table: Table,
    part: u32,
    place: &dyn Place,
    cancelled: Cancelled<'_>,
) -> Result<u64, ArchiveError> {
    let class = match table.by_class() {
        true => format!("class={part}/"),
        false => String::new(),
    };
    let name = format!("table={table}/run={run}/{class}rows.parquet");
    let mut written = 0;
    place.write(&name, cancelled, &mut |target| {
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
