//! Two of the three products of a convolution on the CPU: the output, and the gradient of the input.
//!
//! Every output number is one sum in an order that the shape alone decides, so the bits depend neither on the
//! number of threads nor on the batch. Scratch is one padded sample a thread.

use std::ops::Range;

use rayon::prelude::*;

use super::geometry::{self, Correlation, Planes, Vector};
use super::kernel::{self, COLUMNS, ROWS, Tile};
use super::source::Source;
use crate::engine::raw::ConvShape;
use crate::engine::simd::VECTOR;

/// Terms summed in registers before they go to memory: four rows of weights then stay in the first-level
/// cache.
const TERMS: usize = 384;

/// Whether a product replaces or adds to what its output holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine::host) enum WriteMode {
    Replace,
    Add,
}

/// Zero-padded copy of sample `sample` of `source` (see [`Planes`]) into `out`, which holds zeros or another
/// sample's copy: the padding is not written.
pub(super) fn fill(planes: &Planes, source: &Source, sample: usize, row: &mut Vec<f32>, out: &mut [f32]) {
    row.resize(planes.columns, 0.0);
    let (s, size) = (planes.stride, planes.rows * planes.columns);
    for channel in 0..planes.channels {
        let plane = &mut out[channel * planes.channel_len()..][..planes.channel_len()];
        let start = (sample * planes.channels + channel) * size;
        for y in 0..planes.rows {
            let from = start + y * planes.columns;
            let to = planes.top + y;
            if s == 1 {
                let place = to * planes.w + planes.left;
                source.copy(from, channel, &mut plane[place..][..planes.columns]);
                continue;
            }
            if to % s >= planes.used[0] {
                continue;
            }
            source.copy(from, channel, row);
            for phase in 0..planes.used[1] {
                // The first column whose padded position has this phase.
                let first = (phase + s - planes.left % s) % s;
                let start = ((to % s * planes.used[1] + phase) * planes.h + to / s) * planes.w
                    + (first + planes.left) / s;
                let values = row.iter().skip(first).step_by(s);
                let count = values.len();
                plane[start..][..count]
                    .iter_mut()
                    .zip(values)
                    .for_each(|(out, value)| *out = *value);
            }
        }
    }
}

/// One row of terms of a narrow picture: `out[pixel] = planes[pixel_base + offset]`.
#[inline]
pub(super) fn gather(pixels: &[u32], planes: &[f32], offset: u32, out: &mut [f32]) {
    for (out, pixel) in out.iter_mut().zip(pixels) {
        *out = planes[*pixel as usize + offset as usize];
    }
}

/// Weights as panels of four rows, term after term: `[group][rows / 4][terms][4]`.
pub(in crate::engine::host) struct Panels {
    panels: Vec<f32>,
    rows: usize,
    terms: usize,
}

impl Panels {
    fn new(
        groups: usize,
        rows: usize,
        terms: usize,
        weight: impl Fn(usize, usize, usize) -> f32 + Sync,
    ) -> Self {
        let per_group = rows.div_ceil(ROWS);
        let mut panels = vec![0.0; groups * per_group * terms * ROWS];
        (panels.par_chunks_mut((terms * ROWS).max(1)).enumerate())
            .with_min_len(8)
            .for_each(|(p, panel)| {
                let (group, first) = (p / per_group, p % per_group * ROWS);
                for m in first..(first + ROWS).min(rows) {
                    for k in 0..terms {
                        panel[k * ROWS + m - first] = weight(group, m, k);
                    }
                }
            });
        Self { panels, rows, terms }
    }

    /// The panel of rows `4 panel..` of `group`, terms `k`.
    fn panel(&self, group: usize, panel: usize, k: Range<usize>) -> &[f32] {
        let start = (group * self.rows.div_ceil(ROWS) + panel) * self.terms;
        &self.panels[(start + k.start) * ROWS..(start + k.end) * ROWS]
    }
}

/// A layout with its packed weights, ready to run over samples.
pub(in crate::engine::host) struct Product {
    planes: Planes,
    parts: Vec<(Correlation, Panels)>,
    groups: usize,
    /// Numbers of one output channel.
    plane_out: usize,
    rows: usize,
}

impl Product {
    /// The convolution itself; `weight` is `[channels_out, channels_in / groups, kernel, kernel]`.
    pub(in crate::engine::host) fn forward(g: &ConvShape, weight: &[f32]) -> Self {
        let (planes, one) = geometry::forward(g);
        let (rows, terms) = (g.channels_out / g.groups, g.taps());
        let packed = Panels::new(g.groups, rows, terms, |group, m, k| {
            weight[(group * rows + m) * terms + k]
        });
        let [oh, ow] = g.out();
        Self {
            planes,
            parts: vec![(one, packed)],
            groups: g.groups,
            plane_out: oh * ow,
            rows,
        }
    }

    /// The gradient of the input from that of the output.
    pub(in crate::engine::host) fn input_grad(g: &ConvShape, weight: &[f32]) -> Self {
        let (planes, parts) = geometry::input_grad(g);
        let (inputs, outputs) = (g.channels_in / g.groups, g.channels_out / g.groups);
        let [kh, kw] = g.kernel;
        let pack = |one: Correlation| {
            let taps = one.tap_of.len();
            let packed = Panels::new(g.groups, inputs, one.offsets.len(), |group, c, k| {
                let ([ky, kx], m) = (one.tap_of[k % taps], group * outputs + k / taps);
                weight[((m * inputs + c) * kh + ky) * kw + kx]
            });
            (one, packed)
        };
        let parts = parts.into_iter().map(pack).collect();
        Self {
            planes,
            parts,
            groups: g.groups,
            plane_out: g.h * g.w,
            rows: inputs,
        }
    }

    /// Runs over all samples of `source` into `out`, `[n, rows, plane_out]`. Each finished sample goes
    /// through `finish`.
    pub(in crate::engine::host) fn run(
        &self,
        source: &Source,
        out: &mut [f32],
        store: WriteMode,
        finish: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        let group_len = self.planes.channels / self.groups * self.planes.channel_len();
        for (one, _) in &self.parts {
            // What makes the kernels' reads valid.
            assert!(
                one.reach(self.groups, group_len) <= self.planes.len(),
                "planes too small for {one:?}"
            );
        }
        let len = self.groups * self.rows * self.plane_out;
        if len == 0 || out.is_empty() {
            return;
        }
        let samples = out.len() / len;
        if samples >= 2 * rayon::current_num_threads() {
            out.par_chunks_mut(len)
                .enumerate()
                .for_each_init(Scratch::default, |scratch, (sample, out)| {
                    let Scratch { planes, row, terms } = scratch;
                    planes.resize(self.planes.len(), 0.0);
                    fill(&self.planes, source, sample, row, planes);
                    for (one, packed) in &self.parts {
                        for (group, out) in out.chunks_mut(self.rows * self.plane_out).enumerate() {
                            let (x, offsets) = operand(one, &planes[group * group_len..], terms);
                            self.rows(one, packed, group, 0, x, offsets, out, store);
                        }
                    }
                    finish(sample, out);
                });
            return;
        }
        // Few samples: one after the other, the channels of each in parallel.
        let Scratch {
            mut planes,
            mut row,
            mut terms,
        } = Scratch::default();
        planes.resize(self.planes.len(), 0.0);
        for (sample, out) in out.chunks_mut(len).enumerate() {
            fill(&self.planes, source, sample, &mut row, &mut planes);
            for (one, packed) in &self.parts {
                for (group, out) in out.chunks_mut(self.rows * self.plane_out).enumerate() {
                    let (x, offsets) = operand(one, &planes[group * group_len..], &mut terms);
                    let panels = self
                        .rows
                        .div_ceil(ROWS)
                        .div_ceil(2 * rayon::current_num_threads());
                    out.par_chunks_mut(panels * ROWS * self.plane_out)
                        .enumerate()
                        .for_each(|(i, out)| {
                            self.rows(one, packed, group, i * panels, x, offsets, out, store);
                        });
                }
            }
            finish(sample, out);
        }
    }

    /// Output channels of `group` from panel `first` on: `out` is `[rows, plane_out]`. A few vectors of
    /// pixels stay in the first-level cache while all panels of weights stream past them.
    #[allow(clippy::too_many_arguments)]
    fn rows(
        &self,
        one: &Correlation,
        packed: &Panels,
        group: usize,
        first: usize,
        x: &[f32],
        offsets: &[u32],
        out: &mut [f32],
        store: WriteMode,
    ) {
        let mut tile: Tile = [[[0.0; VECTOR]; COLUMNS]; ROWS];
        for k in blocks(offsets.len()) {
            let replace = k.start == 0 && store == WriteMode::Replace;
            let offsets = &offsets[k.clone()];
            for vectors in one.vectors.chunks(COLUMNS) {
                let mut bases = [0; COLUMNS];
                bases
                    .iter_mut()
                    .zip(vectors)
                    .for_each(|(base, v)| *base = v.base as usize);
                for (p, out) in out.chunks_mut(ROWS * self.plane_out).enumerate() {
                    let weights = packed.panel(group, first + p, k.clone());
                    // SAFETY: `run` asserted that the planes hold what bases and offsets reach (gathered rows
                    // hold it by construction: base <= row_len - 8), and a panel holds four numbers for each
                    // offset.
                    unsafe { kernel::correlate(weights, x, offsets, bases, vectors.len(), &mut tile) };
                    for (plane, sums) in out.chunks_exact_mut(self.plane_out).zip(&tile) {
                        vectors
                            .iter()
                            .zip(sums)
                            .for_each(|(v, sums)| one.put(v, sums, plane, replace));
                    }
                }
            }
        }
    }
}

impl Correlation {
    /// Stores the sums of one vector of pixels.
    #[inline(always)]
    fn put(&self, vector: &Vector, sums: &[f32; VECTOR], plane: &mut [f32], replace: bool) {
        let put = |out: &mut f32, sum: f32| *out = if replace { sum } else { *out + sum };
        let (start, count) = (vector.out as usize, vector.count as usize);
        if let Some(places) = &self.places {
            for (place, sum) in places[start..][..count].iter().zip(sums) {
                put(&mut plane[*place as usize], *sum);
            }
        } else if self.lane_stride == 1 && count == VECTOR {
            let plane = &mut plane[start..][..VECTOR];
            if replace {
                plane.copy_from_slice(sums);
            } else {
                plane.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum);
            }
        } else {
            let plane = plane[start..].iter_mut().step_by(self.lane_stride);
            plane.zip(&sums[..count]).for_each(|(out, sum)| put(out, *sum));
        }
    }
}

#[derive(Default)]
struct Scratch {
    planes: Vec<f32>,
    row: Vec<f32>,
    terms: Vec<f32>,
}

/// Splits `terms` evenly into blocks of at most [`TERMS`]; one empty block if there are none (the output is
/// then zero).
fn blocks(terms: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    let count = terms.div_ceil(TERMS).max(1);
    let size = terms.div_ceil(count).max(1);
    (0..count).map(move |i| (i * size).min(terms)..((i + 1) * size).min(terms))
}

/// What the kernel reads and through which offsets: the planes of a group, or the gathered terms of a narrow
/// picture.
fn operand<'a>(one: &'a Correlation, planes: &'a [f32], terms: &'a mut Vec<f32>) -> (&'a [f32], &'a [u32]) {
    match &one.gather {
        None => (planes, &one.offsets),
        Some(pixels) => {
            terms.resize(one.offsets.len() * one.row_len, 0.0);
            for (row, offset) in terms.chunks_exact_mut(one.row_len).zip(&one.offsets) {
                gather(pixels, planes, *offset, row);
            }
            (terms, &one.row_starts)
        }
    }
}
