//! Linear layers and convolutions.

use candle_core::{DType, Device, Result, Shape, Tensor};

use crate::engine::layers::Weighted;
use crate::engine::raw::{Plus, RawConv, RawLinear, Stride};

/// The numbers as a tensor of `dtype`.
fn tensor(numbers: &[f32], shape: impl Into<Shape>, device: &Device, dtype: DType) -> Result<Tensor> {
    Tensor::from_slice(numbers, shape, &Device::Cpu)?
        .to_dtype(dtype)?
        .to_device(device)
}

fn add(y: Tensor, bias: Option<&Tensor>, plus: Plus) -> Result<Tensor> {
    let y = match bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    };
    match plus {
        Plus::Nothing => Ok(y),
        Plus::Channels(c) => y.broadcast_add(c),
        Plus::Residual(r) => y + r,
    }
}

pub(super) struct Linear {
    /// `[inputs, outputs]`
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    pub(super) fn new(device: &Device, dtype: DType, raw: &RawLinear) -> Result<Self> {
        let weight = tensor(raw.weight, (raw.outputs, raw.inputs), device, dtype)?;
        let bias = raw.bias.map(|bias| tensor(bias, raw.outputs, device, dtype));
        Ok(Self {
            weight: weight.t()?.contiguous()?,
            bias: bias.transpose()?,
        })
    }
}

impl Weighted for Linear {
    fn forward(&self, x: &Tensor, plus: Plus, dims: &[usize]) -> Result<Tensor> {
        let y = x
            .contiguous()?
            .flatten_to(x.rank() - 2)?
            .matmul(&self.weight)?
            .reshape(dims)?;
        add(y, self.bias.as_ref(), plus)
    }
}

pub(super) struct Conv {
    stride: Stride,
    /// `[outputs, inputs, kernel, kernel]`
    weight: Tensor,
    bias: Tensor,
}

impl Conv {
    pub(super) fn new(device: &Device, dtype: DType, raw: &RawConv) -> Result<Self> {
        let shape = (raw.outputs, raw.inputs, raw.kernel, raw.kernel);
        Ok(Self {
            stride: raw.stride,
            weight: tensor(raw.weight, shape, device, dtype)?,
            bias: tensor(raw.bias, raw.outputs, device, dtype)?,
        })
    }
}

impl Weighted for Conv {
    fn forward(&self, x: &Tensor, plus: Plus, dims: &[usize]) -> Result<Tensor> {
        let weight = &self.weight;
        let half = weight.dim(2)? / 2;
        let x = x.permute((0, 3, 1, 2))?;
        let y = match self.stride {
            Stride::Same => x.contiguous()?.conv2d(weight, half, 1, 1, 1)?,
            Stride::Half => x.contiguous()?.conv2d(weight, half, 2, 1, 1)?,
            Stride::HalfAfter => {
                let x = x.pad_with_zeros(2, 0, 1)?.pad_with_zeros(3, 0, 1)?;
                x.contiguous()?.conv2d(weight, 0, 2, 1, 1)?
            }
            Stride::Double => x
                .contiguous()?
                .upsample_nearest2d(dims[1], dims[2])? // four dimensions
                .conv2d(weight, half, 1, 1, 1)?,
        };
        add(y.permute((0, 2, 3, 1))?.contiguous()?, Some(&self.bias), plus)
    }
}
