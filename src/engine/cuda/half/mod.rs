//! Half precision: f16 tensors with the channels last, sums in f32.
//!
//! Products are cuBLASLt's, with bias and residual in the product; convolutions, attention and normalisations
//! are kernels of our own (`kernels.cu`, and `hopper.cu` for compute capability 9.0). What they cannot take
//! (widths that are no multiple of 8, causal attention, other heads) is composed of candle's operations,
//! norms in f32 and the rest in f16.

#[cfg(feature = "cuda")]
mod gpu;
mod kernels;
mod launch;
#[cfg(feature = "cuda")]
mod lt;
mod machine;
#[cfg(feature = "cuda")]
mod record;

use std::sync::Arc;

use candle_core::{D, DType, Device, Result, Tensor};
use half::f16;
use rayon::prelude::*;

#[cfg(feature = "cuda")]
pub(super) use self::gpu::gpu;
use self::kernels::CHANNELS;
use self::launch::{Side, Window};
pub(super) use self::machine::Machine;
#[cfg(test)]
pub(super) use self::machine::{PARTS, SUMS};
use crate::engine::composed;
use crate::engine::layers::{Layers, Normalize, Repeat, Weighted};
use crate::engine::policy::Policy;
use crate::engine::raw::{
    Activation, Attention, AttentionShape, Plus, RawConv, RawGroupNorm, RawLayerNorm, RawLinear, Stride,
};

/// A GPU in half precision.
#[derive(Debug)]
pub(super) struct Half {
    device: Device,
    gpu: Arc<dyn Machine>,
    graph: bool,
}

impl Half {
    /// `graph`: whether work that repeats itself is recorded.
    pub(super) fn new(device: &Device, gpu: Arc<dyn Machine>, graph: bool) -> Self {
        Self {
            device: device.clone(),
            gpu,
            graph,
        }
    }
}

impl Layers for Half {
    fn name(&self) -> &'static str {
        "cuda"
    }

    fn device(&self) -> &Device {
        &self.device
    }

    fn dtype(&self) -> DType {
        DType::F16
    }

    fn policy(&self) -> Policy {
        Policy::HALF
    }

    fn linear(&self, raw: &RawLinear) -> Result<Box<dyn Weighted>> {
        if !raw.inputs.is_multiple_of(8) || !raw.outputs.is_multiple_of(8) {
            return composed::linear(&self.device, DType::F16, raw);
        }
        let tensor = |numbers: &[f32], shape: &[usize]| {
            let numbers: Vec<f16> = numbers.par_iter().map(|n| f16::from_f32(*n)).collect();
            Tensor::from_vec(numbers, shape, &self.device)
        };
        let bias = raw.bias.map(|bias| tensor(bias, &[raw.outputs]));
        Ok(Box::new(Linear {
            gpu: self.gpu.clone(),
            weight: tensor(raw.weight, &[raw.outputs, raw.inputs])?,
            bias: bias.transpose()?,
        }))
    }

    fn conv(&self, raw: &RawConv) -> Result<Box<dyn Weighted>> {
        let (taps, padded) = (raw.kernel * raw.kernel, raw.inputs.next_multiple_of(CHANNELS));
        let shape = (raw.outputs, padded / CHANNELS, taps, CHANNELS);
        Ok(Box::new(Conv {
            gpu: self.gpu.clone(),
            weight: Tensor::from_vec(pack(raw), shape, &self.device)?,
            bias: Tensor::from_slice(raw.bias, raw.outputs, &self.device)?,
            kernel: raw.kernel,
            stride: raw.stride,
            padded,
        }))
    }

    fn group_norm(&self, raw: &RawGroupNorm) -> Result<Box<dyn Normalize>> {
        let channels = raw.weight.len();
        if kernels::group_norm(channels).is_none() {
            return Ok(Box::new(Widened(composed::group_norm(&self.device, raw)?)));
        }
        Ok(Box::new(GroupNorm {
            gpu: self.gpu.clone(),
            weight: Tensor::from_slice(raw.weight, channels, &self.device)?,
            bias: Tensor::from_slice(raw.bias, channels, &self.device)?,
            groups: raw.groups,
            epsilon: raw.epsilon,
            silu: raw.silu,
        }))
    }

    fn layer_norm(&self, raw: &RawLayerNorm) -> Result<Box<dyn Normalize>> {
        let channels = raw.weight.len();
        if !kernels::layer_norm(channels) {
            return Ok(Box::new(Widened(composed::layer_norm(&self.device, raw)?)));
        }
        Ok(Box::new(LayerNorm {
            gpu: self.gpu.clone(),
            weight: Tensor::from_slice(raw.weight, channels, &self.device)?,
            bias: Tensor::from_slice(raw.bias, channels, &self.device)?,
            epsilon: raw.epsilon,
        }))
    }

    fn attention(&self, of: &Attention, shape: &AttentionShape) -> Result<Tensor> {
        let channels = shape.channels;
        if shape.causal || !self.gpu.attends(channels / shape.heads) {
            return composed::attention(of, shape);
        }
        let side = |x, part: usize| Side(x, part * channels);
        let (q, k, v) = match of {
            Attention::Own(x) => (side(x, 0), side(x, 1), side(x, 2)),
            Attention::Cross(q, kv) => (side(q, 0), side(kv, 0), side(kv, 1)),
            Attention::Apart(q, k, v) => (side(q, 0), side(k, 0), side(v, 0)),
        };
        self.gpu.attention(q, k, v, channels, shape.heads)
    }

    fn activation(&self, activation: Activation, x: &Tensor) -> Result<Tensor> {
        match activation {
            Activation::Geglu if x.dim(D::Minus1)?.is_multiple_of(16) => self.gpu.geglu(&x.contiguous()?),
            Activation::Geglu | Activation::Silu | Activation::Gelu | Activation::QuickGelu => {
                composed::activation(activation, x)
            }
        }
    }

    fn repeat(&self) -> Box<dyn Repeat> {
        if self.graph {
            self.gpu.clone().repeat()
        } else {
            composed::repeat()
        }
    }

    fn trouble(&self) -> Option<String> {
        self.gpu.trouble()
    }
}

/// `y = x W^T + b`; both widths are multiples of 8.
struct Linear {
    gpu: Arc<dyn Machine>,
    /// f16 `[outputs, inputs]`
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Weighted for Linear {
    fn forward(&self, x: &Tensor, plus: Plus, _: &[usize]) -> Result<Tensor> {
        let x = x.contiguous()?;
        let run = |residual| self.gpu.linear(&x, &self.weight, self.bias.as_ref(), residual);
        match plus {
            Plus::Nothing => run(None),
            Plus::Residual(r) => run(Some(r)),
            Plus::Channels(c) => run(None)?.broadcast_add(c),
        }
    }
}

struct Conv {
    gpu: Arc<dyn Machine>,
    /// f16 `[outputs, padded / 64, taps, 64]`
    weight: Tensor,
    /// f32 `[outputs]`
    bias: Tensor,
    kernel: usize,
    stride: Stride,
    /// Inputs, filled up with zeros.
    padded: usize,
}

/// The weights `[outputs, inputs, taps]` as `[outputs, padded / 64, taps, 64]`.
fn pack(raw: &RawConv) -> Vec<f16> {
    let (taps, padded) = (raw.kernel * raw.kernel, raw.inputs.next_multiple_of(CHANNELS));
    let mut packed = vec![f16::ZERO; raw.outputs * padded * taps];
    packed
        .par_chunks_mut(padded * taps)
        .zip(raw.weight.par_chunks(raw.inputs * taps))
        .for_each(|(to, from)| {
            for (i, from) in from.chunks_exact(taps).enumerate() {
                let (chunk, lane) = (i / CHANNELS, i % CHANNELS);
                for (tap, value) in from.iter().enumerate() {
                    to[(chunk * taps + tap) * CHANNELS + lane] = f16::from_f32(*value);
                }
            }
        });
    packed
}

impl Weighted for Conv {
    fn forward(&self, x: &Tensor, plus: Plus, dims: &[usize]) -> Result<Tensor> {
        let window = Window::new(self.kernel, self.stride, [dims[1], dims[2]]); // four dimensions
        let channels = x.dim(3)?;
        let x = match channels == self.padded {
            true => x.contiguous()?,
            false => x.pad_with_zeros(3, 0, self.padded - channels)?.contiguous()?,
        };
        let (extra, residual) = match plus {
            Plus::Nothing => (None, None),
            Plus::Channels(c) => (Some(c), None),
            Plus::Residual(r) => (None, Some(r)),
        };
        self.gpu
            .conv(&x, [&self.weight, &self.bias], window, extra, residual)
    }
}

struct GroupNorm {
    gpu: Arc<dyn Machine>,
    /// f32
    weight: Tensor,
    /// f32
    bias: Tensor,
    groups: usize,
    epsilon: f64,
    silu: bool,
}

impl Normalize for GroupNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let affine = [&self.weight, &self.bias];
        self.gpu
            .group_norm(&x.contiguous()?, affine, self.groups, self.epsilon, self.silu)
    }
}

/// A norm that no kernel takes, composed of candle's operations in f32.
struct Widened(Box<dyn Normalize>);

impl Normalize for Widened {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.0.forward(&x.to_dtype(DType::F32)?)?.to_dtype(x.dtype())
    }
}

struct LayerNorm {
    gpu: Arc<dyn Machine>,
    /// f32
    weight: Tensor,
    /// f32
    bias: Tensor,
    epsilon: f64,
}

impl Normalize for LayerNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.gpu
            .layer_norm(&x.contiguous()?, [&self.weight, &self.bias], self.epsilon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_weights_are_where_the_kernel_reads_them() {
        let (inputs, outputs, taps) = (70, 3, 9);
        let weight: Vec<f32> = (0..outputs * inputs * taps).map(|i| (i % 2048) as f32).collect();
        let raw = RawConv {
            inputs,
            outputs,
            kernel: 3,
            stride: Stride::Same,
            weight: &weight,
            bias: &[0.0; 3],
        };
        let packed = pack(&raw);
        assert_eq!(packed.len(), outputs * 2 * taps * CHANNELS);
        for (at, value) in packed.iter().enumerate() {
            let (lane, tap) = (at % CHANNELS, at / CHANNELS % taps);
            let (chunk, output) = (at / CHANNELS / taps % 2, at / CHANNELS / taps / 2);
            let input = chunk * CHANNELS + lane;
            let expected = match input < inputs {
                true => weight[(output * inputs + input) * taps + tap],
                false => 0.0,
            };
            assert_eq!(value.to_f32(), expected);
        }
    }
}
