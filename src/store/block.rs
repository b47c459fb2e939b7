//! Stretches of rows: where they are, and reading them one after the other.

use arrow::array::RecordBatch;
use dream_schema::{RunId, Table};

use super::Result;
use super::format::Entry;
use super::layout::{self, Key};
use super::view::View;

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
    /// Bytes of the block that they are in, or of its share in them.
    pub bytes: u64,
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
    /// Those at these places in the table's schema (without the column `run`), in this order.
    Only(Vec<usize>),
}

impl Projection {
    /// Returns the places in the table's schema of the columns that are asked for.
    pub(super) fn places(&self, table: Table) -> Vec<usize> {
        match self {
            Projection::All => (0..table.schema(0).fields().len()).collect(),
            Projection::Only(places) => places.clone(),
        }
    }
}

/// The rows of a table in key order, block by block, as they were committed when it was made. Only one block at a time
/// is in memory.
pub struct Blocks<'a> {
    view: View<'a>,
    table: Table,
    columns: Projection,
    infos: std::vec::IntoIter<BlockInfo>,
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
        })
    }
}

impl Iterator for Blocks<'_> {
    type Item = Result<(BlockInfo, RecordBatch)>;

    fn next(&mut self) -> Option<Self::Item> {
        let info = self.infos.next()?;
        let rows = self.view.stretch(self.table, &info, &self.columns);
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
