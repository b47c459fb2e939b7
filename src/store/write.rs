//! Putting rows: what is stored already is compared, the rest is written.

use std::borrow::Cow;

use arrow::array::{RecordBatch, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::error::ArrowError;
use dream_schema::columns::Columns;
use dream_schema::{RunId, SchemaError, Table};

use super::block::{BlockInfo, Projection, first_difference};
use super::format;
use super::view::Writer;
use super::{Result, StoreError};

/// Rows of one part at consecutive indexes.
pub(super) struct Group {
    /// Their table.
    pub table: Table,
    /// Their part.
    pub part: u32,
    /// Index of the first.
    pub first: u64,
    /// The rows, at least one.
    pub rows: RecordBatch,
}

impl Group {
    fn end(&self) -> u64 {
        self.first + self.rows.num_rows() as u64
    }
}

/// Sorts rows into groups; a row given twice is taken once.
///
/// # Errors
/// [`StoreError::Conflict`] if two rows of the same key differ, [`StoreError::Schema`] if vectors have no
/// numbers, a column is not the table's or a place is none.
pub(super) fn groups(run: RunId, table: Table, rows: &RecordBatch) -> Result<Vec<Group>> {
    if table.has_vectors() && rows.num_rows() > 0 && format::width(rows) == 0 {
        let empty = "vectors without numbers cannot be stored".to_owned();
        return Err(SchemaError::Arrow(ArrowError::InvalidArgumentError(empty)).into());
    }
    let keys = keys(table, rows)?;
    let (keys, rows) = match keys.is_sorted_by(|a, b| a < b) {
        true => (keys, Cow::Borrowed(rows)),
        false => {
            let (keys, rows) = distinct(run, table, &keys, rows)?;
            (keys, Cow::Owned(rows))
        }
    };
    let consecutive = |a: &Place, b: &Place| a.0 == b.0 && a.1.checked_add(1) == Some(b.1);
    let mut start = 0;
    let group = |keys: &[Place]| {
        let (part, first) = keys[0]; // chunks are not empty
        let rows = rows.slice(start, keys.len());
        start += keys.len();
        Group {
            table,
            part,
            first,
            rows,
        }
    };
    Ok(keys.chunk_by(consecutive).map(group).collect())
}

/// Where a row is in its run: part and index.
pub(super) type Place = (u32, u64);

/// Returns the places of rows.
fn keys(table: Table, rows: &RecordBatch) -> Result<Vec<Place>> {
    let columns = Columns::new(table, rows);
    let indexes = columns.numbers::<Int64Type>("index")?;
    // Behind the last place that a key can say there is none where its block could end.
    if let Some(row) = indexes.iter().position(|index| *index == -1) {
        return Err(StoreError::from(SchemaError::Value {
            table: table.name(),
            column: "index",
            row,
            value: "-1".to_owned(),
            hint: "places are counted from 0".to_owned(),
        }));
    }
    let indexes = indexes.into_iter().map(|index| index as u64);
    if !table.declaration().by_class {
        return Ok(indexes.map(|index| (0, index)).collect());
    }
    let parts = columns.numbers::<Int32Type>("class_id")?.into_iter();
    Ok(parts.map(|part| part as u32).zip(indexes).collect())
}

/// Returns the rows in the order of their keys, each once.
fn distinct(
    run: RunId,
    table: Table,
    keys: &[Place],
    rows: &RecordBatch,
) -> Result<(Vec<Place>, RecordBatch)> {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by_key(|row| keys[*row]);
    let (mut sorted, mut taken): (Vec<Place>, Vec<u64>) = (Vec::new(), Vec::new());
    for row in order {
        match (sorted.last(), taken.last()) {
            (Some(last), Some(first)) if *last == keys[row] => {
                let (first, second) = (rows.slice(*first as usize, 1), rows.slice(row, 1));
                if first_difference(&first, &second).is_some() {
                    let (part, index) = keys[row];
                    return Err(StoreError::Conflict {
                        table,
                        run,
                        part,
                        index,
                    });
                }
            }
            _ => {
                sorted.push(keys[row]);
                taken.push(row as u64);
            }
        }
    }
    let rows = take_record_batch(rows, &UInt64Array::from(taken)).map_err(SchemaError::Arrow)?;
    Ok((sorted, rows))
}

/// Puts the rows of a group that are not stored yet. Returns how many these are.
///
/// # Errors
/// [`StoreError::Conflict`] if a stored row differs, [`StoreError::Width`] if the run's vectors have another
/// width.
pub(super) fn put(writer: &Writer<'_>, run: RunId, group: &Group) -> Result<u64> {
    let width = check_width(writer, run, group)?;
    let mut put = 0;
    for (start, stop) in gaps(writer, run, group, width)? {
        let offset = (start - group.first) as usize;
        let rows = group.rows.slice(offset, (stop - start) as usize);
        writer.insert(group.table, run, group.part, start, &rows)?;
        put += stop - start;
    }
    Ok(put)
}

/// Returns the ranges of indexes that are not stored yet, after comparing the rows that are.
fn gaps(writer: &Writer<'_>, run: RunId, group: &Group, width: u32) -> Result<Vec<(u64, u64)>> {
    let view = writer.view();
    let strip = writer.format.keys(group.table);
    let mut gaps = Vec::new();
    let mut from = group.first;
    for (key, entry) in view.overlapping(strip, (run, group.part), (group.first, group.end()))? {
        let block = BlockInfo::new(&key, &entry);
        let (start, stop) = (block.first.max(group.first), block.end().min(group.end()));
        let stored = BlockInfo {
            first: start,
            rows: (stop - start) as u32,
            width,
            ..block
        };
        let old = view.stretch(group.table, &stored, &Projection::All)?;
        let new = group.rows.slice((start - group.first) as usize, old.num_rows());
        if let Some(row) = first_difference(&old, &new) {
            return Err(StoreError::Conflict {
                table: group.table,
                run,
                part: group.part,
                index: start + row as u64,
            });
        }
        if from < start {
            gaps.push((from, start));
        }
        from = stop;
    }
    if from < group.end() {
        gaps.push((from, group.end()));
    }
    Ok(gaps)
}

/// Returns the width of a group's vectors, which is that of the run's other rows.
fn check_width(writer: &Writer<'_>, run: RunId, group: &Group) -> Result<u32> {
    let actual = format::width(&group.rows);
    if group.table.has_vectors()
        && let Some(expected) = writer.view().width(group.table, run)?
        && expected != actual
    {
        return Err(StoreError::Width {
            table: group.table,
            run,
            expected,
            actual,
        });
    }
    Ok(actual as u32)
}
