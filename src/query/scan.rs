//! Reading only what a question needs: the blocks that can hold its rows, and of those the columns that it
//! asks for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::Schema;
use dream_schema::{RunId, Table, with_run_schema};

use super::Result;
#[cfg(feature = "sql")]
use super::known::Known;
use super::selection::Selection;
use crate::store::{Ahead, BlockInfo, Projection, Readable, Snapshot, Tally};

/// How much was read, for whoever wants to know.
#[derive(Debug, Default)]
pub struct Counter {
    blocks: AtomicU64,
    tables: AtomicU64,
}

impl Counter {
    /// Returns the number of blocks read so far.
    pub fn blocks(&self) -> u64 {
        self.blocks.load(Ordering::Relaxed)
    }

    /// Returns the number of tables looked at so far: those whose index was read, or all of whose rows were.
    pub fn tables(&self) -> u64 {
        self.tables.load(Ordering::Relaxed)
    }

    #[cfg(feature = "sql")]
    pub(super) fn add_table(&self) {
        self.tables.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a [`Scan`] yields; by default all rows with all columns.
#[derive(Clone, Default)]
pub struct ScanOptions {
    /// Which rows.
    pub selection: Selection,
    /// Which columns, by their places in the schema with `run` in front; `None` for all.
    pub columns: Option<Vec<usize>>,
    /// The most rows.
    pub limit: Option<usize>,
    /// Counts what is read.
    pub counter: Arc<Counter>,
    /// Counts the blocks of the file that are read for it.
    pub tally: Arc<Tally>,
}

/// The wanted rows of a table, block by block in key order, with the column `run` in front, all from one
/// snapshot. A few blocks are read ahead, by several threads.
pub struct Scan {
    snapshot: Arc<Snapshot>,
    table: Table,
    selection: Selection,
    blocks: std::vec::IntoIter<BlockInfo>,
    columns: Vec<usize>,
    left: usize,
    counter: Arc<Counter>,
    tally: Arc<Tally>,
    /// The class that is known to have another name.
    skipped: Option<(RunId, u32)>,
    ahead: Ahead<Read>,
}

impl Scan {
    /// Begins to read.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn new(snapshot: Arc<Snapshot>, table: Table, options: ScanOptions) -> Result<Self> {
        let columns = columns(table, &options);
        let blocks = options.selection.blocks(&snapshot, table, &stored(&columns))?;
        Ok(Self::of(snapshot, table, columns, blocks, options))
    }

    /// Begins to read a table whose index is known.
    #[cfg(feature = "sql")]
    pub(super) fn known(known: &Known, options: ScanOptions) -> Result<Self> {
        let columns = columns(known.table, &options);
        let blocks = known.blocks(&options.selection, &stored(&columns))?;
        Ok(Self::of(
            known.snapshot.clone(),
            known.table,
            columns,
            blocks,
            options,
        ))
    }

    fn of(
        snapshot: Arc<Snapshot>,
        table: Table,
        columns: Vec<usize>,
        blocks: Vec<BlockInfo>,
        options: ScanOptions,
    ) -> Self {
        Self {
            snapshot,
            table,
            selection: options.selection,
            blocks: blocks.into_iter(),
            columns,
            left: options.limit.unwrap_or(usize::MAX),
            counter: options.counter,
            tally: options.tally,
            skipped: None,
            ahead: Ahead::new(),
        }
    }

    /// Returns where the rows are that are still to be read.
    pub(super) fn rest(&self) -> &[BlockInfo] {
        self.blocks.as_slice()
    }

    /// Reads the next stretch.
    fn read(&mut self) -> Option<Read> {
        // Nothing is read that may not be wanted: where a number of rows is asked for, or a class by a name
        // that only its rows tell.
        let nameless = |info: &BlockInfo| info.class_name.is_none();
        let unsure = self.left < usize::MAX
            || (self.selection.class_names.is_some() && self.blocks.as_slice().first().is_some_and(nameless));
        let (skipped, left) = (&self.skipped, self.left);
        let mut infos = self
            .blocks
            .by_ref()
            .filter(|info| *skipped != Some((info.run, info.part)));
        let reader = Reader {
            snapshot: &self.snapshot,
            table: self.table,
            selection: &self.selection,
            columns: &self.columns,
            counter: &self.counter,
            tally: &self.tally,
        };
        let read = |mut info: BlockInfo| {
            if reader.selection.deciding(reader.table, &info).is_empty() {
                info.rows = info.rows.min(u32::try_from(left).unwrap_or(u32::MAX));
            }
            ((info.run, info.part), reader.rows(&info))
        };
        self.ahead
            .next(&mut infos, if unsure { 1 } else { usize::MAX }, read)
    }
}

/// The class of a stretch, and its wanted rows.
type Read = ((RunId, u32), Result<RecordBatch>);

impl Iterator for Scan {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.left > 0 {
            let (class, rows) = self.read()?;
            match rows {
                Ok(rows) if rows.num_rows() == 0 => {
                    if self.table.by_class() {
                        self.skipped = Some(class);
                    }
                }
                Ok(rows) if self.left == usize::MAX => return Some(Ok(rows)),
                Ok(rows) => {
                    let rows = rows.slice(0, rows.num_rows().min(self.left));
                    self.left -= rows.num_rows();
                    return Some(Ok(rows));
                }
                Err(error) => {
                    self.left = 0;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

/// Reads some columns of the wanted rows.
pub(super) struct Reader<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) table: Table,
    pub(super) selection: &'a Selection,
    /// Places in the schema with `run` in front.
    pub(super) columns: &'a [usize],
    pub(super) counter: &'a Counter,
    pub(super) tally: &'a Tally,
}

impl Reader<'_> {
    /// Returns the wanted rows of a stretch.
    pub(super) fn rows(&self, info: &BlockInfo) -> Result<RecordBatch> {
        let deciding = self.selection.deciding(self.table, info);
        let rows = self.read(info, &deciding)?;
        if deciding.is_empty() {
            return Ok(rows);
        }
        let rows = self.selection.decide(self.table, &deciding, rows)?;
        let wanted: Vec<_> = (0..self.columns.len()).collect();
        Ok(rows.project(&wanted)?)
    }

    /// Returns the columns asked for of a stretch, and after them those that decide which of its rows are
    /// wanted. What the index says is not read.
    fn read(&self, info: &BlockInfo, deciding: &[&'static str]) -> Result<RecordBatch> {
        let schema = with_run_schema(&self.table.schema(info.width as usize));
        let places = places(&schema, self.columns, deciding)?;
        let schema = schema.project(&places)?;
        let fields = schema.fields().iter();
        let mut columns: Vec<_> = fields.map(|field| self.indexed(info, field.name())).collect();
        let missing = places.iter().zip(&columns).filter(|(_, column)| column.is_none());
        let missing: Vec<_> = missing.map(|(place, _)| *place).collect();
        if !missing.is_empty() {
            let columns_read = stored(&missing);
            let rows = self
                .snapshot
                .block_tallied(self.table, info, &columns_read, self.tally)?;
            self.counter.blocks.fetch_add(1, Ordering::Relaxed);
            let mut read = rows.columns().iter().cloned();
            for column in columns.iter_mut().filter(|column| column.is_none()) {
                *column = read.next();
            }
        }
        let columns = columns.into_iter().flatten().collect();
        let options = RecordBatchOptions::new().with_row_count(Some(info.rows as usize));
        Ok(RecordBatch::try_new_with_options(
            Arc::new(schema),
            columns,
            &options,
        )?)
    }

    /// Returns a column of a stretch if the index says what is in it.
    fn indexed(&self, info: &BlockInfo, column: &str) -> Option<ArrayRef> {
        let rows = info.rows as usize;
        let text = |value: &str| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(value, rows)))
        };
        let by_class = self.table.by_class();
        match column {
            "run" => Some(text(&info.run.to_string())),
            "index" => Some(Arc::new(Int64Array::from_iter_values(
                (info.first as i64..).take(rows),
            ))),
            "class_id" if by_class => Some(Arc::new(Int32Array::from(vec![info.part as i32; rows]))),
            "class_name" if by_class => info.class_name.as_deref().map(text),
            _ => None,
        }
    }
}

/// Returns the places of the columns asked for, and after them those of the columns that decide.
fn places(schema: &Schema, columns: &[usize], deciding: &[&'static str]) -> Result<Vec<usize>> {
    let mut places = columns.to_vec();
    for column in deciding {
        let place = schema.index_of(column)?;
        if !places.contains(&place) {
            places.push(place);
        }
    }
    Ok(places)
}

/// What a scan of a table whose index is known would read at most.
#[cfg(feature = "sql")]
pub(super) struct Cost {
    /// Rows of the stretches that it goes through.
    pub(super) rows: u64,
    /// Blocks of the file.
    pub(super) blocks: u64,
    /// Their bytes.
    pub(super) bytes: u64,
}

/// Returns what a scan would read at most, from the index alone.
#[cfg(feature = "sql")]
pub(super) fn cost(known: &Known, options: &ScanOptions) -> Result<Cost> {
    let (table, asked) = (known.table, columns(known.table, options));
    let infos = known.blocks(&options.selection, &stored(&asked))?;
    let rows = infos.iter().map(|info| u64::from(info.rows)).sum();
    let mut cost = Cost {
        rows,
        blocks: 0,
        bytes: 0,
    };
    // What must be read differs only where the index has no name of the class.
    let (named, nameless): (Vec<_>, Vec<_>) = infos.into_iter().partition(|info| info.class_name.is_some());
    for infos in [named, nameless] {
        let Some(info) = infos.first() else { continue };
        let schema = with_run_schema(&table.schema(info.width as usize));
        let by_index = |place: &usize| match schema.field(*place).name().as_str() {
            "run" | "index" => true,
            "class_id" => table.by_class(),
            "class_name" => table.by_class() && info.class_name.is_some(),
            _ => false,
        };
        let mut places = places(&schema, &asked, &options.selection.deciding(table, info))?;
        places.retain(|place| !by_index(place));
        let tally = known.snapshot.cost(table, &infos, &stored(&places))?;
        cost.blocks += tally.blocks();
        cost.bytes += tally.bytes();
    }
    Ok(cost)
}

/// Returns the places of the columns that are asked for, `run` counted.
fn columns(table: Table, options: &ScanOptions) -> Vec<usize> {
    let all = || (0..=table.declaration().columns.len()).collect();
    options.columns.clone().unwrap_or_else(all)
}

/// Returns the columns that are stored of those at these places, `run` counted.
pub(super) fn stored(places: &[usize]) -> Projection {
    Projection::Only(places.iter().filter_map(|place| place.checked_sub(1)).collect())
}
