//! The plain matrix product, by one thread.

use super::kernel::{ROWS, accumulate};
use super::lanes::LANES;
use super::packed::Packed;
use std::ops::Range;

/// Depth worked on at once: a panel's part then stays in the first-level cache.
const DEPTH_BLOCK: usize = 384;
/// Rows that go over all panels together: their part of that depth stays in the second-level cache.
const ROW_BLOCK: usize = 16 * ROWS;

/// Writes `a b` for the columns `columns` of b, which begin at a panel: `a` is `[rows, depth]`; `out` is
/// `[rows, stride]`, of which the first `columns.len()` numbers of a row are written. A number's sum runs
/// over the depth in order, and depends on nothing but its own row and column.
///
/// # Panics
/// If the columns begin within a panel or end beyond the last, `a` is no whole number of rows, or `out` is
/// too small.
pub(crate) fn product(a: &[f32], b: &Packed, columns: Range<usize>, out: &mut [f32], stride: usize) {
    let depth = b.depth();
    let width = columns.len();
    if a.is_empty() || width == 0 {
        return;
    }
    let rows = a.len() / depth;
    assert!(columns.start.is_multiple_of(LANES) && columns.end <= b.columns() && width <= stride);
    assert!(a.len() == rows * depth && out.len() >= (rows - 1) * stride + width);
    for first in (0..rows).step_by(ROW_BLOCK) {
        let last = rows.min(first + ROW_BLOCK);
        for start in (0..depth).step_by(DEPTH_BLOCK) {
            let here = DEPTH_BLOCK.min(depth - start);
            for from in columns.clone().step_by(LANES) {
                let lanes = b.rows(from / LANES, start, here);
                let width = LANES.min(columns.end - from);
                for tile in (first..last).step_by(ROWS) {
                    // The last tile is filled up with copies of the last row, whose sums are thrown away.
                    let row = |r: usize| &a[(tile + r).min(rows - 1) * depth..][..depth];
                    let at = |r: usize| (tile + r) * stride + (from - columns.start);
                    let mut sums = [[0.0; LANES]; ROWS];
                    let count = ROWS.min(last - tile);
                    if start > 0 {
                        for (r, sum) in sums.iter_mut().enumerate().take(count) {
                            sum[..width].copy_from_slice(&out[at(r)..][..width]);
                        }
                    }
                    accumulate(&[std::array::from_fn(row)], start..start + here, lanes, &mut sums);
                    for (r, sum) in sums.iter().enumerate().take(count) {
                        out[at(r)..][..width].copy_from_slice(&sum[..width]);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole numbers: every order of summing is exact.
    #[test]
    fn products_of_any_size_are_right() {
        let value = |i: usize| ((i * 37 + 11) % 19) as f32 - 9.0;
        for (rows, depth, columns) in [(1, 1, 1), (7, 5, 37), (97, 400, 33), (13, 800, 16)] {
            let a: Vec<f32> = (0..rows * depth).map(value).collect();
            let b = Packed::new(depth, columns, |k, n| value(3 * k + 5 * n));
            for range in [0..columns, columns / 2 / LANES * LANES..columns, 0..columns / 2] {
                let stride = columns + 3;
                let mut out = vec![0.5; rows * stride];
                product(&a, &b, range.clone(), &mut out, stride);
                for (at, found) in out.iter().enumerate() {
                    let (row, column) = (at / stride, at % stride);
                    let term = |k: usize| a[row * depth + k] * value(3 * k + 5 * (range.start + column));
                    let expected = match column < range.len() {
                        true => (0..depth).map(term).sum(),
                        false => 0.5,
                    };
                    assert_eq!(
                        *found, expected,
                        "{rows}x{depth}x{columns}, {range:?}: {row}, {column}"
                    );
                }
            }
        }
    }
}
