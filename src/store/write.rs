//! Putting rows: what is stored already is compared, the rest is cut into blocks.

use std::path::Path;

use arrow::array::RecordBatch;
use dream_schema::{Artifact, RunId, Table};
use redb::{ReadableTable, WriteTransaction};

use super::block::{self, Place};
use super::error::At;
use super::layout::{self, Entry, KEY};
use super::{Result, StoreError, pack};

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
/// [`StoreError::Conflict`] if two rows of the same key differ, [`StoreError::Schema`] if their vectors differ in width.
pub(super) fn groups<A: Artifact>(run: RunId, rows: &[A]) -> Result<Vec<Group>> {
    let key = |row: &A| (row.part(), row.index());
    let mut sorted: Vec<&A> = rows.iter().collect();
    sorted.sort_by_key(|row| key(row));
    let mut distinct: Vec<A> = Vec::with_capacity(rows.len());
    for row in sorted {
        match distinct.last() {
            Some(last) if key(last) == key(row) => {
                let (a, b) = (
                    A::to_batch(std::slice::from_ref(last))?,
                    A::to_batch(std::slice::from_ref(row))?,
                );
                if block::first_difference(&a, &b).is_some() {
                    return Err(StoreError::Conflict {
                        table: A::TABLE,
                        run,
                        part: row.part(),
                        index: row.index(),
                    });
                }
            }
            _ => distinct.push(row.clone()),
        }
    }
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
    let chunks = distinct.chunk_by(consecutive);
    chunks.map(group).filter_map(Result::transpose).collect()
}

/// Puts the rows of a group that are not stored yet. Returns how many these are.
///
/// # Errors
/// [`StoreError::Conflict`] if a stored row differs, [`StoreError::Width`] if the run's vectors have another width.
pub(super) fn put(transaction: &WriteTransaction, path: &Path, run: RunId, group: &Group) -> Result<u64> {
    let (index, blocks) = layout::tables(group.table);
    let mut index = transaction.open_table(index).at(path)?;
    let mut blocks = transaction.open_table(blocks).at(path)?;
    check_width(&index, path, run, group)?;
    let mut gaps = Vec::new();
    let mut from = group.first;
    for (key, entry) in overlapping(&index, path, run, group)? {
        let place = Place::new(path, group.table, &key);
        let end = place.first + u64::from(entry.rows);
        let guard = blocks.get(&key).at(path)?;
        let stored = place.decode(&entry, guard.as_ref().map(|g| g.value()))?;
        let (start, stop) = (place.first.max(group.first), end.min(group.end()));
        let length = (stop - start) as usize;
        let old = stored.slice((start - place.first) as usize, length);
        let new = group.rows.slice((start - group.first) as usize, length);
        if let Some(row) = block::first_difference(&old, &new) {
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
    let mut put = 0;
    for (start, stop) in gaps {
        let rows = group
            .rows
            .slice((start - group.first) as usize, (stop - start) as usize);
        for (offset, entry, bytes) in cut(&rows)? {
            let key = layout::key(run, group.part, start + offset);
            blocks.insert(&key, bytes.as_slice()).at(path)?;
            index.insert(&key, &entry.encode()).at(path)?;
        }
        put += stop - start;
    }
    Ok(put)
}

/// Cuts rows into blocks: the offset of the first row, the index entry, the bytes.
pub(super) fn cut(rows: &RecordBatch) -> Result<Vec<(u64, Entry, Vec<u8>)>> {
    let head = block::encode(&rows.slice(0, 0))?.len();
    // Every buffer is padded to 64 bytes.
    let padding = 128 * rows.num_columns();
    let mut offset = 0;
    let mut cut = Vec::new();
    for length in pack::cuts(&pack::row_sizes(rows), head + padding) {
        let batch = rows.slice(offset, length);
        let bytes = block::encode(&batch)?;
        cut.push((offset as u64, block::entry(&batch, &bytes), bytes));
        offset += length;
    }
    Ok(cut)
}

fn check_width(
    index: &impl ReadableTable<&'static [u8; KEY], &'static [u8; layout::ENTRY]>,
    path: &Path,
    run: RunId,
    group: &Group,
) -> Result<()> {
    if !group.table.has_vectors() {
        return Ok(());
    }
    let (low, high) = layout::bounds(Some(run), None);
    let Some(first) = index.range::<&[u8; KEY]>(&low..=&high).at(path)?.next() else {
        return Ok(());
    };
    let expected = Entry::decode(first.at(path)?.1.value()).width as usize;
    let actual = block::width(&group.rows);
    if expected == actual {
        return Ok(());
    }
    Err(StoreError::Width {
        table: group.table,
        run,
        expected,
        actual,
    })
}

/// Returns the stored blocks that share an index with the group, in order.
fn overlapping(
    index: &impl ReadableTable<&'static [u8; KEY], &'static [u8; layout::ENTRY]>,
    path: &Path,
    run: RunId,
    group: &Group,
) -> Result<Vec<([u8; KEY], Entry)>> {
    let low = layout::key(run, group.part, 0);
    let high = layout::key(run, group.part, group.end() - 1);
    let mut found = Vec::new();
    // Blocks are disjoint, so from the back the first one that ends before the group ends the search.
    for item in index.range::<&[u8; KEY]>(&low..=&high).at(path)?.rev() {
        let (key, entry) = item.at(path)?;
        let (key, entry) = (*key.value(), Entry::decode(entry.value()));
        let (_, _, first) = layout::unkey(&key);
        if first + u64::from(entry.rows) <= group.first {
            break;
        }
        found.push((key, entry));
    }
    found.reverse();
    Ok(found)
}
