//! The arithmetic of the models: every function takes and gives candle tensors with the channels last, `[batch, h, w, c]`
//! or `[batch, tokens, c]`.
//!
//! On the CPU each is one custom operation over f32 slices: matrix products over weights that were packed when the model
//! was loaded ([`Packed`](crate::simd::Packed)), convolution without im2col ([`conv`], [`winograd`]), fused normalisations and
//! activations. Each row of an output is computed by itself in an order that depends on nothing but the layer, so that results
//! are the same bits whatever the batch size and the number of threads. On any other device the same functions are made of
//! candle's own.

mod attention;
mod conv;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(not(feature = "cuda"))]
#[path = "cuda_none.rs"]
mod cuda;
mod math;
mod matrix;
mod norm;
mod pointwise;
mod winograd;

pub(crate) use cuda::{Recording, record, remembering};

pub(crate) use attention::{Attention, attention};
pub(crate) use conv::{Conv, Stride};
pub(crate) use matrix::{Linear, Plus};
pub(crate) use norm::{GroupNorm, LayerNorm};
pub(crate) use pointwise::{geglu, gelu, quick_gelu, silu};

use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Device, Layout, Result, Shape, Tensor};

/// Where a model lives, and whether the CPU's own operations are used there.
#[derive(Clone, Debug)]
pub(crate) struct Backend {
    pub(crate) device: Device,
    pub(crate) fused: bool,
    /// Whether weights and activations are f16.
    pub(crate) half: bool,
}

impl Backend {
    /// Returns the fastest way of computing on `device`.
    pub(crate) fn new(device: &Device) -> Self {
        Self {
            device: device.clone(),
            fused: device.is_cpu(),
            half: false,
        }
    }
}

/// Whether a tensor is worked on in half precision.
fn is_half(x: &Tensor) -> bool {
    x.dtype() == candle_core::DType::F16 && x.device().is_cuda()
}

/// A tensor's numbers and shape as a CPU operation sees them.
pub(crate) struct View<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) dims: &'a [usize],
}

fn view<'a>(storage: &'a CpuStorage, layout: &'a Layout) -> Result<View<'a>> {
    let (start, end) = layout
        .contiguous_offsets()
        .ok_or_else(|| candle_core::Error::Msg("a fused operation needs a contiguous tensor".into()))?;
    let data = storage.as_slice::<f32>()?;
    Ok(View {
        data: &data[start..end],
        dims: layout.dims(),
    }) // a layout never reaches outside its storage
}

type Output = Result<(Vec<f32>, Shape)>;

struct Op<F>(&'static str, F);

fn stored((data, shape): (Vec<f32>, Shape)) -> (CpuStorage, Shape) {
    (CpuStorage::F32(data), shape)
}

impl<F: Fn(View) -> Output> CustomOp1 for Op<F> {
    fn name(&self) -> &'static str {
        self.0
    }
    fn cpu_fwd(&self, s: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        (self.1)(view(s, l)?).map(stored)
    }
}

struct Op2<F>(&'static str, F);

impl<F: Fn(View, View) -> Output> CustomOp2 for Op2<F> {
    fn name(&self) -> &'static str {
        self.0
    }
    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        (self.1)(view(s1, l1)?, view(s2, l2)?).map(stored)
    }
}

struct Op3<F>(&'static str, F);

impl<F: Fn(View, View, View) -> Output> CustomOp3 for Op3<F> {
    fn name(&self) -> &'static str {
        self.0
    }
    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        (self.1)(view(s1, l1)?, view(s2, l2)?, view(s3, l3)?).map(stored)
    }
}

/// Runs `f` on the numbers of a CPU tensor.
pub(crate) fn on_cpu(x: &Tensor, name: &'static str, f: impl Fn(View) -> Output) -> Result<Tensor> {
    x.contiguous()?.apply_op1_no_bwd(&Op(name, f))
}

/// Runs `f` on the numbers of two CPU tensors.
pub(crate) fn on_cpu2(
    x: &Tensor,
    y: &Tensor,
    name: &'static str,
    f: impl Fn(View, View) -> Output,
) -> Result<Tensor> {
    x.contiguous()?.apply_op2_no_bwd(&y.contiguous()?, &Op2(name, f))
}

/// Runs `f` on the numbers of three CPU tensors.
pub(crate) fn on_cpu3(
    x: &Tensor,
    y: &Tensor,
    z: &Tensor,
    name: &'static str,
    f: impl Fn(View, View, View) -> Output,
) -> Result<Tensor> {
    x.contiguous()?
        .apply_op3_no_bwd(&y.contiguous()?, &z.contiguous()?, &Op3(name, f))
}

#[cfg(test)]
mod tests;
