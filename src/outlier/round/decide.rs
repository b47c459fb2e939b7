//! Which noise vectors may still belong to the best: the bounds by counting, from few columns to all.

use super::super::best::Best;
use super::super::count::{LANES, ROWS};
use super::super::params::Side;
use super::{Anchors, Class, Scratch};

/// Steps in which the columns beyond these are gone through.
const STEPS: usize = 4;
/// With fewer columns left than this, the product is taken whole.
const WHOLE: usize = 32;

impl Class<'_> {
    /// How many columns, from the first on, put most of the complete noise vectors `typical` out for every
    /// anchor.
    pub(super) fn panel(
        &self,
        scratch: &mut Scratch,
        anchors: &Anchors<'_>,
        typical: &[u32],
        best: &Best,
    ) -> usize {
        let n = self.features.n;
        if typical.is_empty() {
            return n;
        }
        let least = if self.columns.boundary_first {
            self.boundary.len()
        } else {
            1
        };
        let step = 2 * LANES;
        let mut decided = |columns: usize| {
            let mut out = 0;
            for four in typical.chunks(ROWS) {
                out += self
                    .undecided(scratch, anchors, four, columns, best)
                    .iter()
                    .filter(|u| !**u)
                    .count();
            }
            // A vector's padding in the last four counts as decided.
            out * 4 >= typical.len().next_multiple_of(ROWS) * 3
        };
        let (mut low, mut high) = (least.div_ceil(step), n.saturating_sub(WHOLE) / step);
        if low > high || !decided(high * step) {
            return n;
        }
        while low < high {
            let middle = (low + high) / 2;
            match decided(middle * step) {
                true => high = middle,
                false => low = middle + 1,
            }
        }
        high * step
    }

    /// Searches those of the noise vectors `rows` that their first `columns` products, and then the next,
    /// leave undecided.
    pub(super) fn rest(
        &self,
        scratch: &mut Scratch,
        anchors: &Anchors<'_>,
        mut rows: Vec<u32>,
        mut columns: usize,
        best: &mut Best,
    ) {
        let n = self.features.n;
        let step = ((n - columns) / STEPS).next_multiple_of(2 * LANES).max(WHOLE);
        while columns < n {
            let mut left = Vec::with_capacity(rows.len());
            for four in rows.chunks(ROWS) {
                let undecided = self.undecided(scratch, anchors, four, columns, best);
                left.extend(
                    four.iter()
                        .zip(undecided)
                        .filter(|(_, u)| *u)
                        .map(|(row, _)| *row),
                );
            }
            let next = if columns + step + WHOLE > n {
                n
            } else {
                columns + step
            };
            self.complete(scratch, &left, columns..next);
            (rows, columns) = (left, next);
        }
        self.search(scratch, anchors, &rows, best);
    }

    /// Which of up to four noise vectors may belong to the best of some group, judged by their first
    /// `columns` products.
    fn undecided(
        &self,
        scratch: &mut Scratch,
        anchors: &Anchors<'_>,
        four: &[u32],
        columns: usize,
        best: &Best,
    ) -> [bool; ROWS] {
        let stride = self.columns.stride;
        let live = four.len();
        let count = anchors.ranks.len();
        for (row, noise) in four.iter().enumerate() {
            self.thresholds(scratch, anchors, row, *noise as usize, best);
        }
        // Columns that are not looked at may all be far (outliers), or all be near (inliers).
        let (n, k) = (self.features.n, self.params.k);
        let unseen = (n - columns) as u32;
        let width = if columns == n { stride } else { columns };
        let at = |row: usize| four.get(row).or(four.first()).map_or(0, |noise| *noise as usize);
        let rows = std::array::from_fn(|row| &scratch.moved[at(row) * stride..][..width]);
        let mut undecided = [false; ROWS];
        for (number, rank) in anchors.ranks.iter().enumerate() {
            let gram = &self.columns.gram[rank * stride..][..width];
            let thresholds = std::array::from_fn(|row| scratch.thresholds[row * count + number]);
            let counts = (self.count)(gram, rows, thresholds);
            for row in 0..live {
                undecided[row] |= match self.params.kind {
                    Side::Outlier => counts[row] < k as u32,
                    Side::Inlier => counts[row] + unseen >= k as u32,
                };
            }
        }
        undecided
    }

    /// Offers every candidate of the (complete) noise vectors `rows` to its group, unless counting puts it
    /// out.
    pub(super) fn search(&self, scratch: &mut Scratch, anchors: &Anchors<'_>, rows: &[u32], best: &mut Best) {
        let stride = self.columns.stride;
        let count = anchors.ranks.len();
        let k = self.params.k as u32;
        for four in rows.chunks(ROWS) {
            for (row, noise) in four.iter().enumerate() {
                self.thresholds(scratch, anchors, row, *noise as usize, best);
            }
            for (number, rank) in anchors.ranks.iter().enumerate() {
                let at = |row: usize| four.get(row).or(four.first()).map_or(0, |noise| *noise as usize);
                let rows = std::array::from_fn(|row| &scratch.moved[at(row) * stride..][..stride]);
                let gram = &self.columns.gram[rank * stride..][..stride];
                let thresholds = std::array::from_fn(|row| scratch.thresholds[row * count + number]);
                let counts = (self.count)(gram, rows, thresholds);
                for (row, noise) in four.iter().enumerate() {
                    let out = match self.params.kind {
                        Side::Outlier => counts[row] >= k,
                        Side::Inlier => counts[row] < k,
                    };
                    if !out {
                        let cosine = self.cosine(scratch, anchors, number, *noise as usize);
                        best.offer(number, *noise as usize, cosine);
                    }
                }
            }
        }
    }

    /// Fills row `row` of the thresholds, one an anchor: a dot product that tells a candidate of the noise
    /// vector `noise` from the worst kept one of its group. With the k-th largest product above it, an
    /// outlier candidate is strictly nearer than that one; with it at or below, an inlier candidate is
    /// strictly further.
    fn thresholds(
        &self,
        scratch: &mut Scratch,
        anchors: &Anchors<'_>,
        row: usize,
        noise: usize,
        best: &Best,
    ) {
        let count = anchors.ranks.len();
        let square = scratch.squares[noise];
        let dots = match self.columns.boundary_first {
            true => &scratch.moved[noise * self.columns.stride..][..count],
            false => &scratch.dots[noise * count..][..count],
        };
        let thresholds = &mut scratch.thresholds[row * count..][..count];
        let sign = if self.params.kind == Side::Outlier {
            1.0
        } else {
            -1.0
        };
        best.with_bounds(noise, |bounds| {
            for (((threshold, dot), own), bound) in
                thresholds.iter_mut().zip(dots).zip(&anchors.squares).zip(bounds)
            {
                let product = (bound * norm(*own, *dot, square)) as f32;
                // Outwards by more than all the rounding: what is wrongly in is looked at exactly.
                *threshold = product + sign * (product.abs() * f32::EPSILON + f32::MIN_POSITIVE);
            }
        });
    }

    /// |b_i + sigma e_j| for anchor number `number`.
    pub(super) fn norm(&self, scratch: &Scratch, anchors: &Anchors<'_>, number: usize, noise: usize) -> f64 {
        let dot = match self.columns.boundary_first {
            true => scratch.moved[noise * self.columns.stride + number],
            false => scratch.dots[noise * anchors.ranks.len() + number],
        };
        norm(anchors.squares[number], dot, scratch.squares[noise])
    }
}

/// |b + sigma e| from |b|^2, sigma e . b and sigma^2 |e|^2. Zero only where the noise cancels the feature;
/// the sum of squares may then round below zero.
#[inline(always)]
fn norm(own: f64, dot: f32, square: f64) -> f64 {
    (own + 2.0 * f64::from(dot) + square).max(1e-12).sqrt()
}
