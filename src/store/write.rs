//! Putting rows: what is stored already is compared, the rest is written.

use std::borrow::Cow;

use arrow::array::RecordBatch;
use dream_schema::{Artifact, RunId, Table};

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
/// [`StoreError::Conflict`] if two rows of the same key differ, [`StoreError::Schema`] if their vectors
/// differ in width.
pub(super) fn groups<A: Artifact>(run: RunId, rows: &[A]) -> Result<Vec<Group>> {
    let consecutive = |a: &A, b: &A| a.part() == b.part() && a.index().checked_add(1) == Some(b.index());
    let group = |rows: &[A]| -> Result<Option<Group>> {
        let Some(head) = rows.first() else {
            return Ok(None);
        };
        Ok(Some(Group {
            table: A::TABLE,
            part: head.part(),
            first: head.index(),
            rows: A::to_batch(rows)?,
        }))
    };
    let distinct = distinct(run, rows)?;
    let chunks = distinct.chunk_by(consecutive);
    chunks.map(group).filter_map(Result::transpose).collect()
}

/// Returns the rows in the order of their keys, each once. Rows that are so already, as stages give them, are
/// not copied.
fn distinct<A: Artifact>(run: RunId, rows: &[A]) -> Result<Cow<'_, [A]>> {
    let key = |row: &A| (row.part(), row.index());
    if rows.is_sorted_by(|a, b| key(a) < key(b)) {
        return Ok(Cow::Borrowed(rows));
    }
    let mut sorted: Vec<&A> = rows.iter().collect();
    sorted.sort_by_key(|row| key(row));
    let mut distinct: Vec<A> = Vec::with_capacity(rows.len());
    for row in sorted {
        let Some(last) = distinct.last().filter(|last| key(last) == key(row)) else {
            distinct.push(row.clone());
            continue;
        };
        let batch = |row: &A| A::to_batch(std::slice::from_ref(row));
        if first_difference(&batch(last)?, &batch(row)?).is_some() {
            return Err(StoreError::Conflict {
                table: A::TABLE,
                run,
                part: row.part(),
                index: row.index(),
            });
        }
    }
    Ok(Cow::Owned(distinct))
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
