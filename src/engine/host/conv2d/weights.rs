//! The third product of a convolution: the gradient of the weights, an inner product over pixels and samples
//! for each.
//!
//! Samples are copied in groups of bounded size; then blocks of (output channels, terms) run in parallel over
//! the group. A number's sum runs over lanes, vectors and samples in an order that the shape alone decides.

use rayon::prelude::*;

use super::geometry::{self, Correlation, Planes};
use super::kernel::{self, COLUMNS, Pixels, ROWS};
use super::products::{fill, gather};
use super::source::Source;
use crate::engine::raw::ConvShape;
use crate::engine::simd::VECTOR;

/// Numbers of scratch for one group of samples (4 MiB), unless a few samples of the picture are larger.
const SCRATCH: usize = 1 << 20;
/// Vectors of pixels summed in registers at least, where the batch allows: the final sum over lanes is then
/// cheap.
const VECTORS: usize = 64;
/// Output channels and terms of a task: what it reads stays in the second-level cache. The second pair is for
/// products that would make few tasks.
const BLOCKS: [[usize; 2]; 2] = [[32, 48], [8, 24]];
const FEW_TASKS: usize = 16;

/// Copies of a group of samples, in the layout that the kernel reads.
struct Copies {
    xs: Vec<f32>,
    dys: Vec<f32>,
    /// Distances in `xs` of samples and of convolution groups; in `dys` of samples and channels.
    x_sample: usize,
    x_group: usize,
    dy_sample: usize,
    dy_row: usize,
}

/// The matrix of sums, cut into tasks: `[convolution group, block of rows, block of terms]`.
struct Tasks {
    rows: usize,
    terms: usize,
    m_block: usize,
    k_block: usize,
    m_blocks: usize,
    k_blocks: usize,
}

impl Tasks {
    fn new(groups: usize, rows: usize, terms: usize) -> Self {
        let tasks = |[m, k]: [usize; 2]| groups * rows.div_ceil(m) * terms.div_ceil(k);
        let [m_block, k_block] = if tasks(BLOCKS[0]) >= FEW_TASKS {
            BLOCKS[0]
        } else {
            BLOCKS[1]
        };
        Self {
            rows,
            terms,
            m_block,
            k_block,
            m_blocks: rows.div_ceil(m_block),
            k_blocks: terms.div_ceil(k_block),
        }
    }

    /// Sums of a task, `[m, k]`.
    fn len(&self) -> usize {
        self.m_block * self.k_block
    }

    /// A task's convolution group, first row and first term.
    fn place(&self, task: usize) -> [usize; 3] {
        let (k_at, rest) = (task % self.k_blocks * self.k_block, task / self.k_blocks);
        [rest / self.m_blocks, rest % self.m_blocks * self.m_block, k_at]
    }

    /// Adds the sums to the gradient `[group, row, term]`.
    fn add_to(&self, sums: &[f32], out: &mut [f32]) {
        for (task, sums) in sums.chunks_exact(self.len()).enumerate() {
            let [group, m_at, k_at] = self.place(task);
            for (m, sums) in sums.chunks_exact(self.k_block).take(self.rows - m_at).enumerate() {
                let row = &mut out[(group * self.rows + m_at + m) * self.terms..][..self.terms];
                row[k_at..]
                    .iter_mut()
                    .zip(sums)
                    .for_each(|(out, sum)| *out += sum);
            }
        }
    }
}

/// Gradient of the weights, `[channels_out, channels_in / groups, kernel, kernel]`, added to `out`.
pub(in crate::engine::host) fn weight_grad(
    g: &ConvShape,
    x: &Source,
    dy: &Source,
    samples: usize,
    out: &mut [f32],
) {
    let (planes, one) = geometry::forward(g);
    let (rows, terms) = (g.channels_out / g.groups, g.taps());
    let group_len = g.channels_in / g.groups * planes.channel_len();
    assert!(
        one.reach(g.groups, group_len) <= planes.len(),
        "planes too small for {one:?}"
    );
    let steps = one.vectors.len();
    if steps == 0 || terms == 0 || rows == 0 || samples == 0 {
        return;
    }
    let together = VECTORS.div_ceil(steps);
    let (mut copies, group) = Copies::new(g, &planes, &one, samples, together);
    let offsets: Vec<usize> = match one.gather {
        Some(_) => (0..terms).map(|k| k * group * one.row_len).collect(),
        None => one.offsets.iter().map(|o| *o as usize).collect(),
    };
    let tasks = Tasks::new(g.groups, rows, terms);
    let mut sums = vec![0.0; g.groups * tasks.m_blocks * tasks.k_blocks * tasks.len()];
    let mut scratch = Vec::new();
    for first in (0..samples).step_by(group) {
        let count = group.min(samples - first);
        match &one.gather {
            None => copies.rows(g, &planes, x, dy, first, count),
            Some(pixels) => copies.gathered(g, &planes, &one, pixels, &mut scratch, x, dy, first, count),
        }
        sums.par_chunks_mut(tasks.len())
            .enumerate()
            .for_each(|(task, sums)| {
                copies.sum_block(&tasks, task, &one.bases, &offsets, [count, together], sums);
            });
    }
    tasks.add_to(&sums, out);
}

impl Copies {
    /// Memory for a group of samples, and how many those are.
    fn new(
        g: &ConvShape,
        planes: &Planes,
        one: &Correlation,
        samples: usize,
        together: usize,
    ) -> (Self, usize) {
        let (terms, steps) = (g.taps(), one.vectors.len());
        let padded_rows = (g.channels_out / g.groups).next_multiple_of(ROWS);
        let dy_len = g.groups * padded_rows * steps * VECTOR;
        let gathers = one.gather.is_some();
        // Numbers of one sample of each operand; a narrow picture's terms are gathered into rows.
        let x_len = match gathers {
            true => g.groups * terms * one.row_len,
            false => planes.len(),
        };
        let group = ((SCRATCH / ((x_len + dy_len) * together)).max(1) * together).min(samples);
        let [x_sample, x_group, dy_sample, dy_row] = match gathers {
            true => {
                let line = group * one.row_len;
                [one.row_len, terms * line, one.row_len, line]
            }
            false => {
                let group_len = g.channels_in / g.groups * planes.channel_len();
                [x_len, group_len, dy_len, steps * VECTOR]
            }
        };
        let copies = Self {
            xs: vec![0.0; group * x_len],
            dys: vec![0.0; group * dy_len],
            x_sample,
            x_group,
            dy_sample,
            dy_row,
        };
        (copies, group)
    }

    /// Adds the first `count` samples' part of a task to its sums, some samples together in registers.
    fn sum_block(
        &self,
        tasks: &Tasks,
        task: usize,
        bases: &[u32],
        offsets: &[usize],
        [count, together]: [usize; 2],
        sums: &mut [f32],
    ) {
        let [group, m_at, k_at] = tasks.place(task);
        let (rows, k_block) = (tasks.rows, tasks.k_block);
        let padded_rows = rows.next_multiple_of(ROWS);
        let offsets = &offsets[k_at..(k_at + k_block).min(tasks.terms)];
        let quads = (rows - m_at).min(tasks.m_block).div_ceil(ROWS);
        for start in (0..count).step_by(together) {
            let at = Pixels {
                bases,
                row_len: self.dy_row,
                samples: together.min(count - start),
                dy_len: self.dy_sample,
                x_len: self.x_sample,
            };
            let xs = &self.xs[group * self.x_group + start * self.x_sample..];
            for (quad, sums) in sums.chunks_exact_mut(ROWS * k_block).take(quads).enumerate() {
                let row = group * padded_rows + m_at + quad * ROWS;
                let dys = &self.dys[row * self.dy_row + start * self.dy_sample..];
                for (block, taps) in offsets.chunks(COLUMNS).enumerate() {
                    let tap = |j: usize| taps[j.min(taps.len() - 1)];
                    // SAFETY: `dys` holds whole vectors for every padded row of every sample; the planes hold
                    // what bases and offsets reach (`weight_grad` asserts it; gathered rows hold it by
                    // construction).
                    let found = unsafe { kernel::dot(dys, xs, [tap(0), tap(1), tap(2)], at) };
                    for (row, found) in sums.chunks_exact_mut(k_block).zip(&found) {
                        let row = &mut row[block * COLUMNS..];
                        row.iter_mut()
                            .zip(&found[..taps.len()])
                            .for_each(|(sum, found)| *sum += found);
                    }
                }
            }
        }
    }

    /// Padded planes of each sample; rows of the gradient in whole vectors, zero beyond the picture.
    fn rows(&mut self, g: &ConvShape, planes: &Planes, x: &Source, dy: &Source, first: usize, count: usize) {
        let [oh, ow] = g.out();
        let (rows, pitch) = (g.channels_out / g.groups, ow.next_multiple_of(VECTOR));
        let padded_rows = rows.next_multiple_of(ROWS);
        let jobs = self
            .xs
            .par_chunks_mut(self.x_sample)
            .zip(self.dys.par_chunks_mut(self.dy_sample));
        jobs.take(count)
            .enumerate()
            .for_each_init(Vec::new, |row, (i, (xs, dys))| {
                fill(planes, x, first + i, row, xs);
                for channel in 0..g.channels_out {
                    let row = channel / rows * padded_rows + channel % rows;
                    let start = ((first + i) * g.channels_out + channel) * oh * ow;
                    for (y, out) in dys[row * self.dy_row..][..self.dy_row]
                        .chunks_exact_mut(pitch)
                        .enumerate()
                    {
                        dy.copy(start + y * ow, channel, &mut out[..ow]);
                    }
                }
            });
    }

    /// For narrow pictures: `[group, term, sample, pixel]` and `[group, channel, sample, pixel]`.
    #[allow(clippy::too_many_arguments)]
    fn gathered(
        &mut self,
        g: &ConvShape,
        planes: &Planes,
        one: &Correlation,
        pixels: &[u32],
        scratch: &mut Vec<f32>,
        x: &Source,
        dy: &Source,
        first: usize,
        count: usize,
    ) {
        scratch.resize(count * planes.len(), 0.0);
        let samples = scratch.par_chunks_mut(planes.len()).enumerate();
        samples.for_each_init(Vec::new, |row, (i, out)| fill(planes, x, first + i, row, out));
        let (terms, channels) = (one.offsets.len(), g.channels_in / g.groups);
        let line = self.dy_row;
        self.xs
            .par_chunks_mut(line)
            .with_min_len(16)
            .enumerate()
            .for_each(|(i, row)| {
                let base = i / terms * channels * planes.channel_len();
                for (sample, out) in row.chunks_exact_mut(one.row_len).take(count).enumerate() {
                    let planes = &scratch[sample * planes.len() + base..(sample + 1) * planes.len()];
                    gather(pixels, planes, one.offsets[i % terms], out);
                }
            });
        let (rows, area) = (g.channels_out / g.groups, pixels.len());
        let padded_rows = rows.next_multiple_of(ROWS);
        self.dys
            .par_chunks_mut(line)
            .with_min_len(16)
            .enumerate()
            .for_each(|(i, row)| {
                let (group, m) = (i / padded_rows, i % padded_rows);
                if m >= rows {
                    return;
                }
                let channel = group * rows + m;
                for (sample, out) in row.chunks_exact_mut(one.row_len).take(count).enumerate() {
                    let start = ((first + sample) * g.channels_out + channel) * area;
                    dy.copy(start, channel, &mut out[..area]);
                }
            });
    }
}
