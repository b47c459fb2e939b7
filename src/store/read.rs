//! Reading rows: typed, or as record batches one block at a time.

use std::ops::ControlFlow;
use std::path::PathBuf;

use arrow::array::RecordBatch;
use dream_schema::{Artifact, RunId, Table};

use super::block::Place;
use super::error::At;
use super::layout::{self, Entry, KEY};
use super::{BlockInfo, Result, Store, index};

type IndexRange = redb::Range<'static, &'static [u8; KEY], &'static [u8; layout::ENTRY]>;
type BlockTable = redb::ReadOnlyTable<&'static [u8; KEY], &'static [u8]>;

/// The rows of a table, block by block in key order, as they were committed when it was made. Only one block at a time is
/// in memory.
pub struct Blocks {
    path: PathBuf,
    table: Table,
    part: Option<u32>,
    index: IndexRange,
    blocks: BlockTable,
}

impl Iterator for Blocks {
    type Item = Result<(RunId, RecordBatch)>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.next_block().transpose()?;
        Some(item.map(|(info, batch)| (info.run, batch)))
    }
}

impl Blocks {
    /// Returns the next rows and where they are, or none at the end.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`](super::StoreError::Corrupt) if they are not what was written, or the disk's error.
    pub fn next_block(&mut self) -> Result<Option<(BlockInfo, RecordBatch)>> {
        for item in self.index.by_ref() {
            let (key, entry) = item.at(&self.path)?;
            let place = Place::new(&self.path, self.table, key.value());
            if self.part.is_some_and(|part| part != place.part) {
                continue;
            }
            let block = self.blocks.get(key.value()).at(&self.path)?;
            let entry = Entry::decode(entry.value());
            let batch = place.decode(&entry, block.as_ref().map(|guard| guard.value()))?;
            return Ok(Some((index::info(key.value(), &entry), batch)));
        }
        Ok(None)
    }
}

impl Store {
    /// Returns the rows of a table as record batches (without the column `run`), of one run or all, of one part or all.
    /// Vectors of one run are equally wide; those of several runs need not be.
    ///
    /// # Errors
    /// If the disk fails; [`StoreError::Corrupt`](super::StoreError::Corrupt) from the iterator.
    pub fn blocks(&self, table: Table, run: Option<RunId>, part: Option<u32>) -> Result<Blocks> {
        self.blocks_of(&self.read()?, table, run, part)
    }

    /// Returns the rows of a table as `transaction` sees them.
    pub(super) fn blocks_of(
        &self,
        transaction: &redb::ReadTransaction,
        table: Table,
        run: Option<RunId>,
        part: Option<u32>,
    ) -> Result<Blocks> {
        let (index, blocks) = layout::tables(table);
        let index = transaction.open_table(index).at(&self.path)?;
        let (low, high) = layout::bounds(run, part);
        Ok(Blocks {
            path: self.path.clone(),
            table,
            part,
            index: index.range::<&[u8; KEY]>(&low..=&high).at(&self.path)?,
            blocks: transaction.open_table(blocks).at(&self.path)?,
        })
    }

    /// Hands the rows of a table to `take`, block by block, until it breaks.
    ///
    /// # Errors
    /// As [`Store::blocks`], and whatever `take` returns.
    pub fn scan(
        &self,
        table: Table,
        run: Option<RunId>,
        part: Option<u32>,
        take: &mut dyn FnMut(RunId, RecordBatch) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        for item in self.blocks(table, run, part)? {
            let (run, batch) = item?;
            if take(run, batch)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Returns the rows of a run in one table, of one part or all, in key order.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`](super::StoreError::Corrupt) if a row is not what was written, or the disk's error.
    pub fn rows<A: Artifact>(&self, run: RunId, part: Option<u32>) -> Result<Vec<A>> {
        let mut rows = Vec::new();
        for item in self.blocks(A::TABLE, Some(run), part)? {
            rows.extend(A::from_batch(&item?.1)?);
        }
        Ok(rows)
    }

    /// Returns the row at (run, part, index), if it is there.
    ///
    /// # Errors
    /// As [`Store::rows`].
    pub fn row<A: Artifact>(&self, run: RunId, part: u32, index: u64) -> Result<Option<A>> {
        let batch = self.row_batch(A::TABLE, run, part, index)?;
        Ok(batch
            .map(|batch| A::from_batch(&batch))
            .transpose()?
            .and_then(|rows| rows.into_iter().next()))
    }

    /// Returns the row at (run, part, index) as a record batch, if it is there.
    ///
    /// # Errors
    /// As [`Store::rows`].
    pub fn row_batch(&self, table: Table, run: RunId, part: u32, index: u64) -> Result<Option<RecordBatch>> {
        let transaction = self.read()?;
        let (keys, blocks) = layout::tables(table);
        let keys = transaction.open_table(keys).at(&self.path)?;
        let (low, high) = (layout::key(run, part, 0), layout::key(run, part, index));
        // The last block that begins at or before the index is the only one that can hold it.
        let Some(item) = keys.range::<&[u8; KEY]>(&low..=&high).at(&self.path)?.next_back() else {
            return Ok(None);
        };
        let (key, entry) = item.at(&self.path)?;
        let entry = Entry::decode(entry.value());
        let place = Place::new(&self.path, table, key.value());
        let offset = index - place.first;
        if offset >= u64::from(entry.rows) {
            return Ok(None);
        }
        let blocks = transaction.open_table(blocks).at(&self.path)?;
        let block = blocks.get(key.value()).at(&self.path)?;
        let batch = place.decode(&entry, block.as_ref().map(|guard| guard.value()))?;
        Ok(Some(batch.slice(offset as usize, 1)))
    }
}
