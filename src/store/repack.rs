//! Joining the small blocks of a run when it is sealed: a stage that puts a row at a time would otherwise
//! leave a block of 2 KiB for each metric, or half-empty powers of two for images.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use dream_schema::{RunId, SchemaError, Table};

use super::format::{Entry, Strip};
use super::layout::{self, Key, PAGE_OVERHEAD};
use super::view::Writer;
use super::{Result, pack};

/// Blocks are joined in groups of at most this many bytes, so that memory stays bounded.
const WINDOW: usize = 8 << 20;

/// Cuts the rows of a run anew wherever that takes fewer blocks or less room.
pub(super) fn repack(writer: &Writer<'_>, run: RunId) -> Result<()> {
    for table in Table::ALL {
        for strip in writer.format.strips(table) {
            for window in windows(writer, run, strip)? {
                rewrite(writer, strip, &window)?;
            }
        }
    }
    Ok(())
}

/// Returns groups of at least two successive blocks of one part without a gap between them, leaving out full
/// blocks.
fn windows(writer: &Writer<'_>, run: RunId, strip: Strip) -> Result<Vec<Vec<(Key, Entry)>>> {
    let mut windows = Vec::new();
    let mut open: Vec<(Key, Entry)> = Vec::new();
    let mut bytes = 0;
    let mut next = (0, 0); // (part, index) after the last block
    for (key, entry) in writer.view().entries(strip, Some(run), None)? {
        let (_, part, first) = layout::unkey(&key);
        let length = entry.length as usize;
        let full = pack::is_full(length);
        if full || next != (part, first) || bytes + length > WINDOW {
            windows.push(std::mem::take(&mut open));
            bytes = 0;
        }
        next = (part, first + u64::from(entry.rows));
        if !full {
            open.push((key, entry));
            bytes += length;
        }
    }
    windows.push(open);
    windows.retain(|window| window.len() > 1);
    Ok(windows)
}

/// Writes the rows of a window as new blocks, if these take fewer pages or are fewer.
fn rewrite(writer: &Writer<'_>, strip: Strip, window: &[(Key, Entry)]) -> Result<()> {
    let view = writer.view();
    let read = |(key, entry): &(Key, Entry)| view.read(strip, key, entry)?.rows();
    let batches: Vec<RecordBatch> = window.iter().map(read).collect::<Result<_>>()?;
    let (Some(head), Some((key, entry))) = (batches.first(), window.first()) else {
        return Ok(());
    };
    let joined = concat_batches(head.schema_ref(), &batches).map_err(SchemaError::Arrow)?;
    let (run, part, first) = layout::unkey(key);
    let new = strip
        .cut(first, entry.width, &joined)?
        .collect::<Result<Vec<_>>>()?;
    let room = |lengths: &mut dyn Iterator<Item = u32>| -> usize {
        lengths
            .map(|length| (length as usize + PAGE_OVERHEAD).next_power_of_two())
            .sum()
    };
    let before = room(&mut window.iter().map(|(_, entry)| entry.length));
    let after = room(&mut new.iter().map(|cut| cut.entry.length));
    let fewer = new.len() < window.len();
    let better = if strip.is_packed() {
        after < before || (after == before && fewer)
    } else {
        fewer
    };
    if !better {
        return Ok(());
    }
    for (key, _) in window {
        writer.remove_block(strip, key)?;
    }
    for cut in new {
        let key = layout::key(run, part, first + cut.offset);
        writer.put_block(strip, &key, &cut.entry, &cut.block)?;
    }
    Ok(())
}
