//! Reading only what a question needs: which blocks, from the index alone; then the rows of those, one block at a time.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, RecordBatch, RecordBatchOptions, StringArray,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int32Type, Int64Type};
use dream_schema::columns::Columns;
use dream_schema::{RunId, Table, with_run, with_run_schema};

use super::Result;
use crate::store::{BlockInfo, Projection, Readable, Snapshot};

/// Which rows of a table are wanted; by default all.
///
/// A class has one name in a run: where the first block of a class has another name than those asked for, the rest of the
/// class is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The runs; `None` for all.
    pub runs: Option<BTreeSet<RunId>>,
    /// The classes; `None` for all, and for rows of none.
    pub classes: Option<BTreeSet<u32>>,
    /// The names of the classes; `None` for all, and for rows of none.
    pub class_names: Option<BTreeSet<String>>,
    /// The places in the class.
    pub index: RangeInclusive<u64>,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            runs: None,
            classes: None,
            class_names: None,
            index: 0..=u64::MAX,
        }
    }
}

impl Selection {
    /// Returns the selection of all rows of a run.
    pub fn run(run: RunId) -> Self {
        Self {
            runs: Some(BTreeSet::from([run])),
            ..Self::default()
        }
    }

    /// Returns the blocks that can hold such rows, in key order, without reading any.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn blocks(&self, snapshot: &Snapshot, table: Table) -> Result<Vec<BlockInfo>> {
        let mut infos = Vec::new();
        match &self.runs {
            None => infos = snapshot.block_infos(table, None, None, &Projection::All)?,
            Some(runs) => {
                for run in runs {
                    infos.extend(snapshot.block_infos(table, Some(*run), None, &Projection::All)?);
                }
            }
        }
        let classes = self.classes.as_ref().filter(|_| table.by_class());
        infos.retain(|info| {
            let last = info.first + u64::from(info.rows).saturating_sub(1);
            info.rows > 0
                && !self.index.is_empty()
                && classes.is_none_or(|classes| classes.contains(&info.part))
                && info.first <= *self.index.end()
                && last >= *self.index.start()
        });
        Ok(infos)
    }

    /// Returns those rows of a block that are wanted.
    pub(crate) fn rows(&self, table: Table, batch: RecordBatch) -> Result<RecordBatch> {
        let mut wanted = vec![true; batch.num_rows()];
        let columns = Columns::new(table, &batch);
        if let Some(classes) = &self.classes {
            let ids = columns.optional_numbers::<Int32Type>("class_id")?;
            keep(&mut wanted, ids, |id| {
                id.is_some_and(|id| classes.contains(&(id as u32)))
            });
        }
        if let Some(class_names) = &self.class_names {
            let names = columns.optional_text("class_name")?;
            keep(&mut wanted, names, |name| {
                name.is_some_and(|name| class_names.contains(&name))
            });
        }
        if self.index != (0..=u64::MAX) {
            let index = columns.numbers::<Int64Type>("index")?;
            keep(&mut wanted, index, |index| self.index.contains(&(index as u64)));
        }
        if wanted.iter().all(|wanted| *wanted) {
            return Ok(batch);
        }
        Ok(filter_record_batch(&batch, &BooleanArray::from(wanted))?)
    }
}

/// Keeps wanting only the rows whose value passes.
fn keep<T>(wanted: &mut [bool], values: Vec<T>, pass: impl Fn(T) -> bool) {
    for (wanted, value) in wanted.iter_mut().zip(values) {
        *wanted = *wanted && pass(value);
    }
}

/// How much was read, for whoever wants to know.
#[derive(Debug, Default)]
pub struct Counter {
    blocks: AtomicU64,
}

impl Counter {
    /// Returns the number of blocks read so far.
    pub fn blocks(&self) -> u64 {
        self.blocks.load(Ordering::Relaxed)
    }
}

/// The wanted rows of a table, block by block in key order, with the column `run` in front. One block is in memory at a time,
/// and all are read from one snapshot.
pub struct Scan {
    snapshot: Arc<Snapshot>,
    table: Table,
    selection: Selection,
    blocks: std::vec::IntoIter<BlockInfo>,
    columns: Option<Vec<usize>>,
    left: usize,
    counter: Arc<Counter>,
    /// The class that is known to have another name.
    skipped: Option<(RunId, u32)>,
}

impl Scan {
    /// Begins to read.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn new(snapshot: Arc<Snapshot>, table: Table, selection: Selection) -> Result<Self> {
        let blocks = selection.blocks(&snapshot, table)?.into_iter();
        Ok(Self {
            snapshot,
            table,
            selection,
            blocks,
            columns: None,
            left: usize::MAX,
            counter: Arc::default(),
            skipped: None,
        })
    }

    /// Yields only these columns, by their place in the schema with `run` in front.
    pub fn columns(mut self, columns: Option<Vec<usize>>) -> Self {
        self.columns = columns;
        self
    }

    /// Yields at most that many rows.
    pub fn limit(mut self, limit: Option<usize>) -> Self {
        self.left = limit.unwrap_or(usize::MAX);
        self
    }

    /// Counts into `counter`.
    pub fn counted(mut self, counter: Arc<Counter>) -> Self {
        self.counter = counter;
        self
    }

    fn block(&mut self, info: &BlockInfo) -> Result<Option<RecordBatch>> {
        let place = (info.run, info.part);
        if self.skipped == Some(place) {
            return Ok(None);
        }
        if let Some(keys) = self.keys_only(info)? {
            return Ok(Some(keys));
        }
        let block = self.snapshot.block(self.table, info, &Projection::All)?;
        self.counter.blocks.fetch_add(1, Ordering::Relaxed);
        if self.table.by_class() && self.other_name(&block) {
            self.skipped = Some(place);
            return Ok(None);
        }
        let rows = self.selection.rows(self.table, block)?;
        let rows = rows.slice(0, rows.num_rows().min(self.left));
        if rows.num_rows() == 0 {
            return Ok(None);
        }
        self.left -= rows.num_rows();
        let rows = with_run(info.run, &rows)?;
        Ok(Some(match &self.columns {
            Some(columns) => rows.project(columns)?,
            None => rows,
        }))
    }

    /// Returns the rows of a block from its place alone, if only run, class and index are wanted of them.
    fn keys_only(&mut self, info: &BlockInfo) -> Result<Option<RecordBatch>> {
        let Some(columns) = &self.columns else {
            return Ok(None);
        };
        if !self.table.by_class() || self.selection.class_names.is_some() {
            return Ok(None);
        }
        let wanted = &self.selection.index;
        let first = info.first.max(*wanted.start());
        // Selection::blocks gives no block without a row, and none outside of the range.
        let last = (info.first + u64::from(info.rows) - 1).min(*wanted.end());
        let rows = ((last - first + 1) as usize).min(self.left);
        let schema = with_run_schema(&self.table.schema(0)).project(columns)?;
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(columns.len());
        for field in schema.fields() {
            arrays.push(match field.name().as_str() {
                "run" => Arc::new(StringArray::from(vec![info.run.to_string(); rows])),
                "class_id" => Arc::new(Int32Array::from(vec![info.part as i32; rows])),
                "index" => Arc::new(Int64Array::from_iter_values((first as i64..).take(rows))),
                _ => return Ok(None),
            });
        }
        self.left -= rows;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::new(schema), arrays, &options)?;
        Ok(Some(batch))
    }

    /// Says whether the class of a block has another name than those wanted.
    fn other_name(&self, block: &RecordBatch) -> bool {
        let Some(wanted) = &self.selection.class_names else {
            return false;
        };
        let names = block
            .column_by_name("class_name")
            .and_then(|c| c.as_string_opt::<i32>());
        names.is_some_and(|names| {
            names
                .iter()
                .all(|name| name.is_none_or(|name| !wanted.contains(name)))
        })
    }
}

impl Iterator for Scan {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.left > 0 {
            let info = self.blocks.next()?;
            if let Some(item) = self.block(&info).transpose() {
                if item.is_err() {
                    self.left = 0;
                }
                return Some(item);
            }
        }
        None
    }
}
