//! Stretches of rows: where they are, and reading them one after the other.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use dream_schema::{RunId, Table};

use super::Result;
use super::ahead::Ahead;
use super::format::{self, Block, Entry, Share, Strip};
use super::layout::{self, Key};
use super::view::View;

/// Where some rows are and how many.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Bytes of the blocks that begin with them.
    pub bytes: u64,
    /// The class of all of them, if the index says it (from format 2 on, for rows of a class). Others may
    /// have one too.
    pub class_name: Option<Arc<str>>,
}

impl BlockInfo {
    /// Returns what a key and its index entry say.
    pub(super) fn new(key: &Key, entry: &Entry) -> Self {
        let (run, part, first) = layout::unkey(key);
        Self {
            run,
            part,
            first,
            rows: entry.rows,
            width: entry.width,
            bytes: u64::from(entry.length),
            class_name: entry.class_name.clone(),
        }
    }

    /// Returns the index after the last row.
    pub fn end(&self) -> u64 {
        self.first + u64::from(self.rows)
    }
}

/// Which columns a reader asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Projection {
    /// All of them.
    #[default]
    All,
    /// All but the wide ones (vectors, tensors, pictures), in the order of the schema.
    Narrow,
    /// Those at these places in the table's schema (without the column `run`), in this order.
    Only(Vec<usize>),
}

impl Projection {
    /// Returns the places in the table's schema of the columns that are asked for.
    pub(super) fn places(&self, table: Table) -> Vec<usize> {
        match self {
            Projection::All => (0..table.schema(0).fields().len()).collect(),
            Projection::Narrow => {
                let wide = format::wide(table);
                let all = 0..table.schema(0).fields().len();
                all.filter(|place| !wide.contains(place)).collect()
            }
            Projection::Only(places) => places.clone(),
        }
    }
}

/// The rows of a table in key order, block by block, as they were committed when it was made. A few are read
/// ahead, by several threads.
pub struct Blocks<'a> {
    view: View<'a>,
    table: Table,
    columns: Projection,
    infos: std::vec::IntoIter<BlockInfo>,
    ahead: Ahead<(BlockInfo, Result<RecordBatch>)>,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(
        view: View<'a>,
        table: Table,
        run: Option<RunId>,
        part: Option<u32>,
        columns: &Projection,
    ) -> Result<Self> {
        let infos = view.infos(table, run, part, columns)?.into_iter();
        Ok(Self {
            view,
            table,
            columns: columns.clone(),
            infos,
            ahead: Ahead::new(),
        })
    }
}

impl Iterator for Blocks<'_> {
    type Item = Result<(BlockInfo, RecordBatch)>;

    fn next(&mut self) -> Option<Self::Item> {
        // A transaction that writes has a table open once at a time.
        let most = if self.view.is_writing() { 1 } else { usize::MAX };
        let read = |info: BlockInfo| {
            let rows = self.view.stretch(self.table, &info, &self.columns);
            (info, rows)
        };
        let (info, rows) = self.ahead.next(&mut self.infos, most, read)?;
        Some(rows.map(|rows| (info, rows)))
    }
}

/// Returns the first row in which two batches of the same table differ; floats are compared by their bits.
pub(super) fn first_difference(a: &RecordBatch, b: &RecordBatch) -> Option<usize> {
    if a.columns() == b.columns() {
        return None;
    }
    let differs = |row: &usize| {
        let (a, b) = (a.slice(*row, 1), b.slice(*row, 1));
        a.columns() != b.columns()
    };
    // Types that differ (vector widths) make the first row differ.
    Some((0..a.num_rows().min(b.num_rows())).find(differs).unwrap_or(0))
}

/// What was read from the file.
#[derive(Debug, Default)]
pub struct Tally {
    blocks: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    /// Returns the number of blocks.
    pub fn blocks(&self) -> u64 {
        self.blocks.load(Ordering::Relaxed)
    }

    /// Returns the number of their bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Counts a block.
    pub(crate) fn add(&self, bytes: usize) {
        self.blocks.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// How many blocks are kept.
const KEPT: usize = 8;

/// A narrow block: its strip, hash and key.
type Name = (Strip, [u8; 32], Key);

/// A block once it was read; whoever wants it meanwhile waits.
type Slot = Arc<Mutex<Option<Block>>>;

/// The narrow blocks read last: each belongs to many wide ones.
#[derive(Default)]
pub(super) struct Kept(Mutex<Vec<(Name, Slot)>>);

impl Kept {
    /// Returns a block, which is read unless it was before. Threads that want the same narrow block at once
    /// read it once; `read` may not wait for another thread.
    pub fn or_read(
        &self,
        strip: Strip,
        key: &Key,
        entry: &Entry,
        read: impl FnOnce() -> Result<Block>,
    ) -> Result<Block> {
        if strip.share != Share::Narrow {
            return read();
        }
        let slot = self.slot((strip, entry.hash, *key));
        // A thread that panicked left the slot as it was.
        let mut block = slot.lock().unwrap_or_else(PoisonError::into_inner);
        match &*block {
            Some(block) => Ok(block.clone()),
            None => Ok(block.insert(read()?).clone()),
        }
    }

    fn slot(&self, name: Name) -> Slot {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, slot)) = kept.iter().find(|(of, _)| *of == name) {
            return slot.clone();
        }
        if kept.len() == KEPT {
            kept.remove(0);
        }
        let slot = Slot::default();
        kept.push((name, slot.clone()));
        slot
    }
}
