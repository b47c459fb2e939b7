//! Two-dimensional convolution with a fast forward and backward pass on the CPU.
//!
//! A [`CustomOp2`] over register tiles (`kernel`) that read a zero-padded copy of one sample (`geometry`). Other devices and
//! other number types use candle's own convolution.

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Shape, Tensor};

use super::Error;

pub(crate) mod geometry;
mod kernel;
pub(crate) mod products;
pub(crate) mod source;
#[cfg(test)]
mod tests;
mod weights;

pub(crate) use geometry::Geometry;
pub(crate) use products::{Product, Store};
pub(crate) use source::Source;
pub(crate) use weights::weight_grad;

/// Returns the convolution (cross-correlation) of `x` `[n, channels_in, h, w]` with `weight`
/// `[channels_out, channels_in / groups, kernel_h, kernel_w]`: `[n, channels_out, h', w']` with
/// `h' = (h + 2 padding - kernel_h) / stride + 1`. Any strides in memory; the gradient reaches both operands, and none is
/// computed for an `x` that does not depend on a variable.
///
/// # Errors
/// [`Error::Convolution`] if the shapes do not fit together; candle's errors.
pub fn conv2d(
    x: &Tensor,
    weight: &Tensor,
    stride: usize,
    padding: usize,
    groups: usize,
) -> Result<Tensor, Error> {
    let geometry = geometry_of(x, weight, stride, padding, groups)?;
    if !x.device().is_cpu() || x.dtype() != DType::F32 || weight.dtype() != DType::F32 {
        return Ok(x.conv2d(weight, padding, stride, 1, groups)?);
    }
    let op = Convolution {
        geometry,
        input_grad: x.track_op(),
    };
    Ok(x.contiguous()?.apply_op2(&weight.contiguous()?, op)?)
}

/// Checks the operands' shapes.
fn geometry_of(
    x: &Tensor,
    weight: &Tensor,
    stride: usize,
    padding: usize,
    groups: usize,
) -> Result<Geometry, Error> {
    let refuse = |reason: &'static str| Error::Convolution {
        reason,
        x: x.dims().to_vec(),
        weight: weight.dims().to_vec(),
        stride,
        padding,
        groups,
    };
    let (&[_, channels_in, h, w], &[channels_out, per_group, kh, kw]) = (x.dims(), weight.dims()) else {
        return Err(refuse("both operands need four dimensions"));
    };
    if stride == 0 || groups == 0 || kh == 0 || kw == 0 {
        return Err(refuse("stride, groups and kernel must be at least 1"));
    }
    if channels_in != per_group * groups || channels_out % groups != 0 {
        return Err(refuse(
            "the weight needs channels_in / groups input channels, and groups must divide the outputs",
        ));
    }
    if h + 2 * padding < kh || w + 2 * padding < kw {
        return Err(refuse("the kernel is larger than the padded picture"));
    }
    Ok(Geometry {
        channels_in,
        h,
        w,
        channels_out,
        kernel: [kh, kw],
        stride,
        padding,
        groups,
    })
}

struct Convolution {
    geometry: Geometry,
    input_grad: bool,
}

/// The numbers of a contiguous f32 tensor on the CPU.
pub(crate) fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        candle_core::bail!(
            "a contiguous tensor was promised, found strides {:?}",
            layout.stride()
        );
    };
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// Calls `f` with the numbers of a contiguous f32 tensor on the CPU.
pub(crate) fn with_floats<T>(
    tensor: &Tensor,
    f: impl FnOnce(&[f32]) -> candle_core::Result<T>,
) -> candle_core::Result<T> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        candle_core::Storage::Cpu(storage) => f(floats(storage, layout)?),
        _ => candle_core::bail!(
            "a tensor on the CPU was promised, found one on {:?}",
            tensor.device()
        ),
    }
}

impl CustomOp2 for Convolution {
    fn name(&self) -> &'static str {
        "dream-conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, weight) = (floats(x, x_layout)?, floats(weight, weight_layout)?);
        let g = &self.geometry;
        let n = x_layout.dims()[0]; // four dimensions: `geometry_of`
        let mut out = vec![0.0; n * g.out_len()];
        Product::forward(g, weight).run(&Source::Plain(x), &mut out, Store::Replace, |_, _| ());
        let [oh, ow] = g.out();
        Ok((CpuStorage::F32(out), Shape::from((n, g.channels_out, oh, ow))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let (g, n) = (&self.geometry, x.dim(0)?);
        with_floats(grad, |dy| {
            let dx = match self.input_grad {
                false => None,
                true => Some(with_floats(weight, |weight| {
                    let mut dx = vec![0.0; n * g.in_len()];
                    Product::input_grad(g, weight).run(
                        &Source::Plain(dy),
                        &mut dx,
                        Store::Replace,
                        |_, _| (),
                    );
                    Tensor::from_vec(dx, x.shape(), x.device())
                })?),
            };
            let dw = with_floats(x, |x| {
                let mut dw = vec![0.0; weight.elem_count()];
                weight_grad(g, &Source::Plain(x), &Source::Plain(dy), n, &mut dw);
                Tensor::from_vec(dw, weight.shape(), weight.device())
            })?;
            Ok((dx, Some(dw)))
        })
    }
}
