//! Forward pass of the CPU engine.
//!
//! A unit's batch norm is never applied in memory: the next convolution scales, shifts and rectifies while it
//! copies its input. Only the convolutions' outputs and the blocks' outputs exist. Statistics of a sample are
//! taken while it is in the cache, and joined in the order of the samples (Chan et al. 1983), so their bits
//! do not depend on threads.

use std::sync::{Arc, OnceLock};

use rayon::prelude::*;

use super::pool::{Buffer, Pool};
use crate::engine::host::conv2d::{Product, Source, WriteMode};
use crate::engine::plan::{Block, EPSILON, Plan, Unit, side};
use crate::engine::raw::{ConvShape, Head, Run};
use crate::engine::simd::VECTOR;

/// Pictures `[samples, channels, h, w]`.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub x: &'a [f32],
    pub samples: usize,
    pub size: [usize; 2],
}

/// The flat variables' numbers.
#[derive(Clone, Copy)]
pub(super) struct Numbers<'a> {
    pub flat: &'a [f32],
    pub buffers: &'a [f32],
}

/// A unit's batch norm as numbers of each channel.
#[derive(Debug, Default)]
pub(super) struct Norm {
    pub scale: Vec<f32>,
    pub shift: Vec<f32>,
    pub mean: Vec<f32>,
    pub inv_std: Vec<f32>,
}

/// A unit that has run: its convolution's output and its norm.
#[derive(Debug)]
pub(super) struct Done {
    pub shape: ConvShape,
    pub y: Buffer,
    pub norm: Norm,
}

impl Done {
    /// What the next unit reads.
    pub(super) fn rectified(&self) -> Source<'_> {
        Source::ScaledRelu {
            y: &self.y,
            scale: &self.norm.scale,
            shift: &self.norm.shift,
        }
    }
    pub(super) fn size(&self) -> [usize; 2] {
        self.shape.out()
    }
    pub(super) fn area(&self) -> usize {
        let [h, w] = self.size();
        h * w
    }
}

/// A block that has run.
#[derive(Debug)]
pub(super) struct DoneBlock {
    pub units: Vec<Done>,
    pub projection: Option<Done>,
    pub out: Buffer,
}

/// Everything the backward pass needs.
#[derive(Debug)]
pub(super) struct Tape {
    pub samples: usize,
    pub pool: Arc<Pool>,
    pub stem: Done,
    /// Input of the first block: the rectified (and pooled) stem.
    pub entry: Buffer,
    /// Where each pooled number came from, in its channel.
    pub chosen: Vec<u32>,
    pub blocks: Vec<DoneBlock>,
    pub pooled: Vec<f32>,
    pub head: Head,
}

/// Statistics of a batch for the running ones: (start in the buffers, numbers).
pub(super) type Statistics = Vec<(usize, Vec<f32>)>;

struct Forward<'a> {
    numbers: Numbers<'a>,
    pool: &'a Arc<Pool>,
    samples: usize,
    train: bool,
    statistics: Statistics,
}

/// What a run of the network gives.
pub(super) struct Passed {
    /// `[samples, outputs]` or `[samples, features]`.
    pub out: Vec<f32>,
    pub tape: Tape,
    /// Empty unless the network is trained.
    pub statistics: Statistics,
}

/// Runs the network.
pub(super) fn forward(plan: &Plan, numbers: Numbers, pool: &Arc<Pool>, input: Input, run: Run) -> Passed {
    let mut pass = Forward {
        numbers,
        pool,
        samples: input.samples,
        train: run.train,
        statistics: Vec::new(),
    };
    let stem = pass.unit(&plan.stem, &Source::Plain(input.x), input.size);
    let mut size = stem.size();
    let (mut entry, mut chosen) = (rectify(&stem, None, pool), Vec::new());
    if plan.pool {
        (entry, chosen) = max_pool(&entry, size, pool);
        size = size.map(|s| side(s, 3, 2));
    }
    let mut blocks: Vec<DoneBlock> = Vec::with_capacity(plan.blocks.len());
    for block in &plan.blocks {
        let input = blocks.last().map_or(&entry, |b| &b.out);
        let (done, next) = pass.block(block, input, size);
        size = next;
        if let (false, Some(last)) = (run.train, blocks.last_mut()) {
            last.out = Buffer::default();
        }
        blocks.push(done);
    }
    let last = blocks.last().map_or(&entry, |b| &b.out);
    let area = size[0] * size[1];
    let pooled: Vec<f32> = last
        .par_chunks(area)
        .with_min_len(256)
        .map(|p| sum(p) / area as f32)
        .collect();
    let out = match run.head {
        Head::Features => pooled.clone(),
        Head::Logits => linear(plan, numbers.flat, &pooled),
    };
    Passed {
        out,
        tape: Tape {
            samples: input.samples,
            pool: pool.clone(),
            stem,
            entry,
            chosen,
            blocks,
            pooled,
            head: run.head,
        },
        statistics: pass.statistics,
    }
}

impl Forward<'_> {
    /// Runs a block on `input`, whose planes are of `size`; returns the size that it leaves. Only what a
    /// backward pass needs is kept.
    fn block(&mut self, block: &Block, input: &[f32], size: [usize; 2]) -> (DoneBlock, [usize; 2]) {
        let mut units: Vec<Done> = Vec::with_capacity(block.units.len());
        let mut size_now = size;
        for unit in &block.units {
            let done = match units.last() {
                None => self.unit(unit, &Source::Plain(input), size_now),
                Some(before) => self.unit(unit, &before.rectified(), size_now),
            };
            size_now = done.size();
            units.push(done);
        }
        let projection = block
            .projection
            .as_ref()
            .map(|u| self.unit(u, &Source::Plain(input), size));
        let shortcut = match &projection {
            Some(done) => Shortcut::Projected(done),
            None => Shortcut::Identity(input),
        };
        // A block has two units at least.
        let out = units
            .last()
            .map(|last| rectify(last, Some(shortcut), self.pool))
            .unwrap_or_default();
        if !self.train {
            units.clear();
        }
        let done = DoneBlock {
            units,
            projection: projection.filter(|_| self.train),
            out,
        };
        (done, size_now)
    }

    /// Runs a convolution, and prepares the batch norm after it.
    fn unit(&mut self, unit: &Unit, source: &Source, size: [usize; 2]) -> Done {
        let shape = unit.shape(size);
        let c = unit.channels_out;
        let product = Product::forward(&shape, &self.numbers.flat[unit.weight..][..unit.weight_len()]);
        let mut y = self.pool.take(self.samples * shape.out_len());
        let (mean, variance) = if self.train {
            self.moments(unit, &product, source, &shape, &mut y)
        } else {
            product.run(source, &mut y, WriteMode::Replace, |_, _| ());
            let [mean, variance] = [unit.mean, unit.var].map(|start| &self.numbers.buffers[start..][..c]);
            let variance = variance.iter().map(|v| f64::from(*v)).collect();
            (mean.to_vec(), variance)
        };
        let norm = self.norm(unit, mean, &variance);
        Done { shape, y, norm }
    }

    /// Runs a convolution into `y`; returns mean and variance of each channel, and keeps them for the running
    /// ones.
    fn moments(
        &mut self,
        unit: &Unit,
        product: &Product,
        source: &Source,
        shape: &ConvShape,
        y: &mut [f32],
    ) -> (Vec<f32>, Vec<f64>) {
        let [h, w] = shape.out();
        let moments: Vec<OnceLock<Vec<[f64; 2]>>> = (0..self.samples).map(|_| OnceLock::new()).collect();
        product.run(source, y, WriteMode::Replace, |sample, y| {
            let _ = moments[sample].set(y.chunks_exact(h * w).map(mean_and_square).collect());
        });
        let moments: Vec<Vec<[f64; 2]>> = moments
            .into_iter()
            .map(|m| m.into_inner().unwrap_or_default())
            .collect();
        let (area, count) = ((h * w) as f64, (self.samples * h * w) as f64);
        let channels = unit.channels_out;
        let (mut means, mut variance, mut unbiased) = (Vec::new(), Vec::new(), Vec::with_capacity(channels));
        for channel in 0..channels {
            let mean = moments.iter().map(|m| m[channel][0]).sum::<f64>() / self.samples as f64;
            let square: f64 = moments
                .iter()
                .map(|m| m[channel][1] + area * (m[channel][0] - mean).powi(2))
                .sum();
            means.push(mean as f32);
            variance.push(square / count);
            unbiased.push((square / (count - 1.0).max(1.0)) as f32);
        }
        self.statistics.push((unit.mean, means.clone()));
        self.statistics.push((unit.var, unbiased));
        (means, variance)
    }

    fn norm(&self, unit: &Unit, mean: Vec<f32>, variance: &[f64]) -> Norm {
        let flat = self.numbers.flat;
        let mut norm = Norm {
            mean,
            ..Norm::default()
        };
        for (channel, variance) in variance.iter().enumerate() {
            let inv_std = (1.0 / (variance + EPSILON).sqrt()) as f32;
            let scale = flat[unit.gamma + channel] * inv_std;
            norm.inv_std.push(inv_std);
            norm.scale.push(scale);
            norm.shift
                .push(flat[unit.beta + channel] - norm.mean[channel] * scale);
        }
        norm
    }
}

/// What is added before the last ReLU of a block.
#[derive(Clone, Copy)]
enum Shortcut<'a> {
    Identity(&'a [f32]),
    Projected(&'a Done),
}

/// `relu(norm(y) + shortcut)`, in memory.
fn rectify(done: &Done, shortcut: Option<Shortcut>, pool: &Arc<Pool>) -> Buffer {
    let (area, c) = (done.area(), done.shape.channels_out);
    let mut out = pool.take(done.y.len());
    out.par_chunks_mut(area)
        .with_min_len(16)
        .enumerate()
        .for_each(|(i, out)| {
            let (channel, range) = (i % c, i * area..(i + 1) * area);
            let (scale, shift, y) = (
                done.norm.scale[channel],
                done.norm.shift[channel],
                &done.y[range.clone()],
            );
            match shortcut {
                None => out
                    .iter_mut()
                    .zip(y)
                    .for_each(|(out, y)| *out = (y * scale + shift).max(0.0)),
                Some(Shortcut::Identity(x)) => {
                    let pairs = y.iter().zip(&x[range]);
                    out.iter_mut()
                        .zip(pairs)
                        .for_each(|(out, (y, x))| *out = (y * scale + shift + x).max(0.0));
                }
                Some(Shortcut::Projected(other)) => {
                    let (scale2, shift2) = (other.norm.scale[channel], other.norm.shift[channel]);
                    let pairs = y.iter().zip(&other.y[range]);
                    out.iter_mut().zip(pairs).for_each(|(out, (y, x))| {
                        *out = (y * scale + shift + (x * scale2 + shift2)).max(0.0);
                    });
                }
            }
        });
    out
}

/// 3x3 max-pool, stride 2, padding 1; also the position of each maximum, the first one where several are
/// equal.
fn max_pool(x: &[f32], [h, w]: [usize; 2], pool: &Arc<Pool>) -> (Buffer, Vec<u32>) {
    let (oh, ow) = (side(h, 3, 2), side(w, 3, 2));
    let planes = x.len() / (h * w);
    let (mut out, mut chosen) = (pool.take(planes * oh * ow), vec![0_u32; planes * oh * ow]);
    let jobs = out
        .par_chunks_mut(oh * ow)
        .zip(chosen.par_chunks_mut(oh * ow))
        .zip(x.par_chunks(h * w));
    jobs.with_min_len(8).for_each(|((out, chosen), x)| {
        for (i, (out, chosen)) in out.iter_mut().zip(chosen).enumerate() {
            let (oy, ox) = (i / ow, i % ow);
            let mut best = (f32::NEG_INFINITY, 0);
            for y in (2 * oy).saturating_sub(1)..(2 * oy + 2).min(h) {
                for x_at in (2 * ox).saturating_sub(1)..(2 * ox + 2).min(w) {
                    let value = x[y * w + x_at];
                    // A NaN is kept, as PyTorch does: a diverged network must not look sound.
                    if value > best.0 || value.is_nan() {
                        best = (value, (y * w + x_at) as u32);
                    }
                }
            }
            (*out, *chosen) = best;
        }
    });
    (out, chosen)
}

/// `pooled W^T + b`, `[n, outputs]`.
pub(super) fn linear(plan: &Plan, flat: &[f32], pooled: &[f32]) -> Vec<f32> {
    let (features, outputs) = (plan.features, plan.outputs);
    let weight = &flat[plan.fc_weight..][..outputs * features];
    let bias = &flat[plan.fc_bias..][..outputs];
    let rows = pooled.par_chunks(features);
    rows.flat_map_iter(|x| {
        weight
            .chunks_exact(features)
            .zip(bias)
            .map(move |(w, b)| dot(x, w) + b)
    })
    .collect()
}

/// Sum with eight partial sums.
pub(super) fn sum(x: &[f32]) -> f32 {
    reduce([x, x], |[x, _]| x)
}

/// Inner product with eight partial sums.
fn dot(x: &[f32], y: &[f32]) -> f32 {
    reduce([x, y], |[x, y]| x * y)
}

/// Sum of `f` over pairs, in an order that the length alone decides.
#[inline(always)]
fn reduce([x, y]: [&[f32]; 2], f: impl Fn([f32; 2]) -> f32) -> f32 {
    let mut sums = [0.0_f32; VECTOR];
    let (xs, ys) = (x.chunks_exact(VECTOR), y.chunks_exact(VECTOR));
    let (tail_x, tail_y) = (xs.remainder(), ys.remainder());
    for (x, y) in xs.zip(ys) {
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum += f([*x, *y]);
        }
    }
    for ((sum, x), y) in sums.iter_mut().zip(tail_x).zip(tail_y) {
        *sum += f([*x, *y]);
    }
    sums.iter().sum()
}

/// Mean of a plane, and the sum of squares about it.
fn mean_and_square(y: &[f32]) -> [f64; 2] {
    let mean = f64::from(sum(y)) / y.len() as f64;
    let centre = mean as f32;
    let square = f64::from(reduce([y, y], |[y, _]| (y - centre) * (y - centre)));
    // The squares were taken about the rounded mean.
    let off = f64::from(centre) - mean;
    [mean, square - y.len() as f64 * off * off]
}
