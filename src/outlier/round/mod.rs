//! One round: candidates of all anchors under shared noise, of which the best of each group are found
//! exactly.
//!
//! Most noise vectors are far from being the best for any anchor, and it takes little to know it: an outlier
//! candidate is out as soon as k features are nearer than the worst kept one, whichever k they are. So a
//! round goes
//! 1. The noise is drawn and its product with the mean feature orders it by promise (`draw`).
//! 2. The most promising vectors are searched with all features: the cut-offs are then nearly final.
//! 3. The features stand in an order in which those come first that decide soonest (`columns.rs`). A few
//!    vectors of middling promise tell how many of them decide every other time (`panel`), and the product of
//!    all the noise is taken with these.
//! 4. What that leaves undecided gets the next of the features, and so on; what is undecided to the last is
//!    searched (`rest`, with the bounds in `decide.rs`). The kept ones become vectors (`keep.rs`).
//!
//! Every step is a bound that errs on the side of looking closer, so that the result is that of looking at
//! everything.

mod decide;
mod keep;

pub(super) use self::keep::moved;

use std::ops::Range;

use super::best::Best;
use super::columns::Columns;
use super::count::{CountFn, ROWS, fastest};
use super::error::OutlierError;
use super::geometry::{Features, square_and_dot, squared_norm};
use super::params::{Sampled, SamplingParams, Side};
use crate::engine::simd::{Packed, product};
use crate::rng::{Stream, domain};

/// Noise vectors that are searched first.
const FIRST: usize = 24;
/// Noise vectors that tell how many columns decide, and their place in the order of promise, in hundredths of
/// the others.
const TYPICAL: usize = 8;
const TYPICAL_FROM: usize = 45;
/// Noise vectors drawn at once: a multiple of four, so that their numbers are whole blocks of the stream
/// whatever m is.
const DRAWN: usize = 4;
/// Noise vectors whose product is completed at once.
const BATCH: usize = 64;

/// All that the rounds of a class share.
pub(super) struct Class<'a> {
    pub features: &'a Features,
    /// Indices of the boundary features, by rank.
    pub boundary: Vec<u32>,
    pub params: SamplingParams,
    columns: Columns,
    /// |b_i|^2 as rounded, `[select]`.
    squares: Vec<f64>,
    count: CountFn,
}

/// Buffers that a thread uses again in its next round.
pub(super) struct Scratch {
    /// e_j, `[noise_per_round, m]`.
    noise: Vec<f32>,
    /// sigma * e_j . z_l, `[noise_per_round, stride]`; zero beyond the columns.
    moved: Vec<f32>,
    /// sigma * e_j . b_i for the anchors of the round, `[noise_per_round, anchors]`; empty where `moved`
    /// begins with them.
    dots: Vec<f32>,
    /// sigma^2 |e_j|^2, `[noise_per_round]`.
    squares: Vec<f64>,
    /// Noise vectors and their promise: the lower, the more. Those looked at first stand first.
    order: Vec<(f32, u32)>,
    /// Noise vectors to be completed, `[BATCH, m]`, and their products, `[BATCH, stride]`.
    gathered: Vec<f32>,
    part: Vec<f32>,
    /// One candidate's dot products before division by its norm, `[n]`, and a copy to be reordered.
    raw: Vec<f32>,
    sorted: Vec<f32>,
    /// What a dot product must exceed to count, `[ROWS, anchors]`.
    thresholds: Vec<f32>,
}

/// The boundary features that a round uses.
struct Anchors<'a> {
    /// Their ranks.
    ranks: &'a [usize],
    /// Their |b_i|^2.
    squares: Vec<f64>,
}

impl<'a> Class<'a> {
    pub fn new(features: &'a Features, boundary: Vec<u32>, params: SamplingParams) -> Self {
        let columns = Columns::new(features, &boundary, &params);
        let squares = boundary
            .iter()
            .map(|row| squared_norm(features.row(*row as usize)));
        Self {
            squares: squares.collect(),
            features,
            boundary,
            params,
            columns,
            count: fastest(),
        }
    }

    pub fn scratch(&self) -> Scratch {
        let (rows, m, n) = (self.params.noise_per_round, self.features.m, self.features.n);
        let (stride, anchors) = (self.columns.stride, self.params.anchors_per_round);
        let dots = if self.columns.boundary_first {
            0
        } else {
            rows * anchors
        };
        Scratch {
            noise: vec![0.0; rows * m],
            moved: vec![0.0; rows * stride],
            dots: vec![0.0; dots],
            squares: vec![0.0; rows],
            order: Vec::with_capacity(rows),
            gathered: Vec::with_capacity(BATCH * m),
            part: vec![0.0; BATCH * stride],
            raw: vec![0.0; n],
            sorted: vec![0.0; n],
            thresholds: vec![0.0; ROWS * anchors],
        }
    }

    /// Finds the best candidates under the noise of a round, and returns them by anchor, then best first.
    /// `noise` fills one part of `[noise_per_round, m]` after the other, of as many numbers as it is given
    /// room for.
    pub fn round(
        &self,
        scratch: &mut Scratch,
        noise: &mut dyn FnMut(&mut [f32]),
        anchors: &[usize],
        round: u32,
    ) -> Vec<Sampled> {
        let anchors = &Anchors {
            ranks: anchors,
            squares: anchors.iter().map(|rank| self.squares[*rank]).collect(),
        };
        let mut best = Best::new(&self.params, anchors.ranks.len());
        self.draw(scratch, noise);
        self.anchor_products(scratch, anchors);
        let order: Vec<u32> = scratch.order.iter().map(|(_, row)| *row).collect();
        let (first, others) = order.split_at(FIRST.min(order.len()));
        let n = self.features.n;
        self.complete(scratch, first, 0..n);
        self.search(scratch, anchors, first, &mut best);

        // The typical ones are searched too, and then done with.
        let Range { start: from, end: to } = typical(others.len());
        let typical = &others[from..to];
        self.complete(scratch, typical, 0..n);
        let columns = self.panel(scratch, anchors, typical, &best);
        self.search(scratch, anchors, typical, &mut best);

        let stride = self.columns.stride;
        product(
            &scratch.noise,
            &self.columns.steps,
            0..columns,
            &mut scratch.moved,
            stride,
        );
        let left = [&others[..from], &others[to..]].concat();
        self.rest(scratch, anchors, left, columns, &mut best);
        self.collect(scratch, anchors, &best, round)
    }

    /// Draws the noise, fills in its squares, and puts it in order of promise as far as that is asked for: by
    /// the product of the candidate with the mean feature were it made from the mean anchor. That only
    /// decides what is looked at first.
    fn draw(&self, scratch: &mut Scratch, noise: &mut dyn FnMut(&mut [f32])) {
        let sigma = self.params.sigma;
        let m = self.features.m;
        scratch.order.clear();
        // Measured while it is in the cache. The stream is the same however many whole blocks of four are
        // drawn at once.
        for (part, vectors) in scratch.noise.chunks_mut(DRAWN * m).enumerate() {
            noise(vectors);
            for (row, e) in (part * DRAWN..).zip(vectors.chunks_exact(m)) {
                let (square, along) = square_and_dot(e, &self.columns.mean);
                let square = sigma * sigma * square;
                scratch.squares[row] = f64::from(square);
                let along = sigma * along;
                let norm = (1.0 + 2.0 * along + square).max(1e-12).sqrt();
                let score = (self.columns.likeness + along) / norm;
                let promise = if self.params.kind == Side::Outlier {
                    score
                } else {
                    -score
                };
                scratch.order.push((promise, row as u32));
            }
        }
        let before = |a: &(f32, u32), b: &(f32, u32)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        let mut rest = &mut scratch.order[..];
        for place in [FIRST, typical(rest.len().saturating_sub(FIRST)).start, TYPICAL] {
            if place < rest.len() {
                rest.select_nth_unstable_by(place, before);
                rest = &mut rest[place..];
            }
        }
    }

    /// Takes the products of the noise with the anchors, where those with all the features do not begin with
    /// them.
    fn anchor_products(&self, scratch: &mut Scratch, anchors: &Anchors<'_>) {
        if self.columns.boundary_first {
            return;
        }
        let count = anchors.ranks.len();
        let step = |at: usize, number: usize| {
            let row = self.boundary[anchors.ranks[number]]; // ranks are below the number of boundary features
            self.params.sigma * self.features.row(row as usize)[at]
        };
        let steps = Packed::new(self.features.m, count, step);
        product(&scratch.noise, &steps, 0..count, &mut scratch.dots, count);
    }

    /// Takes the product of the noise vectors `rows` with some columns.
    fn complete(&self, scratch: &mut Scratch, rows: &[u32], columns: Range<usize>) {
        let (m, stride, width) = (self.features.m, self.columns.stride, columns.len());
        for rows in rows.chunks(BATCH) {
            scratch.gathered.clear();
            for row in rows {
                let e = &scratch.noise[*row as usize * m..][..m];
                scratch.gathered.extend_from_slice(e);
            }
            product(
                &scratch.gathered,
                &self.columns.steps,
                columns.clone(),
                &mut scratch.part,
                width,
            );
            for (row, part) in rows.iter().zip(scratch.part.chunks_exact(width)) {
                scratch.moved[*row as usize * stride + columns.start..][..width].copy_from_slice(part);
            }
        }
    }
}

/// The ranks of the boundary features that a round uses, in rank order: all, or a draw without replacement.
pub(super) fn anchors(params: &SamplingParams, seed: u64, class: u32, round: u64) -> Vec<usize> {
    let mut ranks: Vec<usize> = (0..params.select).collect();
    if params.anchors_per_round < ranks.len() {
        Stream::new(seed, domain::SAMPLE_ANCHORS, class, round).shuffle(&mut ranks);
        ranks.truncate(params.anchors_per_round);
        ranks.sort_unstable();
    }
    ranks
}

/// Where the typical ones are among `others` noise vectors in order of promise.
fn typical(others: usize) -> Range<usize> {
    let from = others * TYPICAL_FROM / 100;
    from..(from + TYPICAL).min(others)
}

/// Checks `params` against the features of a class.
pub(super) fn check(features: &Features, params: &SamplingParams, class: u32) -> Result<(), OutlierError> {
    params.check()?;
    features.check_k(params.k, class)
}
