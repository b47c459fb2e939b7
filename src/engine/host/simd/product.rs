//! The plain matrix product, by one thread.

use super::kernel::{ROWS, accumulate};
use super::lanes::LANES;
use super::packed::Packed;
use super::{has_wide, wide};
use std::ops::Range;

/// Rows that go over all panels together: their part of a block of the depth stays in the second-level cache.
const ROW_BLOCK: usize = 192;
const _: () = assert!(ROW_BLOCK.is_multiple_of(ROWS) && ROW_BLOCK.is_multiple_of(wide::ROWS));

/// Depth worked on at once: the part of it of a tile's panels then stays in the first-level cache.
fn depth_block() -> usize {
    if has_wide() { wide::DEPTH } else { 384 }
}

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
        let block = depth_block();
        for start in (0..depth).step_by(block) {
            let mut part = Part {
                a,
                b,
                rows: first..last,
                depth: start..depth.min(start + block),
                columns: columns.clone(),
                stride,
                out: &mut *out,
            };
            match has_wide() {
                true => part.wide(),
                false => part.narrow(columns.clone()),
            }
        }
    }
}

/// Copies up to `N` numbers; `N` of them without a call, which would take time in every row of a tile.
#[inline(always)]
fn copy<const N: usize>(to: &mut [f32], from: &[f32]) {
    match (to.first_chunk_mut::<N>(), from.first_chunk::<N>()) {
        (Some(to), Some(from)) => *to = *from,
        _ => to.copy_from_slice(from),
    }
}

/// Some rows, over a part of the depth.
struct Part<'a> {
    a: &'a [f32],
    b: &'a Packed,
    rows: Range<usize>,
    depth: Range<usize>,
    /// All columns of the product.
    columns: Range<usize>,
    stride: usize,
    out: &'a mut [f32],
}

impl Part<'_> {
    /// A row of the left side; the last one's where there are no more, whose sums are thrown away.
    fn row(&self, row: usize) -> &[f32] {
        let depth = self.b.depth();
        &self.a[row.min(self.rows.end - 1) * depth..][..depth]
    }

    /// Where the columns from `from` on of a row are in the output.
    fn at(&self, row: usize, from: usize) -> usize {
        row * self.stride + (from - self.columns.start)
    }

    /// Reads the sums of the depth before, the columns from `from` on of the rows from `first` on.
    fn load<const N: usize>(&self, sums: &mut [[f32; N]], first: usize, from: usize) {
        if self.depth.start > 0 {
            let width = N.min(self.columns.end - from);
            for (row, sum) in (first..self.rows.end).zip(sums) {
                copy::<N>(&mut sum[..width], &self.out[self.at(row, from)..][..width]);
            }
        }
    }

    fn store<const N: usize>(&mut self, sums: &[[f32; N]], first: usize, from: usize) {
        let width = N.min(self.columns.end - from);
        for (row, sum) in (first..self.rows.end).zip(sums) {
            let at = self.at(row, from);
            copy::<N>(&mut self.out[at..][..width], &sum[..width]);
        }
    }

    /// Tiles of any processor, over some of the columns.
    fn narrow(&mut self, columns: Range<usize>) {
        for from in columns.step_by(LANES) {
            let lanes = self.b.rows(from / LANES, self.depth.start, self.depth.len());
            for first in self.rows.clone().step_by(ROWS) {
                let mut sums = [[0.0; LANES]; ROWS];
                self.load(&mut sums, first, from);
                let rows = std::array::from_fn(|r| self.row(first + r));
                accumulate(&[rows], self.depth.clone(), lanes, &mut sums);
                self.store(&sums, first, from);
            }
        }
    }

    /// Tiles of two panels; the last panel of an odd number of them by itself.
    fn wide(&mut self) {
        let pairs = self.columns.len().div_ceil(LANES) / 2;
        let rest = self.columns.start + pairs * 2 * LANES;
        for from in (self.columns.start..rest).step_by(2 * LANES) {
            let lanes = |panel| self.b.rows(panel, self.depth.start, self.depth.len());
            let panels = [lanes(from / LANES), lanes(from / LANES + 1)];
            for first in self.rows.clone().step_by(wide::ROWS) {
                let mut sums = [[0.0; 2 * LANES]; wide::ROWS];
                self.load(&mut sums, first, from);
                let rows = std::array::from_fn(|r| self.row(first + r));
                wide::accumulate(rows, self.depth.clone(), panels, &mut sums);
                self.store(&sums, first, from);
            }
        }
        self.narrow(rest..self.columns.end.max(rest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole numbers: every order of summing is exact.
    #[test]
    fn products_of_any_size_are_right() {
        let value = |i: usize| ((i * 37 + 11) % 19) as f32 - 9.0;
        for (rows, depth, columns) in [
            (1, 1, 1),
            (7, 5, 37),
            (97, 400, 33),
            (13, 800, 16),
            (200, 300, 70),
        ] {
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

    /// The sums of both are the same to the bit: rows and columns of any number, not whole.
    #[test]
    fn both_kinds_of_tiles_round_alike() {
        let value = |i: usize| ((i * 7919 + 13) % 1009) as f32 / 503.0 - 1.0;
        let (rows, depth, columns) = (31, 517, 83);
        let a: Vec<f32> = (0..rows * depth).map(value).collect();
        let b = Packed::new(depth, columns, |k, n| value(3 * k + 5 * n));
        let [mut out, mut narrow] = [vec![0.0; rows * columns], vec![0.0; rows * columns]];
        product(&a, &b, 0..columns, &mut out, columns);
        let mut part = Part {
            a: &a,
            b: &b,
            rows: 0..rows,
            depth: 0..depth,
            columns: 0..columns,
            stride: columns,
            out: &mut narrow,
        };
        part.narrow(0..columns);
        assert_eq!(out, narrow);
    }
}
