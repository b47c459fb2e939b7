//! The right side of a matrix product, in the order in which the kernel reads it.

use super::lanes::{LANES, Lane, Lanes};
use rayon::prelude::*;

/// Rows of a panel that are packed together: what they touch stays in the first-level cache.
const ROWS_TOGETHER: usize = 256;
/// The least that a task packs.
const LANES_OF_A_TASK: usize = 4096;

/// The right side of a product, `[depth, columns]`, packed for [`accumulate`](super::accumulate): panels of
/// 16 columns, each `[depth][16]` and aligned to a cache line, zeros in the missing columns.
pub(crate) struct Packed {
    lanes: Lanes,
    depth: usize,
    columns: usize,
}

impl Packed {
    fn zeros(depth: usize, columns: usize) -> Self {
        Self {
            lanes: Lanes::zeros(columns.div_ceil(LANES) * depth),
            depth,
            columns,
        }
    }

    /// Packs the matrix whose element (k, n) is `at(k, n)`.
    pub(crate) fn new(depth: usize, columns: usize, at: impl Fn(usize, usize) -> f32 + Sync) -> Self {
        Self::by_columns(depth, columns, |n, from, lanes, place| {
            for (k, lane) in (from..).zip(lanes) {
                lane.0[place] = at(k, n);
            }
        })
    }

    /// Packs the matrix whose columns are slices of `depth` numbers.
    pub(crate) fn from_columns<'a>(
        depth: usize,
        columns: usize,
        column: impl Fn(usize) -> &'a [f32] + Sync,
    ) -> Self {
        Self::by_columns(depth, columns, |n, from, lanes, place| {
            for (lane, value) in lanes.iter_mut().zip(&column(n)[from..]) {
                lane.0[place] = *value;
            }
        })
    }

    /// `write(column, from, lanes, place)` puts the numbers of a column, from row `from` on, in place `place`
    /// of each lane.
    fn by_columns(
        depth: usize,
        columns: usize,
        write: impl Fn(usize, usize, &mut [Lane], usize) + Sync,
    ) -> Self {
        let mut packed = Self::zeros(depth, columns);
        packed
            .lanes
            .par_chunks_mut(depth.max(1))
            .with_min_len(LANES_OF_A_TASK.div_ceil(depth.max(1)))
            .enumerate()
            .for_each(|(panel, lanes)| {
                let first = panel * LANES;
                for (part, lanes) in lanes.chunks_mut(ROWS_TOGETHER).enumerate() {
                    for n in first..columns.min(first + LANES) {
                        write(n, part * ROWS_TOGETHER, lanes, n - first);
                    }
                }
            });
        packed
    }

    /// Packs the matrix whose rows are slices of `columns` numbers.
    pub(crate) fn from_rows<'a>(depth: usize, columns: usize, row: impl Fn(usize) -> &'a [f32]) -> Self {
        let mut packed = Self::zeros(depth, columns);
        for k in 0..depth {
            for (panel, values) in row(k).chunks(LANES).enumerate() {
                packed.lanes[panel * depth + k].0[..values.len()].copy_from_slice(values);
            }
        }
        packed
    }

    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    pub(crate) fn panels(&self) -> usize {
        self.columns.div_ceil(LANES)
    }

    /// Rows `start..start + depth` of a panel.
    pub(crate) fn rows(&self, panel: usize, start: usize, depth: usize) -> &[Lane] {
        let from = panel * self.depth + start;
        &self.lanes[from..from + depth] // callers ask within the depth that they packed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ways_of_packing_are_one() {
        let (depth, columns) = (5, 37);
        let rows: Vec<f32> = (0..depth * columns).map(|i| i as f32).collect();
        let turned: Vec<f32> = (0..depth * columns)
            .map(|i| rows[i % depth * columns + i / depth])
            .collect();
        let plain = Packed::new(depth, columns, |k, n| rows[k * columns + n]);
        for other in [
            Packed::from_rows(depth, columns, |k| &rows[k * columns..][..columns]),
            Packed::from_columns(depth, columns, |n| &turned[n * depth..][..depth]),
        ] {
            for panel in 0..plain.panels() {
                let [a, b] = [&plain, &other].map(|p| p.rows(panel, 0, depth).iter().map(|l| l.0));
                assert!(a.eq(b));
            }
        }
    }
}
