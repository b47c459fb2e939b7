//! Joining the small blocks of a run when it is sealed: a stage that puts a row at a time would otherwise leave a block of
//! 2 KiB for each metric, or half-empty powers of two for images.

use std::path::Path;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use dream_schema::{RunId, SchemaError, Table};
use redb::{ReadableTable, WriteTransaction};

use super::block::Place;
use super::error::At;
use super::layout::{self, Entry, KEY, PAGE_OVERHEAD};
use super::{Result, pack, write};

/// Blocks are joined in groups of at most this many bytes, so that memory stays bounded.
const WINDOW: usize = 8 << 20;

type Key = [u8; KEY];

/// Cuts the rows of a run anew wherever that takes fewer blocks or less room.
pub(super) fn repack(transaction: &WriteTransaction, path: &Path, run: RunId, table: Table) -> Result<()> {
    for window in windows(transaction, path, run, table)? {
        rewrite(transaction, path, table, &window)?;
    }
    Ok(())
}

/// Returns groups of at least two successive blocks of one part without a gap between them, leaving out full blocks.
fn windows(
    transaction: &WriteTransaction,
    path: &Path,
    run: RunId,
    table: Table,
) -> Result<Vec<Vec<(Key, Entry)>>> {
    let (index, _) = layout::tables(table);
    let index = transaction.open_table(index).at(path)?;
    let (low, high) = layout::bounds(Some(run), None);
    let mut windows = Vec::new();
    let mut open: Vec<(Key, Entry)> = Vec::new();
    let mut bytes = 0;
    let mut next = (0, 0); // (part, index) after the last block
    for item in index.range::<&Key>(&low..=&high).at(path)? {
        let (key, entry) = item.at(path)?;
        let (key, entry) = (*key.value(), Entry::decode(entry.value()));
        let (_, part, first) = layout::unkey(&key);
        let length = entry.length as usize;
        let full = pack::is_full(length);
        if full || next != (part, first) || bytes + length > WINDOW {
            windows.push(std::mem::take(&mut open));
            bytes = 0;
        }
        if !full {
            open.push((key, entry));
            bytes += length;
        }
        next = (part, first + u64::from(entry.rows));
    }
    windows.push(open);
    windows.retain(|window| window.len() > 1);
    Ok(windows)
}

/// Writes the rows of a window as new blocks, if these take fewer pages or are fewer.
fn rewrite(transaction: &WriteTransaction, path: &Path, table: Table, window: &[(Key, Entry)]) -> Result<()> {
    let (index, blocks) = layout::tables(table);
    let mut index = transaction.open_table(index).at(path)?;
    let mut blocks = transaction.open_table(blocks).at(path)?;
    let mut batches: Vec<RecordBatch> = Vec::with_capacity(window.len());
    for (key, entry) in window {
        let block = blocks.get(key).at(path)?;
        let place = Place::new(path, table, key);
        batches.push(place.decode(entry, block.as_ref().map(|guard| guard.value()))?);
    }
    let (Some(head), Some((key, _))) = (batches.first(), window.first()) else {
        return Ok(());
    };
    let joined = concat_batches(head.schema_ref(), &batches).map_err(SchemaError::Arrow)?;
    let new = write::cut(&joined)?;
    let room = |lengths: &mut dyn Iterator<Item = usize>| -> usize {
        lengths
            .map(|length| (length + PAGE_OVERHEAD).next_power_of_two())
            .sum()
    };
    let before = room(&mut window.iter().map(|(_, entry)| entry.length as usize));
    let after = room(&mut new.iter().map(|(_, _, block)| block.len()));
    if after > before || (after == before && new.len() >= window.len()) {
        return Ok(());
    }
    for (key, _) in window {
        index.remove(key).at(path)?;
        blocks.remove(key).at(path)?;
    }
    let (run, part, first) = layout::unkey(key);
    for (offset, entry, block) in new {
        let key = layout::key(run, part, first + offset);
        blocks.insert(&key, block.as_slice()).at(path)?;
        index.insert(&key, &entry.encode()).at(path)?;
    }
    Ok(())
}
