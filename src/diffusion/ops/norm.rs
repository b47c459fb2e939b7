//! Group and layer normalisation, with the activation that follows.

use candle_core::{D, Result, Tensor};
use rayon::prelude::*;

use super::math::swish;
use super::{Backend, cuda, is_half, on_cpu};
use crate::diffusion::error;
use crate::diffusion::weights::Scope;
use crate::simd::vectorized;

/// Rows that a task of a large image takes. The partial sums are added in order, so it is part of the result:
/// it must not depend on the machine.
const ROW_BLOCK: usize = 512;
/// Rows summed in f32 before the sum is carried over to f64.
const SHORT_SUM: usize = 32;

struct Affine {
    weight: Vec<f32>,
    bias: Vec<f32>,
    /// The same on the device, where the CPU's operations are not used.
    plain: Option<(Tensor, Tensor)>,
}

impl Affine {
    fn load(scope: &Scope, channels: usize) -> error::Result<Self> {
        let weight = scope.tensor("weight", &[channels])?;
        let bias = scope.tensor("bias", &[channels])?;
        let Backend { device, fused, .. } = scope.backend();
        let plain = if *fused {
            None
        } else {
            let tensor = |v: &[f32]| Tensor::from_slice(v, v.len(), device);
            Some((tensor(&weight)?, tensor(&bias)?))
        };
        Ok(Self { weight, bias, plain })
    }
}

/// Group normalisation of `[batch, .., channels]`: mean and variance of each group of channels over all pixels.
pub(crate) struct GroupNorm {
    affine: Affine,
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
    /// Reads `weight` and `bias` `[channels]`. `silu`: whether the activation follows at once.
    pub(crate) fn load(
        scope: &Scope,
        channels: usize,
        groups: usize,
        epsilon: f64,
        silu: bool,
    ) -> error::Result<Self> {
        Ok(Self {
            affine: Affine::load(scope, channels)?,
            groups,
            epsilon,
            silu,
        })
    }

    /// Normalises `[batch, .., channels]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let channels = x.dim(D::Minus1)?;
        if channels != self.affine.weight.len() || x.rank() < 2 {
            candle_core::bail!(
                "a group norm of {} channels cannot take {:?}",
                self.affine.weight.len(),
                x.dims()
            );
        }
        if let Some((weight, bias)) = &self.affine.plain {
            if is_half(x) {
                let gpu = cuda::gpu(x.device())?;
                return gpu.group_norm(
                    &x.contiguous()?,
                    [weight, bias],
                    self.groups,
                    self.epsilon,
                    self.silu,
                );
            }
            return self.plain(x, weight, bias);
        }
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

    fn image(&self, x: &[f32], out: &mut [f32]) {
        let channels = self.affine.weight.len();
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
            let channel = |c: usize| parts.iter().map(|p| p[c]).sum::<f64>(); // every part has `channels` sums
            (0..self.groups)
                .map(|g| (g * in_group..(g + 1) * in_group).map(channel).sum::<f64>() / count)
                .collect()
        };
        let per_channel = |c: usize| c / in_group;
        let means = group_means(&[]);
        let means: Vec<f32> = (0..channels).map(|c| means[per_channel(c)] as f32).collect();
        let variances = group_means(&means);
        let scale: Vec<f32> = (0..channels)
            .map(|c| {
                ((variances[per_channel(c)] + self.epsilon).sqrt().recip()) as f32 * self.affine.weight[c]
            })
            .collect();
        let shift: Vec<f32> = (0..channels)
            .map(|c| self.affine.bias[c] - means[c] * scale[c])
            .collect();
        x.par_chunks(ROW_BLOCK * channels)
            .zip(out.par_chunks_mut(ROW_BLOCK * channels))
            .for_each(|(x, out)| scale_shift(x, &scale, &shift, self.silu, out));
    }

    fn plain(&self, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
        let (batch, channels) = (x.dim(0)?, x.dim(D::Minus1)?);
        // [batch, pixels, groups, channels of a group]
        let grouped = x
            .contiguous()?
            .reshape((batch, (), self.groups, channels / self.groups))?;
        let mean = grouped.mean_keepdim(3)?.mean_keepdim(1)?;
        let centred = grouped.broadcast_sub(&mean)?;
        let variance = centred.sqr()?.mean_keepdim(3)?.mean_keepdim(1)?;
        let normal = centred
            .broadcast_div(&(variance + self.epsilon)?.sqrt()?)?
            .reshape(x.shape())?;
        let y = normal.broadcast_mul(weight)?.broadcast_add(bias)?;
        if self.silu { y.silu() } else { Ok(y) }
    }
}

/// Layer normalisation over the last dimension.
pub(crate) struct LayerNorm {
    affine: Affine,
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
    /// Reads `weight` and `bias` `[channels]`.
    pub(crate) fn load(scope: &Scope, channels: usize, epsilon: f64) -> error::Result<Self> {
        Ok(Self {
            affine: Affine::load(scope, channels)?,
            epsilon,
        })
    }

    /// Normalises `[.., channels]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let channels = self.affine.weight.len();
        if x.dim(D::Minus1)? != channels {
            candle_core::bail!("a layer norm of {channels} channels cannot take {:?}", x.dims());
        }
        if let Some((weight, bias)) = &self.affine.plain {
            if is_half(x) {
                return cuda::gpu(x.device())?.layer_norm(&x.contiguous()?, [weight, bias], self.epsilon);
            }
            return candle_nn::ops::layer_norm(&x.contiguous()?, weight, bias, self.epsilon as f32);
        }
        on_cpu(x, "layer_norm", |x| {
            let mut out = vec![0.0; x.data.len()];
            x.data
                .par_chunks(64 * channels)
                .zip(out.par_chunks_mut(64 * channels))
                .for_each(|(x, out)| {
                    layer_norm(x, &self.affine.weight, &self.affine.bias, self.epsilon, out)
                });
            Ok((out, x.dims.into()))
        })
    }
}
