//! The matrix product of scores.

use crate::engine::simd::{LANES_F64 as LANES, LaneF64 as Lane, TileF64, accumulate_f64, vectorized};
use rayon::prelude::*;

/// Rows that one task works on.
const ROWS: usize = 64;

vectorized! {
    /// The squared distances of `row` to the columns of a panel, each summed over the depth in order.
    fn distances(row: &[f64], panel: &[Lane]) -> Lane {
        let mut sums = [0.0; LANES];
        for (x, lane) in row.iter().zip(panel) {
            for (sum, y) in sums.iter_mut().zip(lane) {
                *sum += (x - y) * (x - y);
            }
        }
        sums
    }
}

/// A matrix `[depth, columns]` that stands at the right of products: panels of eight columns, each
/// `[depth][8]`.
pub(in crate::ood::score) struct Matrix {
    panels: Vec<Lane>,
    depth: usize,
    columns: usize,
}

impl Matrix {
    /// Returns the matrix whose element (k, n) is `at(k, n)`.
    pub(in crate::ood::score) fn new(depth: usize, columns: usize, at: impl Fn(usize, usize) -> f64) -> Self {
        let mut panels = vec![[0.0; LANES]; columns.div_ceil(LANES) * depth];
        for (panel, lanes) in panels.chunks_exact_mut(depth).enumerate() {
            for (k, lane) in lanes.iter_mut().enumerate() {
                for (place, value) in lane.iter_mut().enumerate() {
                    let n = panel * LANES + place;
                    if n < columns {
                        *value = at(k, n);
                    }
                }
            }
        }
        Self {
            panels,
            depth,
            columns,
        }
    }

    pub(in crate::ood::score) fn depth(&self) -> usize {
        self.depth
    }

    pub(in crate::ood::score) fn columns(&self) -> usize {
        self.columns
    }

    /// The numbers of column `n`.
    pub(in crate::ood::score) fn column(&self, n: usize) -> impl Iterator<Item = f64> {
        let panel = &self.panels[n / LANES * self.depth..][..self.depth];
        panel.iter().map(move |lane| lane[n % LANES])
    }

    /// The panels in order.
    pub(super) fn panels(&self) -> impl Iterator<Item = &[Lane]> {
        self.panels.chunks_exact(self.depth)
    }

    /// The squared distance of `row`, `[depth]`, to each column.
    pub(in crate::ood::score) fn distances(&self, row: &[f64]) -> impl Iterator<Item = f64> {
        let all = self.panels().flat_map(move |panel| distances(row, panel));
        all.take(self.columns)
    }

    /// Writes `left` times this matrix: `left` is `[rows, depth]`, `out` is `[rows, columns]`. A number's sum
    /// runs over the depth in order and depends on its own row and column alone.
    fn times(&self, left: &[f64], out: &mut [f64]) {
        let rows = left.len() / self.depth;
        let turned = Self::new(self.depth, rows, |k, row| left[row * self.depth + k]);
        for (side, rows_of_side) in turned.panels().enumerate() {
            for (panel, right) in self.panels().enumerate() {
                let mut sums: TileF64 = [[0.0; LANES]; LANES];
                accumulate_f64(rows_of_side, right, &mut sums);
                let width = LANES.min(self.columns - panel * LANES);
                for (row, sum) in (side * LANES..rows).zip(&sums) {
                    out[row * self.columns + panel * LANES..][..width].copy_from_slice(&sum[..width]);
                }
            }
        }
    }

    /// Returns this matrix, turned, times another of the same depth: of each column of this one its products
    /// with the columns of the other, summed over the depth in order.
    pub(in crate::ood::score) fn turned_times(&self, other: &Self) -> Vec<Vec<f64>> {
        let panels: Vec<&[Lane]> = self.panels().collect();
        let columns = |(panel, left): (usize, &&[Lane])| {
            let mut out = vec![Vec::with_capacity(other.columns); LANES.min(self.columns - panel * LANES)];
            for (place, right) in other.panels().enumerate() {
                let mut sums: TileF64 = [[0.0; LANES]; LANES];
                accumulate_f64(left, right, &mut sums);
                let width = LANES.min(other.columns - place * LANES);
                for (out, sums) in out.iter_mut().zip(&sums) {
                    out.extend_from_slice(&sums[..width]);
                }
            }
            out
        };
        let parts: Vec<_> = panels.par_iter().enumerate().map(columns).collect();
        parts.into_iter().flatten().collect()
    }

    /// Returns a number of each of `rows` rows: `read(row, left)` writes the row that is multiplied, and
    /// `finish(row, left, product)` makes the number of it and its product.
    pub(in crate::ood::score) fn map<T: Send>(
        &self,
        rows: usize,
        read: impl Fn(usize, &mut [f64]) + Sync,
        finish: impl Fn(usize, &[f64], &[f64]) -> T + Sync,
    ) -> Vec<T> {
        let starts: Vec<usize> = (0..rows).step_by(ROWS).collect();
        let part = |first: usize| {
            let here = ROWS.min(rows - first);
            let mut left = vec![0.0; here * self.depth];
            let mut out = vec![0.0; here * self.columns];
            for (row, left) in left.chunks_exact_mut(self.depth).enumerate() {
                read(first + row, left);
            }
            self.times(&left, &mut out);
            let pairs = left.chunks_exact(self.depth).zip(out.chunks_exact(self.columns));
            let one = |(row, (left, out))| finish(first + row, left, out);
            pairs.enumerate().map(one).collect::<Vec<T>>()
        };
        let parts: Vec<Vec<T>> = starts.into_par_iter().map(part).collect();
        parts.into_iter().flatten().collect()
    }
}

/// The inner product of two rows.
pub(in crate::ood::score) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The Euclidean norm.
pub(in crate::ood::score) fn norm(row: &[f64]) -> f64 {
    dot(row, row).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole numbers: every order of summing is exact.
    #[test]
    fn products_of_any_size_are_right() {
        let value = |i: usize| ((i * 37 + 11) % 19) as f64 - 9.0;
        for (rows, depth, columns) in [(1, 1, 1), (7, 5, 37), (130, 40, 33), (9, 8, 16)] {
            let matrix = Matrix::new(depth, columns, |k, n| value(3 * k + 5 * n));
            let left = |row: usize, k: usize| value(row * depth + k);
            let products = matrix.map(
                rows,
                |row, out| {
                    out.iter_mut()
                        .enumerate()
                        .for_each(|(k, out)| *out = left(row, k))
                },
                |_, _, product| product.to_vec(),
            );
            for (row, product) in products.iter().enumerate() {
                for (n, found) in product.iter().enumerate() {
                    let terms = (0..depth).map(|k| left(row, k) * value(3 * k + 5 * n));
                    assert_eq!(*found, terms.sum::<f64>());
                }
                let squares = (0..columns).map(|n| {
                    let terms = (0..depth).map(|k| left(row, k) - value(3 * k + 5 * n));
                    terms.map(|x| x * x).sum::<f64>()
                });
                let own: Vec<f64> = (0..depth).map(|k| left(row, k)).collect();
                assert!(matrix.distances(&own).eq(squares));
            }
            let other = Matrix::new(depth, rows, |k, row| left(row, k));
            let turned = other.turned_times(&matrix);
            assert_eq!(turned, products);
            assert!(
                matrix
                    .column(columns - 1)
                    .eq((0..depth).map(|k| value(3 * k + 5 * (columns - 1))))
            );
        }
    }
}
