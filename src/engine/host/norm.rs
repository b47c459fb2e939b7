//! Group and layer normalisation, with the activation that follows.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::math::swish;
use super::op::on_cpu;
use crate::engine::layers::Normalize;
use crate::engine::raw::{RawGroupNorm, RawLayerNorm};
use crate::engine::simd::vectorized;

/// Rows that a task of a large image takes. The partial sums are added in order, so it is part of the result:
/// it must not depend on the machine.
const ROW_BLOCK: usize = 512;
/// Rows summed in f32 before the sum is carried over to f64.
const SHORT_SUM: usize = 32;

/// Group normalisation of `[batch, .., channels]`: mean and variance of each group of channels over all
/// pixels.
pub(super) struct GroupNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    groups: usize,
    epsilon: f64,
    silu: bool,
}

vectorized! {
    /// Adds to `sums` each channel's sum of `x` (or of `(x - mean)^2` where `means` is not empty).
    fn channel_sums(x: &[f32], means: &[f32], sums: &mut [f64]) {
        let channels = sums.len();
        let mut short = vec![0.0_f32; channels];
        for rows in x.chunks(SHORT_SUM * channels) {
            short.fill(0.0);
            for row in rows.chunks_exact(channels) {
                if means.is_empty() {
                    for (s, x) in short.iter_mut().zip(row) {
                        *s += x;
                    }
                } else {
                    for ((s, x), mean) in short.iter_mut().zip(row).zip(means) {
                        let d = x - mean;
                        *s += d * d;
                    }
                }
            }
            for (sum, s) in sums.iter_mut().zip(&short) {
                *sum += f64::from(*s);
            }
        }
    }
}

vectorized! {
    /// `out = x * scale + shift` a channel, then SiLU if asked.
    fn scale_shift(x: &[f32], scale: &[f32], shift: &[f32], silu: bool, out: &mut [f32]) {
        let channels = scale.len();
        for (row, out) in x.chunks_exact(channels).zip(out.chunks_exact_mut(channels)) {
            for (((o, x), a), b) in out.iter_mut().zip(row).zip(scale).zip(shift) {
                *o = x * a + b;
            }
            if silu {
                for o in out.iter_mut() {
                    *o = swish(*o, 1.0);
                }
            }
        }
    }
}

impl GroupNorm {
    pub(super) fn new(raw: &RawGroupNorm) -> Self {
        Self {
            weight: raw.weight.to_vec(),
            bias: raw.bias.to_vec(),
            groups: raw.groups,
            epsilon: raw.epsilon,
            silu: raw.silu,
        }
    }

    fn image(&self, x: &[f32], out: &mut [f32]) {
        let channels = self.weight.len();
        let in_group = channels / self.groups;
        let count = (x.len() / self.groups) as f64;
        let group_means = |means: &[f32]| -> Vec<f64> {
            let parts: Vec<Vec<f64>> = x
                .par_chunks(ROW_BLOCK * channels)
                .map(|rows| {
                    let mut sums = vec![0.0; channels];
                    channel_sums(rows, means, &mut sums);
                    sums
                })
                .collect();
            // Every part has `channels` sums.
            let channel = |c: usize| parts.iter().map(|p| p[c]).sum::<f64>();
            (0..self.groups)
                .map(|g| (g * in_group..(g + 1) * in_group).map(channel).sum::<f64>() / count)
                .collect()
        };
        let per_channel = |c: usize| c / in_group;
        let means = group_means(&[]);
        let means: Vec<f32> = (0..channels).map(|c| means[per_channel(c)] as f32).collect();
        let variances = group_means(&means);
        let scale: Vec<f32> = (0..channels)
            .map(|c| ((variances[per_channel(c)] + self.epsilon).sqrt().recip()) as f32 * self.weight[c])
            .collect();
        let shift: Vec<f32> = (0..channels)
            .map(|c| self.bias[c] - means[c] * scale[c])
            .collect();
        x.par_chunks(ROW_BLOCK * channels)
            .zip(out.par_chunks_mut(ROW_BLOCK * channels))
            .for_each(|(x, out)| scale_shift(x, &scale, &shift, self.silu, out));
    }
}

impl Normalize for GroupNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let batch = x.dim(0)?;
        on_cpu(x, "group_norm", |x| {
            let mut out = vec![0.0; x.data.len()];
            let image = x.data.len() / batch.max(1);
            let one = |(x, out): (&[f32], &mut [f32])| self.image(x, out);
            x.data
                .par_chunks(image)
                .zip(out.par_chunks_mut(image))
                .for_each(one);
            Ok((out, x.dims.into()))
        })
    }
}

/// Layer normalisation over the last dimension.
pub(super) struct LayerNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f64,
}

/// Mean of `f` over a row, in 16 running sums.
#[inline(always)]
fn row_mean(row: &[f32], f: impl Fn(f32) -> f32) -> f64 {
    const WAYS: usize = 16;
    let mut ways = [0.0_f32; WAYS];
    let mut chunks = row.chunks_exact(WAYS);
    for chunk in chunks.by_ref() {
        for (w, x) in ways.iter_mut().zip(chunk) {
            *w += f(*x);
        }
    }
    for (w, x) in ways.iter_mut().zip(chunks.remainder()) {
        *w += f(*x);
    }
    ways.iter().map(|w| f64::from(*w)).sum::<f64>() / row.len() as f64
}

vectorized! {
    fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], epsilon: f64, out: &mut [f32]) {
        let channels = weight.len();
        for (row, out) in x.chunks_exact(channels).zip(out.chunks_exact_mut(channels)) {
            let mean = row_mean(row, |x| x) as f32;
            let variance = row_mean(row, |x| (x - mean) * (x - mean));
            let scale = (variance + epsilon).sqrt().recip() as f32;
            for (((o, x), w), b) in out.iter_mut().zip(row).zip(weight).zip(bias) {
                *o = (x - mean) * scale * w + b;
            }
        }
    }
}

impl LayerNorm {
    pub(super) fn new(raw: &RawLayerNorm) -> Self {
        Self {
            weight: raw.weight.to_vec(),
            bias: raw.bias.to_vec(),
            epsilon: raw.epsilon,
        }
    }
}

impl Normalize for LayerNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let channels = self.weight.len();
        on_cpu(x, "layer_norm", |x| {
            let mut out = vec![0.0; x.data.len()];
            x.data
                .par_chunks(64 * channels)
                .zip(out.par_chunks_mut(64 * channels))
                .for_each(|(x, out)| layer_norm(x, &self.weight, &self.bias, self.epsilon, out));
            Ok((out, x.dims.into()))
        })
    }
}
