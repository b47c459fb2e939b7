//! How rows are cut into blocks: redb rounds a value up to a power of two, so a block should fill one.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::DataType;

use super::layout::PAGE_OVERHEAD;

/// The largest block of several rows, with redb's overhead; a larger row is a block by itself.
pub(super) const LARGEST: usize = 1 << 20;
/// What fits here is not cut further as a rule: a power of two below it wastes little.
pub(super) const SMALLEST: usize = 64 << 10;
/// A power of two is well filled from this share (percent) on.
const WELL_FILLED: usize = 85;

/// Returns the numbers of rows of successive blocks for rows of `sizes` bytes, each block having `head` bytes
/// of its own. What fits into `uncut` bytes is not cut further, however badly it fills them.
pub(super) fn cuts(sizes: &[usize], head: usize, uncut: usize) -> Vec<usize> {
    let head = head + PAGE_OVERHEAD;
    let mut rest = sizes;
    let mut cuts = Vec::new();
    while !rest.is_empty() {
        let rows = first_cut(rest, head, uncut);
        cuts.push(rows);
        rest = rest.get(rows..).unwrap_or_default();
    }
    cuts
}

/// Says whether a block of `length` bytes is as large and as full as blocks become.
pub(super) fn is_full(length: usize) -> bool {
    (length + PAGE_OVERHEAD) * 100 / LARGEST >= WELL_FILLED
}

/// Returns how many rows the first block takes: at least one, at most all.
fn first_cut(sizes: &[usize], head: usize, uncut: usize) -> usize {
    let mut best = (0, 1); // (percent filled, rows)
    let mut limit = LARGEST;
    while limit >= SMALLEST {
        let (rows, bytes) = fitting(sizes, head, limit);
        if rows == 0 {
            break;
        }
        let filled = bytes * 100 / limit;
        if filled >= WELL_FILLED || (limit <= uncut && rows == sizes.len()) {
            return rows;
        }
        if filled > best.0 {
            best = (filled, rows);
        }
        limit /= 2;
    }
    best.1
}

/// Returns how many rows fit into `limit` bytes, and how many bytes they take.
fn fitting(sizes: &[usize], head: usize, limit: usize) -> (usize, usize) {
    let mut bytes = head;
    let mut rows = 0;
    for size in sizes {
        if bytes + size > limit {
            break;
        }
        bytes += size;
        rows += 1;
    }
    (rows, bytes)
}

/// Returns the bytes that each row of `batch` takes in a block, without what the block takes once.
pub(super) fn row_sizes(batch: &RecordBatch) -> Vec<usize> {
    let mut sizes = vec![0; batch.num_rows()];
    for column in batch.columns() {
        match column.data_type() {
            DataType::Utf8 => add(&mut sizes, 4, offsets(column.as_string::<i32>().value_offsets())),
            DataType::Binary => add(&mut sizes, 4, offsets(column.as_binary::<i32>().value_offsets())),
            DataType::List(item) => {
                let items = offsets(column.as_list::<i32>().value_offsets());
                let bytes = item.data_type().primitive_width().unwrap_or(8);
                add(&mut sizes, 4, items.map(|n| n * bytes));
            }
            DataType::FixedSizeList(_, width) => {
                let bytes = *width as usize * 4;
                sizes.iter_mut().for_each(|size| *size += bytes);
            }
            other => {
                let bytes = other.primitive_width().unwrap_or(8);
                sizes.iter_mut().for_each(|size| *size += bytes);
            }
        }
        if column.null_count() > 0 {
            // A bit each; counted as a byte, for short blocks.
            sizes.iter_mut().for_each(|size| *size += 1);
        }
    }
    sizes
}

fn offsets(offsets: &[i32]) -> impl Iterator<Item = usize> {
    offsets
        .iter()
        .zip(offsets.iter().skip(1))
        .map(|(a, b)| (b - a) as usize)
}

fn add(sizes: &mut [usize], each: usize, more: impl Iterator<Item = usize>) {
    sizes
        .iter_mut()
        .zip(more)
        .for_each(|(size, more)| *size += each + more);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allocated(sizes: &[usize], head: usize) -> usize {
        let mut rest = sizes;
        let mut total = 0;
        for rows in cuts(sizes, head, SMALLEST) {
            let (block, next) = rest.split_at(rows);
            let bytes = block.iter().sum::<usize>() + head + PAGE_OVERHEAD;
            assert!(rows == 1 || bytes <= LARGEST);
            total += bytes.next_power_of_two();
            rest = next;
        }
        assert!(rest.is_empty());
        total
    }

    #[test]
    fn latents_of_64_kib_do_not_take_twice_their_size() {
        for n in [1_usize, 3, 8, 15, 16, 100] {
            let sizes = vec![65_536 + 90; n];
            let raw = n * 65_536;
            let allocated = allocated(&sizes, 2_000);
            assert!(
                allocated <= (raw * 5 / 4).max(n.min(2) * 131_072),
                "{n}: {allocated} for {raw}"
            );
        }
    }

    #[test]
    fn small_rows_stay_together_and_large_ones_alone() {
        assert_eq!(cuts(&[100; 50], 2_000, SMALLEST), vec![50]);
        assert_eq!(cuts(&[3 << 20, 10, 10], 2_000, SMALLEST), vec![1, 2]);
        assert_eq!(cuts(&[10, 3 << 20, 10], 2_000, SMALLEST), vec![1, 1, 1]);
        assert!(cuts(&[], 10, SMALLEST).is_empty());
    }

    #[test]
    fn many_vectors_fill_their_blocks() {
        let sizes = vec![768 * 4 + 40; 10_000];
        assert!(allocated(&sizes, 2_000) < 10_000 * 768 * 4 * 103 / 100);
    }
}
