//! Backward pass of the CPU engine.
//!
//! `dz` is the gradient of a norm's output after its ReLU. The gradient of the norm's input is `a dz + b y +
//! c` with three numbers a channel (Ioffe and Szegedy 2015), computed while the convolution's products copy
//! it. The sums behind them are taken where `dz` is made, one sample at a time in the cache, and joined in
//! the order of the samples.

use std::sync::{Arc, OnceLock};

use rayon::prelude::*;

use super::forward::{Done, DoneBlock, Tape, sum};
use super::pool::{Buffer, Pool};
use crate::engine::host::conv2d::{Product, Source, WriteMode, weight_grad};
use crate::engine::plan::{Block, Plan, Unit};
use crate::engine::raw::Head;
use crate::engine::simd::VECTOR;

/// For each sample and channel: sum of dz, and of dz times (y - mean) for up to two norms that share it.
type Sums = Vec<OnceLock<Vec<[f32; 3]>>>;

fn no_sums(samples: usize) -> Sums {
    (0..samples).map(|_| OnceLock::new()).collect()
}

/// Which numbers of dz the ReLU lets through.
#[derive(Clone, Copy)]
enum Positive<'a> {
    /// Where its output, in memory, is positive.
    Output(&'a [f32]),
    /// Where the norm's output is.
    Norm(&'a Done),
}

/// Masks one sample of `dz` and takes its sums.
fn mask(
    sample: usize,
    dz: &mut [f32],
    positive: Positive,
    norms: [Option<&Done>; 2],
    sums: &Sums,
    area: usize,
) {
    let start = sample * dz.len();
    let all = dz.chunks_exact_mut(area).enumerate().map(|(channel, dz)| {
        let at = start + channel * area..start + (channel + 1) * area;
        match positive {
            Positive::Output(out) => {
                dz.iter_mut()
                    .zip(&out[at.clone()])
                    .for_each(|(dz, out)| *dz = if *out > 0.0 { *dz } else { 0.0 });
            }
            Positive::Norm(done) => {
                let (scale, shift) = (done.norm.scale[channel], done.norm.shift[channel]);
                for (dz, y) in dz.iter_mut().zip(&done.y[at.clone()]) {
                    *dz = if y * scale + shift > 0.0 { *dz } else { 0.0 };
                }
            }
        }
        let with =
            |done: Option<&Done>| done.map_or(0.0, |d| centred(dz, &d.y[at.clone()], d.norm.mean[channel]));
        [sum(dz), with(norms[0]), with(norms[1])]
    });
    let _ = sums[sample].set(all.collect());
}

/// Sum of `dz * (y - mean)`, eight partial sums.
fn centred(dz: &[f32], y: &[f32], mean: f32) -> f32 {
    let mut sums = [0.0_f32; VECTOR];
    let (d, y) = (dz.chunks_exact(VECTOR), y.chunks_exact(VECTOR));
    for ((sum, d), y) in sums.iter_mut().zip(d.remainder()).zip(y.remainder()) {
        *sum = d * (y - mean);
    }
    for (d, y) in d.zip(y) {
        sums.iter_mut()
            .zip(d)
            .zip(y)
            .for_each(|((sum, d), y)| *sum += d * (y - mean));
    }
    sums.iter().sum()
}

/// Gradients of a norm's two tensors into `grad`, and the three numbers of each channel that give its input's
/// gradient.
fn norm_grad(
    unit: &Unit,
    done: &Done,
    sums: &Sums,
    which: usize,
    flat: &[f32],
    grad: &mut [f32],
) -> Vec<[f32; 3]> {
    let count = (sums.len() * done.area()) as f64;
    let channel_sum = |channel: usize, part: usize| -> f64 {
        sums.iter()
            .map(|s| s.get().map_or(0.0, |s| f64::from(s[channel][part])))
            .sum()
    };
    (0..unit.channels_out)
        .map(|channel| {
            let inv_std = f64::from(done.norm.inv_std[channel]);
            let (total, aligned) = (channel_sum(channel, 0), channel_sum(channel, 1 + which) * inv_std);
            grad[unit.beta + channel] = total as f32;
            grad[unit.gamma + channel] = aligned as f32;
            let a = f64::from(flat[unit.gamma + channel]) * inv_std;
            let b = -a * inv_std * aligned / count;
            let c = -a * total / count - b * f64::from(done.norm.mean[channel]);
            [a as f32, b as f32, c as f32]
        })
        .collect()
}

struct Backward<'a> {
    plan: &'a Plan,
    tape: &'a Tape,
    flat: &'a [f32],
    grad: Vec<f32>,
}

/// Returns the gradient of the flat variable, and of the picture if `with_input`.
pub(super) fn backward(
    plan: &Plan,
    tape: &Tape,
    flat: &[f32],
    x: &[f32],
    dout: &[f32],
    with_input: bool,
) -> (Vec<f32>, Option<Vec<f32>>) {
    let mut run = Backward {
        plan,
        tape,
        flat,
        grad: vec![0.0; flat.len()],
    };
    let (mut dz, mut sums) = run.head(dout);
    for index in (0..plan.blocks.len()).rev() {
        (dz, sums) = run.block(index, dz, &sums);
    }
    let dx = run.stem(x, dz, sums, with_input);
    (run.grad, dx)
}

impl Backward<'_> {
    fn weights(&mut self, unit: &Unit, done: &Done, source: &Source, dy: &Source) {
        let out = &mut self.grad[unit.weight..][..unit.weight_len()];
        weight_grad(&done.shape, source, dy, self.tape.samples, out);
    }

    fn input(&self, unit: &Unit, done: &Done) -> Product {
        Product::input_grad(&done.shape, &self.flat[unit.weight..][..unit.weight_len()])
    }

    fn norm(&mut self, unit: &Unit, done: &Done, sums: &Sums, which: usize) -> Vec<[f32; 3]> {
        norm_grad(unit, done, sums, which, self.flat, &mut self.grad)
    }

    /// The gradient of the last block's output, masked.
    fn head(&mut self, dout: &[f32]) -> (Buffer, Sums) {
        let (plan, tape) = (self.plan, self.tape);
        let dpooled = match tape.head {
            Head::Features => dout.to_vec(),
            Head::Logits => linear_grad(plan, self.flat, &tape.pooled, dout, &mut self.grad),
        };
        // The mean's gradient, spread over the last block's output.
        let len = tape.blocks.last().map_or(&tape.entry, |b| &b.out).len();
        let area = len / dpooled.len();
        let mut dz = tape.pool.take(len);
        let sums = no_sums(tape.samples);
        dz.par_chunks_mut(len / tape.samples)
            .enumerate()
            .for_each(|(sample, dz)| {
                let each = &dpooled[sample * plan.features..][..plan.features];
                dz.chunks_exact_mut(area)
                    .zip(each)
                    .for_each(|(dz, d)| dz.fill(d / area as f32));
                top(tape, tape.blocks.len(), sample, dz, &sums);
            });
        (dz, sums)
    }

    /// From the masked gradient of a block's output to that of its input.
    fn block(&mut self, index: usize, dz: Buffer, sums: &Sums) -> (Buffer, Sums) {
        let tape = self.tape;
        let (block, done) = (&self.plan.blocks[index], &tape.blocks[index]);
        let input = index.checked_sub(1).map_or(&tape.entry, |i| &tape.blocks[i].out);
        let next = no_sums(tape.samples);
        let projected = self.projection(block, done, input, &dz, sums);
        let (inner, inner_sums) = self.units(block, done, &dz, sums);
        // The first unit; its input's gradient adds to the shortcut's, which for the identity is dz itself.
        let (unit, this) = (&block.units[0], &done.units[0]);
        let coefficients = self.norm(unit, this, &inner_sums, 0);
        let dy = Source::Combined {
            dz: &inner,
            y: &this.y,
            coefficients: &coefficients,
        };
        self.weights(unit, this, &Source::Plain(input), &dy);
        let mut dx = projected.unwrap_or(dz);
        self.input(unit, this)
            .run(&dy, &mut dx, WriteMode::Add, |sample, dx| {
                top(tape, index, sample, dx, &next)
            });
        (dx, next)
    }

    /// The gradient that goes through the shortcut's projection, if there is one.
    fn projection(
        &mut self,
        block: &Block,
        done: &DoneBlock,
        input: &[f32],
        dz: &[f32],
        sums: &Sums,
    ) -> Option<Buffer> {
        let (unit, projection) = (block.projection.as_ref()?, done.projection.as_ref()?);
        let coefficients = self.norm(unit, projection, sums, 1);
        let dy = Source::Combined {
            dz,
            y: &projection.y,
            coefficients: &coefficients,
        };
        self.weights(unit, projection, &Source::Plain(input), &dy);
        let mut dx = self.tape.pool.take(self.tape.samples * projection.shape.in_len());
        self.input(unit, projection)
            .run(&dy, &mut dx, WriteMode::Replace, |_, _| ());
        Some(dx)
    }

    /// From the last unit to the second: the gradient of the first unit's norm after its ReLU.
    fn units(&mut self, block: &Block, done: &DoneBlock, dz: &Buffer, sums: &Sums) -> (Buffer, Sums) {
        let (mut inner, mut inner_sums): (Option<Buffer>, Sums) = (None, no_sums(0));
        for i in (1..block.units.len()).rev() {
            let (unit, this, before) = (&block.units[i], &done.units[i], &done.units[i - 1]);
            let (dz, sums) = inner.as_ref().map_or((dz, sums), |inner| (inner, &inner_sums));
            let coefficients = self.norm(unit, this, sums, 0);
            let dy = Source::Combined {
                dz,
                y: &this.y,
                coefficients: &coefficients,
            };
            self.weights(unit, this, &before.rectified(), &dy);
            let mut da = self.tape.pool.take(before.y.len());
            let new_sums = no_sums(self.tape.samples);
            let norms = [Some(before), None];
            self.input(unit, this)
                .run(&dy, &mut da, WriteMode::Replace, |sample, da| {
                    mask(
                        sample,
                        da,
                        Positive::Norm(before),
                        norms,
                        &new_sums,
                        before.area(),
                    );
                });
            (inner, inner_sums) = (Some(da), new_sums);
        }
        (inner.unwrap_or_default(), inner_sums)
    }

    /// From the gradient of the first block's input to that of the picture.
    fn stem(&mut self, x: &[f32], mut dz: Buffer, mut sums: Sums, with_input: bool) -> Option<Vec<f32>> {
        let (unit, tape) = (&self.plan.stem, self.tape);
        let stem = &tape.stem;
        if self.plan.pool {
            let (area, channels) = (stem.area(), unit.channels_out);
            let pooled_area = tape.chosen.len() / (tape.samples * channels);
            dz = unpool(&tape.pool, &dz, &tape.chosen, area, pooled_area);
            sums = no_sums(tape.samples);
            dz.par_chunks_mut(channels * area)
                .enumerate()
                .for_each(|(sample, dz)| {
                    mask(sample, dz, Positive::Norm(stem), [Some(stem), None], &sums, area);
                });
        }
        let coefficients = self.norm(unit, stem, &sums, 0);
        let dy = Source::Combined {
            dz: &dz,
            y: &stem.y,
            coefficients: &coefficients,
        };
        self.weights(unit, stem, &Source::Plain(x), &dy);
        with_input.then(|| {
            let mut dx = vec![0.0; x.len()];
            self.input(unit, stem)
                .run(&dy, &mut dx, WriteMode::Replace, |_, _| ());
            dx
        })
    }
}

/// Masks the gradient of the input of block `index`: the output of the block before, or of the stem.
fn top(tape: &Tape, index: usize, sample: usize, dz: &mut [f32], sums: &Sums) {
    if let Some(block) = index.checked_sub(1).map(|i| &tape.blocks[i]) {
        // A block has two units at least.
        let last = block.units.last();
        let area = last.map_or(1, Done::area);
        mask(
            sample,
            dz,
            Positive::Output(&block.out),
            [last, block.projection.as_ref()],
            sums,
            area,
        );
    } else if tape.chosen.is_empty() {
        mask(
            sample,
            dz,
            Positive::Output(&tape.entry),
            [Some(&tape.stem), None],
            sums,
            tape.stem.area(),
        );
    }
}

/// Gradient through the max-pool: each number goes to where the maximum was.
fn unpool(pool: &Arc<Pool>, dz: &[f32], chosen: &[u32], area: usize, pooled_area: usize) -> Buffer {
    let mut out = pool.take(dz.len() / pooled_area * area);
    out.fill(0.0);
    let jobs = out
        .par_chunks_mut(area)
        .zip(dz.par_chunks(pooled_area))
        .zip(chosen.par_chunks(pooled_area));
    jobs.with_min_len(8).for_each(|((out, dz), chosen)| {
        dz.iter().zip(chosen).for_each(|(dz, at)| out[*at as usize] += dz);
    });
    out
}

/// Gradients of the last layer's tensors into `grad`; returns that of its input.
fn linear_grad(plan: &Plan, flat: &[f32], pooled: &[f32], dout: &[f32], grad: &mut [f32]) -> Vec<f32> {
    let (features, outputs) = (plan.features, plan.outputs);
    let weight = &flat[plan.fc_weight..][..outputs * features];
    let dweight = &mut grad[plan.fc_weight..][..outputs * features];
    dweight.par_chunks_mut(features).enumerate().for_each(|(o, row)| {
        for (x, d) in pooled.chunks_exact(features).zip(dout.chunks_exact(outputs)) {
            row.iter_mut().zip(x).for_each(|(row, x)| *row += d[o] * x);
        }
    });
    for d in dout.chunks_exact(outputs) {
        grad[plan.fc_bias..][..outputs]
            .iter_mut()
            .zip(d)
            .for_each(|(grad, d)| *grad += d);
    }
    let mut dpooled = vec![0.0; pooled.len()];
    dpooled
        .par_chunks_mut(features)
        .zip(dout.par_chunks(outputs))
        .for_each(|(row, d)| {
            for (w, d) in weight.chunks_exact(features).zip(d) {
                row.iter_mut().zip(w).for_each(|(row, w)| *row += d * w);
            }
        });
    dpooled
}
