//! What is there, from the index alone: no row is read.

use std::collections::BTreeSet;

use dream_schema::{RunId, Table};

use super::error::At;
use super::layout::{self, Entry, KEY};
use super::{Result, Store};

/// Where some rows are and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// The run.
    pub run: RunId,
    /// The part (class, or 0 where the table has none).
    pub part: u32,
    /// Index of the first row; the others follow without a gap.
    pub first: u64,
    /// Number of rows.
    pub rows: u32,
    /// Width of their vectors; 0 for a table without them.
    pub width: u32,
    /// Bytes that they take in the file, before redb rounds up.
    pub bytes: u32,
}

impl Store {
    /// Returns the blocks of a table, of one run or all, of one part or all, in key order.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn block_infos(&self, table: Table, run: Option<RunId>, part: Option<u32>) -> Result<Vec<BlockInfo>> {
        let mut infos = Vec::new();
        self.each_info(table, run, part, |info| infos.push(info))?;
        Ok(infos)
    }

    /// Returns the indexes that are stored of one part of a run.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn indices(&self, run: RunId, table: Table, part: u32) -> Result<BTreeSet<u64>> {
        let mut indices = BTreeSet::new();
        self.each_info(table, Some(run), Some(part), |info| {
            indices.extend(info.first..info.first + u64::from(info.rows));
        })?;
        Ok(indices)
    }

    /// Returns the parts (classes) of which a run has rows, in order.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn parts(&self, run: RunId, table: Table) -> Result<Vec<u32>> {
        let mut parts = Vec::new();
        self.each_info(table, Some(run), None, |info| {
            if parts.last() != Some(&info.part) {
                parts.push(info.part);
            }
        })?;
        Ok(parts)
    }

    /// Returns the number of rows that a run has in a table.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn count(&self, run: RunId, table: Table) -> Result<u64> {
        let mut count = 0;
        self.each_info(table, Some(run), None, |info| count += u64::from(info.rows))?;
        Ok(count)
    }

    /// Returns the width of a run's vectors in a table; none if it has no rows there, or the table no vectors.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn vector_width(&self, table: Table, run: RunId) -> Result<Option<usize>> {
        if !table.has_vectors() {
            return Ok(None);
        }
        let (index, _) = layout::tables(table);
        let index = self.read()?.open_table(index).at(&self.path)?;
        let (low, high) = layout::bounds(Some(run), None);
        let first = index.range::<&[u8; KEY]>(&low..=&high).at(&self.path)?.next();
        let width = |item: std::result::Result<_, redb::StorageError>| -> Result<usize> {
            let (_, entry): (
                redb::AccessGuard<'_, &[u8; KEY]>,
                redb::AccessGuard<'_, &[u8; layout::ENTRY]>,
            ) = item.at(&self.path)?;
            Ok(Entry::decode(entry.value()).width as usize)
        };
        first.map(width).transpose()
    }

    fn each_info(
        &self,
        table: Table,
        run: Option<RunId>,
        part: Option<u32>,
        mut take: impl FnMut(BlockInfo),
    ) -> Result<()> {
        let (index, _) = layout::tables(table);
        let index = self.read()?.open_table(index).at(&self.path)?;
        let (low, high) = layout::bounds(run, part);
        for item in index.range::<&[u8; KEY]>(&low..=&high).at(&self.path)? {
            let (key, entry) = item.at(&self.path)?;
            let info = info(key.value(), &Entry::decode(entry.value()));
            if part.is_none_or(|part| part == info.part) {
                take(info);
            }
        }
        Ok(())
    }
}

/// Returns what a key and its index entry say.
pub(super) fn info(key: &[u8; KEY], entry: &Entry) -> BlockInfo {
    let (run, part, first) = layout::unkey(key);
    BlockInfo {
        run,
        part,
        first,
        rows: entry.rows,
        width: entry.width,
        bytes: entry.length,
    }
}
