//! Inner products of every row with every row of a bank, block by block.

use crate::engine::simd::{Packed, product};
use crate::ood::observed::Rows;
use crate::rng::{Stream, domain};
use rayon::prelude::*;
use std::ops::Range;

/// Queries that one task works on: what they read of the bank comes from memory once.
const QUERIES: usize = 192;
/// Rows of the bank that are read at a time; they and the products stay in the cache.
const BLOCK: usize = 2048;

/// Rows that others are compared with.
pub(in crate::ood::score) struct Bank {
    packed: Packed,
}

impl Bank {
    pub(in crate::ood::score) fn new(rows: &[f32], width: usize) -> Self {
        Self {
            packed: Packed::from_columns(width, rows.len() / width, |row| &rows[row * width..][..width]),
        }
    }

    pub(in crate::ood::score) fn len(&self) -> usize {
        self.packed.columns()
    }

    pub(in crate::ood::score) fn width(&self) -> usize {
        self.packed.depth()
    }
}

/// Goes over the inner products of each query with the rows of N banks of equal length, and returns a number
/// of each query: `see(state, first, products)` is told of the products with the rows of each bank from
/// `first` on, in order, and `finish(query, state)` makes the number. `queries[i]` is `[n,
/// banks[i].width()]`.
///
/// Products are `f32` sums in the order of the width.
pub(in crate::ood::score) fn scan<const N: usize, S, T: Send>(
    banks: [&Bank; N],
    queries: [&[f32]; N],
    start: impl Fn() -> S + Sync,
    see: impl Fn(&mut S, usize, [&[f32]; N]) + Sync,
    finish: impl Fn(usize, S) -> T + Sync,
) -> Vec<T> {
    let rows = queries[0].len() / banks[0].width();
    let length = banks[0].len();
    let starts: Vec<usize> = (0..rows).step_by(QUERIES).collect();
    let part = |first: usize| {
        let here = QUERIES.min(rows - first);
        let mut states: Vec<S> = (0..here).map(|_| start()).collect();
        let mut products: [Vec<f32>; N] = std::array::from_fn(|_| vec![0.0; here * BLOCK]);
        for block in (0..length).step_by(BLOCK) {
            let columns: Range<usize> = block..length.min(block + BLOCK);
            for (bank, (queries, out)) in banks.iter().zip(queries.iter().zip(&mut products)) {
                let width = bank.width();
                let left = &queries[first * width..][..here * width];
                product(left, &bank.packed, columns.clone(), out, BLOCK);
            }
            for (row, state) in states.iter_mut().enumerate() {
                let row_of = |at: usize| &products[at][row * BLOCK..][..columns.len()];
                see(state, block, std::array::from_fn(row_of));
            }
        }
        let one = |(row, state)| finish(first + row, state);
        states.into_iter().enumerate().map(one).collect::<Vec<T>>()
    };
    let parts: Vec<Vec<T>> = starts.into_par_iter().map(part).collect();
    parts.into_iter().flatten().collect()
}

/// The k largest of many numbers, with their positions; of equal ones the first.
pub(in crate::ood::score) struct Largest {
    k: usize,
    floor: f32,
    kept: Vec<(f32, usize)>,
}

impl Largest {
    pub(in crate::ood::score) fn new(k: usize) -> Self {
        Self {
            k,
            floor: f32::NEG_INFINITY,
            kept: Vec::new(),
        }
    }

    /// Tells it of `values`, whose positions begin at `first`.
    pub(in crate::ood::score) fn see(&mut self, first: usize, values: &[f32]) {
        for (at, value) in values.iter().enumerate() {
            if *value > self.floor {
                self.kept.push((*value, first + at));
                if self.kept.len() >= 2 * self.k + 64 {
                    self.cut();
                }
            }
        }
    }

    fn cut(&mut self) {
        if self.kept.len() > self.k {
            let order = |a: &(f32, usize), b: &(f32, usize)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
            self.kept.select_nth_unstable_by(self.k - 1, order);
            self.kept.truncate(self.k);
            self.floor = self.kept[self.k - 1].0;
        }
    }

    /// The k largest, in falling order; all where there are fewer.
    pub(in crate::ood::score) fn into_sorted(mut self) -> Vec<(f32, usize)> {
        self.cut();
        self.kept.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        self.kept
    }
}

/// The rows, each divided by its Euclidean norm; a row of zeros stays one.
pub(super) fn unit(rows: Rows<'_>) -> Vec<f32> {
    let mut out = rows.values().to_vec();
    out.par_chunks_mut(rows.width()).for_each(|row| {
        let squares: f64 = row.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
        let norm = squares.sqrt();
        if norm > 0.0 {
            row.iter_mut().for_each(|x| *x = (f64::from(*x) / norm) as f32);
        }
    });
    out
}

/// How many a share of `rows` is: one at least, where there are any.
pub(super) fn number(rows: usize, share: f64) -> usize {
    match share < 1.0 {
        true => ((rows as f64 * share) as usize).max(1).min(rows),
        false => rows,
    }
}

/// A share of the numbers below `rows`, at least one, drawn without replacement under `seed` and in rising
/// order.
pub(super) fn some(rows: usize, share: f64, seed: usize) -> Vec<usize> {
    let mut all: Vec<usize> = (0..rows).collect();
    if share < 1.0 {
        Stream::new(seed as u64, domain::SCORE_SHARE, 0, 0).shuffle(&mut all);
        all.truncate(number(rows, share));
        all.sort_unstable();
    }
    all
}

/// Those `rows` of a matrix of `width` columns.
pub(super) fn picked(values: &[f32], width: usize, rows: &[usize]) -> Vec<f32> {
    rows.iter()
        .flat_map(|row| &values[row * width..][..width])
        .copied()
        .collect()
}
