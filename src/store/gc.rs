//! What takes up space, and freeing what nothing names.

use std::collections::{BTreeMap, BTreeSet};

use dream_schema::{RunId, Table};

use super::face::Viewed;
use super::view::View;
use super::{Projection, Result, Store, blob, layout, runs, upgrade};

/// What [`Store::gc`] freed, or would free.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blobs that no checkpoint names: address and length.
    pub blobs: Vec<(String, u64)>,
    /// Runs of which there are rows but no record.
    pub runs: Vec<RunId>,
    /// Bytes of the copy that an upgrade left which was interrupted; none if there is no such copy.
    pub upgrade_bytes: Option<u64>,
}

impl Collected {
    /// Returns the bytes of the blobs.
    pub fn bytes(&self) -> u64 {
        self.blobs.iter().map(|(_, bytes)| bytes).sum()
    }
}

/// What one run has in one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableUsage {
    /// The run.
    pub run: RunId,
    /// The table.
    pub table: Table,
    /// Number of rows.
    pub rows: u64,
    /// Number of blocks.
    pub blocks: u64,
    /// Bytes of the blocks, before redb rounds up.
    pub bytes: u64,
}

/// What takes up space in a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Rows, by table and run.
    pub tables: Vec<TableUsage>,
    /// Number of blobs.
    pub blobs: u64,
    /// Bytes of the blobs.
    pub blob_bytes: u64,
    /// Length of the file; none if the store is not a file.
    pub file_bytes: Option<u64>,
}

impl Store {
    /// Frees blobs that no checkpoint names, rows of runs that do not exist, and the copy of an upgrade that
    /// was interrupted; with `dry_run` only says what it would free. The file does not shrink until
    /// [`Store::compact`].
    ///
    /// A blob that a stage has put and not yet named is freed too: put both in one [`Batch`](super::Batch).
    ///
    /// # Errors
    /// If a checkpoint cannot be read, or the disk fails; nothing is freed then.
    pub fn gc(&self, dry_run: bool) -> Result<Collected> {
        let writer = self.write()?;
        let (collected, unnamed) = look(&writer.view())?;
        if dry_run {
            return Ok(collected);
        }
        for run in &collected.runs {
            writer.remove_rows(*run)?;
        }
        if collected.upgrade_bytes.is_some() {
            upgrade::drop_copy(&writer)?;
        }
        for (hash, _) in &unnamed {
            blob::remove(&writer, hash)?;
        }
        writer.commit()?;
        Ok(collected)
    }

    /// Returns what [`Store::gc`] would free, also of a store that is only read.
    ///
    /// # Errors
    /// If a checkpoint cannot be read, or the disk fails.
    pub fn garbage(&self) -> Result<Collected> {
        Ok(look(&self.view()?)?.0)
    }
}

/// Returns what nothing names, and the addresses of the blobs among it.
fn look(view: &View<'_>) -> Result<(Collected, Vec<(blake3::Hash, u64)>)> {
    let unnamed = unnamed_blobs(view)?;
    let hex = |(hash, size): &(blake3::Hash, u64)| (hash.to_hex().to_string(), *size);
    let collected = Collected {
        blobs: unnamed.iter().map(hex).collect(),
        runs: orphans(view)?,
        upgrade_bytes: upgrade::abandoned(view)?,
    };
    Ok((collected, unnamed))
}

/// Returns what takes up space.
pub(super) fn usage(view: &View<'_>) -> Result<Usage> {
    let mut usage = Usage {
        file_bytes: std::fs::metadata(view.path).ok().map(|file| file.len()),
        ..Usage::default()
    };
    for table in Table::ALL {
        let mut runs: BTreeMap<RunId, TableUsage> = BTreeMap::new();
        for strip in view.format.strips(table) {
            let counts_rows = strip == view.format.keys(table);
            for (key, entry) in view.entries(strip, None, None)? {
                let (run, _, _) = layout::unkey(&key);
                let used = runs.entry(run).or_insert(TableUsage {
                    run,
                    table,
                    rows: 0,
                    blocks: 0,
                    bytes: 0,
                });
                used.rows += if counts_rows { u64::from(entry.rows) } else { 0 };
                used.blocks += 1;
                used.bytes += u64::from(entry.length);
            }
        }
        usage.tables.extend(runs.into_values());
    }
    let blobs = blob::all(view)?;
    usage.blobs = blobs.len() as u64;
    usage.blob_bytes = blobs.iter().map(|(_, size)| size).sum();
    Ok(usage)
}

/// Returns the blobs that no checkpoint names.
pub(super) fn unnamed_blobs(view: &View<'_>) -> Result<Vec<(blake3::Hash, u64)>> {
    let table = Table::Checkpoints;
    let mut named = BTreeSet::new();
    for info in view.infos(table, None, None, &Projection::All)? {
        named.extend(blob::names(&view.stretch(table, &info, &Projection::All)?));
    }
    let mut blobs = blob::all(view)?;
    blobs.retain(|(hash, _)| !named.contains(hash.to_hex().as_str()));
    Ok(blobs)
}

fn orphans(view: &View<'_>) -> Result<Vec<RunId>> {
    let mut orphans = BTreeSet::new();
    for strip in view.format.all_strips() {
        for run in view.runs_in(strip)? {
            if !runs::is_there(view, run)? {
                orphans.insert(run);
            }
        }
    }
    Ok(orphans.into_iter().collect())
}
