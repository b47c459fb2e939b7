//! What takes room, and freeing what nothing names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use arrow::array::AsArray;
use dream_schema::{RunId, Table};
use redb::{ReadableTable, WriteTransaction};

use super::block::Place;
use super::error::At;
use super::layout::{self, Entry};
use super::{Result, Store, remove, runs};

/// What [`Store::gc`] freed, or would free.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blobs that no checkpoint names: address and length.
    pub blobs: Vec<(String, u64)>,
    /// Runs of which there are rows but no record.
    pub runs: Vec<RunId>,
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

/// What takes room in a store.
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
    /// Frees blobs that no checkpoint names, and rows of runs that do not exist; with `dry_run` only says what it would free.
    /// The file does not shrink until [`Store::compact`].
    ///
    /// A blob that a stage has put and not yet named is freed too: put both in one [`Batch`](super::Batch).
    ///
    /// # Errors
    /// If a checkpoint cannot be read, or the disk fails; nothing is freed then.
    pub fn gc(&self, dry_run: bool) -> Result<Collected> {
        let path = &self.path;
        let transaction = self.write()?;
        let collected = Collected {
            blobs: unnamed_blobs(&transaction, path)?,
            runs: orphans(&transaction, path)?,
        };
        if dry_run {
            return Ok(collected);
        }
        for run in &collected.runs {
            remove::remove_rows(&transaction, path, *run)?;
        }
        {
            let mut info = transaction.open_table(layout::BLOB_INFO).at(path)?;
            let mut chunks = transaction.open_table(layout::BLOBS).at(path)?;
            for (hash, _) in &collected.blobs {
                // The address was written as hex just above.
                let Ok(hash) = blake3::Hash::from_hex(hash) else {
                    continue;
                };
                info.remove(hash.as_bytes()).at(path)?;
                let low = layout::chunk_key(hash.as_bytes(), 0);
                let high = layout::chunk_key(hash.as_bytes(), u32::MAX);
                chunks
                    .retain_in::<&[u8; 36], _>(&low..=&high, |_, _| false)
                    .at(path)?;
            }
        }
        transaction.commit().at(path)?;
        Ok(collected)
    }

    /// Returns what takes room.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn usage(&self) -> Result<Usage> {
        let mut usage = Usage {
            file_bytes: std::fs::metadata(&self.path).ok().map(|file| file.len()),
            ..Usage::default()
        };
        for table in Table::ALL {
            let mut runs: BTreeMap<RunId, TableUsage> = BTreeMap::new();
            for info in self.block_infos(table, None, None)? {
                let run = info.run;
                let entry = runs.entry(run).or_insert(TableUsage {
                    run,
                    table,
                    rows: 0,
                    blocks: 0,
                    bytes: 0,
                });
                entry.rows += u64::from(info.rows);
                entry.blocks += 1;
                entry.bytes += u64::from(info.bytes);
            }
            usage.tables.extend(runs.into_values());
        }
        let info = self.read()?.open_table(layout::BLOB_INFO).at(&self.path)?;
        for item in info.iter().at(&self.path)? {
            usage.blobs += 1;
            usage.blob_bytes += item.at(&self.path)?.1.value();
        }
        Ok(usage)
    }
}

fn unnamed_blobs(transaction: &WriteTransaction, path: &Path) -> Result<Vec<(String, u64)>> {
    let table = Table::Checkpoints;
    let (index, blocks) = layout::tables(table);
    let index = transaction.open_table(index).at(path)?;
    let blocks = transaction.open_table(blocks).at(path)?;
    let mut named = BTreeSet::new();
    for item in index.iter().at(path)? {
        let (key, entry) = item.at(path)?;
        let block = blocks.get(key.value()).at(path)?;
        let batch = Place::new(path, table, key.value()).decode(
            &Entry::decode(entry.value()),
            block.as_ref().map(|guard| guard.value()),
        )?;
        let names = batch.column_by_name("blob").map(|c| c.as_string::<i32>());
        named.extend(names.into_iter().flatten().flatten().map(str::to_owned));
    }
    let info = transaction.open_table(layout::BLOB_INFO).at(path)?;
    let mut unnamed = Vec::new();
    for item in info.iter().at(path)? {
        let (hash, size) = item.at(path)?;
        let hash = blake3::Hash::from_bytes(*hash.value()).to_hex().to_string();
        if !named.contains(&hash) {
            unnamed.push((hash, size.value()));
        }
    }
    Ok(unnamed)
}

fn orphans(transaction: &WriteTransaction, path: &Path) -> Result<Vec<RunId>> {
    let runs = transaction.open_table(layout::RUNS).at(path)?;
    let known: BTreeSet<_> = runs::all(&runs, path)?.into_iter().map(|run| run.id).collect();
    let mut orphans = BTreeSet::new();
    for table in Table::ALL {
        let (index, _) = layout::tables(table);
        for item in transaction.open_table(index).at(path)?.iter().at(path)? {
            let (run, _, _) = layout::unkey(item.at(path)?.0.value());
            if !known.contains(&run) {
                orphans.insert(run);
            }
        }
    }
    Ok(orphans.into_iter().collect())
}
