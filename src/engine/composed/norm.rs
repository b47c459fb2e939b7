//! Group and layer normalisation.

use candle_core::{D, Device, Result, Tensor};

use crate::engine::layers::Normalize;
use crate::engine::raw::{RawGroupNorm, RawLayerNorm};

pub(super) struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: usize,
    epsilon: f64,
    silu: bool,
}

impl GroupNorm {
    pub(super) fn new(device: &Device, raw: &RawGroupNorm) -> Result<Self> {
        let channels = raw.weight.len();
        Ok(Self {
            weight: Tensor::from_slice(raw.weight, channels, device)?,
            bias: Tensor::from_slice(raw.bias, channels, device)?,
            groups: raw.groups,
            epsilon: raw.epsilon,
            silu: raw.silu,
        })
    }
}

impl Normalize for GroupNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
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
        let y = normal.broadcast_mul(&self.weight)?.broadcast_add(&self.bias)?;
        if self.silu { y.silu() } else { Ok(y) }
    }
}

pub(super) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f64,
}

impl LayerNorm {
    pub(super) fn new(device: &Device, raw: &RawLayerNorm) -> Result<Self> {
        let channels = raw.weight.len();
        Ok(Self {
            weight: Tensor::from_slice(raw.weight, channels, device)?,
            bias: Tensor::from_slice(raw.bias, channels, device)?,
            epsilon: raw.epsilon,
        })
    }
}

impl Normalize for LayerNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        candle_nn::ops::layer_norm(&x.contiguous()?, &self.weight, &self.bias, self.epsilon as f32)
    }
}
