//! The three products of a convolution on the CPU: output, gradient of the input, gradient of the weights.
//!
//! Every output number is one sum in an order that the shape alone decides, so the bits depend neither on the number of
//! threads nor on the batch. Scratch is one padded sample a thread, or a bounded group of samples for the weights.

use std::ops::Range;

use rayon::prelude::*;

use super::geometry::{self, Correlation, Geometry, Planes};
use super::kernel::{self, COLUMNS, LANES, Pixels, ROWS, Tile};
use super::source::Source;

/// Terms summed in registers before they go to memory: four rows of weights then stay in the first-level cache.
const TERMS: usize = 384;
/// Numbers of scratch for one group of samples of the weights' gradient (1 MiB).
const GROUP_SCRATCH: usize = 1 << 18;
/// Vectors of pixels summed in registers at least, where the batch allows: the final sum over lanes is then cheap.
const DOT_VECTORS: usize = 64;

/// Whether a product replaces or adds to what its output holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    Replace,
    Add,
}

/// Zero-padded copy of sample `sample` of `source` (see [`Planes`]).
fn fill(planes: &Planes, source: &Source, sample: usize, row: &mut Vec<f32>, out: &mut [f32]) {
    out.fill(0.0);
    row.resize(planes.columns, 0.0);
    let (s, size) = (planes.phases, planes.rows * planes.columns);
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
            source.copy(from, channel, row);
            for phase in 0..s.min(planes.columns) {
                // The first column whose padded position has this phase.
                let first = (phase + s - planes.left % s) % s;
                let start = ((to % s * s + phase) * planes.h + to / s) * planes.w + (first + planes.left) / s;
                let values = row.iter().skip(first).step_by(s);
                plane[start..].iter_mut().zip(values).for_each(|(out, value)| *out = *value);
            }
        }
    }
}

/// Rows of terms for a narrow picture: `out[k][pixel] = planes[pixel_base + offsets[k]]`.
fn gather(one: &Correlation, pixels: &[u32], planes: &[f32], out: &mut Vec<f32>) {
    out.clear();
    out.resize(one.offsets.len() * one.row_len, 0.0);
    for (row, offset) in out.chunks_exact_mut(one.row_len.max(1)).zip(&one.offsets) {
        for (out, pixel) in row.iter_mut().zip(pixels) {
            *out = planes[*pixel as usize + *offset as usize];
        }
    }
}

/// Weights as panels of four rows, term after term: `[group][rows / 4][terms][4]`.
pub(crate) struct Packed {
    panels: Vec<f32>,
    rows: usize,
    terms: usize,
}

impl Packed {
    fn new(groups: usize, rows: usize, terms: usize, weight: impl Fn(usize, usize, usize) -> f32 + Sync) -> Self {
        let per_group = rows.div_ceil(ROWS);
        let mut panels = vec![0.0; groups * per_group * terms * ROWS];
        (panels.par_chunks_mut((terms * ROWS).max(1)).enumerate()).with_min_len(8).for_each(|(p, panel)| {
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
pub(crate) struct Product {
    planes: Planes,
    parts: Vec<(Correlation, Packed)>,
    groups: usize,
    /// Numbers of one output channel.
    plane_out: usize,
    rows: usize,
}

impl Product {
    /// The convolution itself; `weight` is `[channels_out, channels_in / groups, kernel, kernel]`.
    pub(crate) fn forward(g: &Geometry, weight: &[f32]) -> Self {
        let (planes, one) = geometry::forward(g);
        let (rows, terms) = (g.channels_out / g.groups, g.taps());
        let packed = Packed::new(g.groups, rows, terms, |group, m, k| weight[(group * rows + m) * terms + k]);
        let [oh, ow] = g.out();
        Self { planes, parts: vec![(one, packed)], groups: g.groups, plane_out: oh * ow, rows }
    }

    /// The gradient of the input from that of the output.
    pub(crate) fn input_grad(g: &Geometry, weight: &[f32]) -> Self {
        let (planes, parts) = geometry::input_grad(g);
        let (inputs, outputs) = (g.channels_in / g.groups, g.channels_out / g.groups);
        let [kh, kw] = g.kernel;
        let pack = |one: Correlation| {
            let taps = one.tap_of.len();
            let packed = Packed::new(g.groups, inputs, one.offsets.len(), |group, c, k| {
                let ([ky, kx], m) = (one.tap_of[k % taps], group * outputs + k / taps);
                weight[((m * inputs + c) * kh + ky) * kw + kx]
            });
            (one, packed)
        };
        let parts = parts.into_iter().map(pack).collect();
        Self { planes, parts, groups: g.groups, plane_out: g.h * g.w, rows: inputs }
    }

    /// Runs over all samples of `source` into `out`, `[n, rows, plane_out]`. Each finished sample goes through `finish`.
    pub(crate) fn run(
        &self,
        source: &Source,
        out: &mut [f32],
        store: Store,
        finish: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        let group_len = self.planes.channels / self.groups * self.planes.channel_len();
        for (one, _) in &self.parts {
            // What makes the kernels' reads valid.
            assert!(one.reach(self.groups, group_len) <= self.planes.len(), "planes too small for {one:?}");
        }
        let len = self.groups * self.rows * self.plane_out;
        if len == 0 || out.is_empty() {
            return;
        }
        let samples = out.len() / len;
        if samples >= 2 * rayon::current_num_threads() {
            out.par_chunks_mut(len).enumerate().for_each_init(Scratch::default, |scratch, (sample, out)| {
                let Scratch { planes, row, terms } = scratch;
                planes.resize(self.planes.len(), 0.0);
                fill(&self.planes, source, sample, row, planes);
                for (one, packed) in &self.parts {
                    for (group, out) in out.chunks_mut(self.rows * self.plane_out).enumerate() {
                        let (x, offsets) = operand(one, &planes[group * group_len..], terms);
                        for k in blocks(offsets.len()) {
                            for (p, out) in out.chunks_mut(ROWS * self.plane_out).enumerate() {
                                self.panel(one, packed.panel(group, p, k.clone()), x, offsets, k.clone(), out, store);
                            }
                        }
                    }
                }
                finish(sample, out);
            });
            return;
        }
        // Few samples: one after the other, the channels of each in parallel.
        let Scratch { mut planes, mut row, mut terms } = Scratch::default();
        planes.resize(self.planes.len(), 0.0);
        for (sample, out) in out.chunks_mut(len).enumerate() {
            fill(&self.planes, source, sample, &mut row, &mut planes);
            for (one, packed) in &self.parts {
                for (group, out) in out.chunks_mut(self.rows * self.plane_out).enumerate() {
                    let (x, offsets) = operand(one, &planes[group * group_len..], &mut terms);
                    out.par_chunks_mut(ROWS * self.plane_out).enumerate().for_each(|(p, out)| {
                        for k in blocks(offsets.len()) {
                            self.panel(one, packed.panel(group, p, k.clone()), x, offsets, k, out, store);
                        }
                    });
                }
            }
            finish(sample, out);
        }
    }

    /// Terms `k` of up to four output channels: `out` is `[<= 4, plane_out]`.
    #[allow(clippy::too_many_arguments)]
    fn panel(
        &self,
        one: &Correlation,
        weights: &[f32],
        x: &[f32],
        offsets: &[u32],
        k: Range<usize>,
        out: &mut [f32],
        store: Store,
    ) {
        let replace = k.start == 0 && store == Store::Replace;
        let offsets = &offsets[k];
        let mut tile: Tile = [[[0.0; LANES]; COLUMNS]; ROWS];
        for vectors in one.vectors.chunks(COLUMNS) {
            let mut bases = [0; COLUMNS];
            bases.iter_mut().zip(vectors).for_each(|(base, v)| *base = v.base as usize);
            // SAFETY: `run` asserted that the planes hold what bases and offsets reach (gathered rows hold it by
            // construction: base <= row_len - 8), and a panel holds four numbers for each offset.
            unsafe { kernel::correlate(weights, x, offsets, bases, vectors.len(), &mut tile) };
            for (plane, row) in out.chunks_exact_mut(self.plane_out).zip(&tile) {
                for (vector, sums) in vectors.iter().zip(row) {
                    let (start, count) = (vector.out as usize, vector.count as usize);
                    if let Some(places) = &one.places {
                        for (place, sum) in places[start..][..count].iter().zip(sums) {
                            put(&mut plane[*place as usize], *sum, replace);
                        }
                    } else if one.lane_stride == 1 && count == LANES {
                        let plane = &mut plane[start..][..LANES];
                        plane.iter_mut().zip(sums).for_each(|(out, sum)| put(out, *sum, replace));
                    } else {
                        let plane = plane[start..].iter_mut().step_by(one.lane_stride);
                        plane.zip(&sums[..count]).for_each(|(out, sum)| put(out, *sum, replace));
                    }
                }
            }
        }
    }
}

#[derive(Default)]
struct Scratch {
    planes: Vec<f32>,
    row: Vec<f32>,
    terms: Vec<f32>,
}

#[inline(always)]
fn put(out: &mut f32, sum: f32, replace: bool) {
    *out = if replace { sum } else { *out + sum };
}

/// Splits `terms` evenly into blocks of at most [`TERMS`]; one empty block if there are none (the output is then zero).
fn blocks(terms: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    let count = terms.div_ceil(TERMS).max(1);
    let size = terms.div_ceil(count).max(1);
    (0..count).map(move |i| (i * size).min(terms)..((i + 1) * size).min(terms))
}

/// What the kernel reads and through which offsets: the planes of a group, or the gathered terms of a narrow picture.
fn operand<'a>(one: &'a Correlation, planes: &'a [f32], terms: &'a mut Vec<f32>) -> (&'a [f32], Vec<u32>) {
    match &one.gather {
        None => (planes, one.offsets.clone()),
        Some(pixels) => {
            gather(one, pixels, planes, terms);
            (terms, (0..one.offsets.len()).map(|k| (k * one.row_len) as u32).collect())
        }
    }
}

/// Gradient of the weights, `[channels_out, channels_in / groups, kernel, kernel]`, added to `out`.
pub(crate) fn weight_grad(g: &Geometry, x: &Source, dy: &Source, samples: usize, out: &mut [f32]) {
    let (planes, one) = geometry::forward(g);
    let [oh, ow] = g.out();
    let (rows, terms) = (g.channels_out / g.groups, g.taps());
    let group_len = g.channels_in / g.groups * planes.channel_len();
    assert!(one.reach(g.groups, group_len) <= planes.len(), "planes too small for {one:?}");
    let steps = one.vectors.len();
    if steps == 0 || terms == 0 || samples == 0 {
        return;
    }
    // One sample of each operand: rows of whole vectors of the gradient, zero beyond the picture; planes, or gathered terms.
    let (row_len, padded_rows) = (steps * LANES, rows.next_multiple_of(ROWS));
    let dy_len = g.groups * padded_rows * row_len;
    let gathered = one.gather.is_some();
    let x_len = if gathered { g.groups * terms * one.row_len } else { planes.len() };
    let x_group = if gathered { terms * one.row_len } else { group_len };
    let offsets: Vec<usize> = match gathered {
        true => (0..terms).map(|k| k * one.row_len).collect(),
        false => one.offsets.iter().map(|o| *o as usize).collect(),
    };
    let together = DOT_VECTORS.div_ceil(steps);
    let group = (GROUP_SCRATCH / ((x_len + dy_len) * together)).clamp(1, 64) * together;
    let group = group.min(samples);
    let (mut xs, mut dys) = (vec![0.0; group * x_len], vec![0.0; group * dy_len]);
    for first in (0..samples).step_by(group) {
        let count = group.min(samples - first);
        (xs.par_chunks_mut(x_len).zip(dys.par_chunks_mut(dy_len)).take(count).enumerate()).for_each_init(
            Scratch::default,
            |scratch, (i, (xs, dys))| {
                let Scratch { planes: padded, row, terms: gathered } = scratch;
                match &one.gather {
                    None => fill(&planes, x, first + i, row, xs),
                    Some(pixels) => {
                        padded.resize(planes.len(), 0.0);
                        fill(&planes, x, first + i, row, padded);
                        for (group, xs) in xs.chunks_mut(x_group).enumerate() {
                            gather(&one, pixels, &padded[group * group_len..], gathered);
                            xs.copy_from_slice(gathered);
                        }
                    }
                }
                // In rows of `line` pixels: those of the picture, or the whole of a narrow one.
                let (lines, line) = if one.gather.is_some() { (1, oh * ow) } else { (oh, ow) };
                let pitch = line.next_multiple_of(LANES);
                for channel in 0..g.channels_out {
                    let row = channel / rows * padded_rows + channel % rows;
                    for y in 0..lines {
                        let out = &mut dys[row * row_len + y * pitch..][..pitch];
                        let start = ((first + i) * g.channels_out + channel) * oh * ow + y * line;
                        dy.copy(start, channel, &mut out[..line]);
                        out[line..].fill(0.0);
                    }
                }
            },
        );
        let (xs, dys, one, offsets) = (&xs[..], &dys[..], &one, &offsets[..]);
        let panels = (out.par_chunks_mut(rows * terms).enumerate())
            .flat_map(|(g, out)| out.par_chunks_mut(ROWS * terms).enumerate().map(move |(p, out)| (g, p, out)));
        panels.for_each(|(group, panel, out)| {
            for start in (0..count).step_by(together) {
                let at = Pixels {
                    bases: &one.bases,
                    row_len,
                    samples: together.min(count - start),
                    dy_len,
                    x_len,
                };
                let dys = &dys[start * dy_len + (group * padded_rows + panel * ROWS) * row_len..];
                let xs = &xs[start * x_len + group * x_group..];
                for (block, offsets) in offsets.chunks(COLUMNS).enumerate() {
                    let tap = |j: usize| offsets[j.min(offsets.len() - 1)];
                    // SAFETY: `dys` holds `padded_rows` rows of whole vectors a sample; the planes hold what bases and
                    // offsets reach (asserted above; gathered rows hold it by construction).
                    let sums = unsafe { kernel::dot(dys, xs, [tap(0), tap(1), tap(2)], at) };
                    for (row, sums) in out.chunks_exact_mut(terms).zip(&sums) {
                        let row = &mut row[block * COLUMNS..];
                        row.iter_mut().zip(&sums[..offsets.len()]).for_each(|(out, sum)| *out += sum);
                    }
                }
            }
        });
    }
}
