//! Several readings of one and the same state.

use std::path::PathBuf;

use arrow::array::RecordBatch;
use dream_schema::{Dataset, Run, RunId, Table};

use super::block::Place;
use super::error::At;
use super::index::{BlockInfo, info};
use super::layout::{self, Entry, KEY};
use super::{Result, Store, dataset, names, runs};

/// The store as it was committed when the snapshot was taken. What is written afterwards is not seen; the pages that it needs
/// are kept until it is dropped.
pub struct Snapshot {
    path: PathBuf,
    transaction: redb::ReadTransaction,
}

impl Store {
    /// Returns the store as it is committed now.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot {
            path: self.path.clone(),
            transaction: self.read()?,
        })
    }
}

impl Snapshot {
    /// Returns all runs, in the order in which they were begun.
    ///
    /// # Errors
    /// If the disk fails or a record is corrupt.
    pub fn runs(&self) -> Result<Vec<Run>> {
        let table = self.transaction.open_table(layout::RUNS).at(&self.path)?;
        runs::all(&table, &self.path)
    }

    /// Returns all aliases, by name.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn aliases(&self) -> Result<Vec<(String, RunId)>> {
        let table = self.transaction.open_table(layout::ALIASES).at(&self.path)?;
        names::all(&table, &self.path)
    }

    /// Returns all registered image sets, by name.
    ///
    /// # Errors
    /// If the disk fails or a record is corrupt.
    pub fn datasets(&self) -> Result<Vec<Dataset>> {
        let table = self.transaction.open_table(layout::DATASETS).at(&self.path)?;
        dataset::all(&table, &self.path)
    }

    /// Returns the blocks of a table, of one run or all, of one part or all, in key order.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn block_infos(&self, table: Table, run: Option<RunId>, part: Option<u32>) -> Result<Vec<BlockInfo>> {
        let (index, _) = layout::tables(table);
        let index = self.transaction.open_table(index).at(&self.path)?;
        let (low, high) = layout::bounds(run, part);
        let mut infos = Vec::new();
        for item in index.range::<&[u8; KEY]>(&low..=&high).at(&self.path)? {
            let (key, entry) = item.at(&self.path)?;
            infos.push(info(key.value(), &Entry::decode(entry.value())));
        }
        infos.retain(|info| part.is_none_or(|part| part == info.part));
        Ok(infos)
    }

    /// Returns the rows of a block of `table`, in the order of their indexes, without the column `run`.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`](super::StoreError::Corrupt) if the block is not what was written or not there, or the disk's
    /// error.
    pub fn block(&self, table: Table, info: &BlockInfo) -> Result<RecordBatch> {
        let (index, blocks) = layout::tables(table);
        let index = self.transaction.open_table(index).at(&self.path)?;
        let blocks = self.transaction.open_table(blocks).at(&self.path)?;
        let key = layout::key(info.run, info.part, info.first);
        let place = Place::new(&self.path, table, &key);
        let entry = index.get(&key).at(&self.path)?;
        // Without an entry nothing can match: the block is reported as corrupt.
        let entry = entry.map_or(Entry::decode(&[0; layout::ENTRY]), |guard| {
            Entry::decode(guard.value())
        });
        let block = blocks.get(&key).at(&self.path)?;
        place.decode(&entry, block.as_ref().map(|guard| guard.value()))
    }
}
