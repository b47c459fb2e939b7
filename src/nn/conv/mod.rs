//! Two-dimensional convolution, with shapes that are checked.

use candle_core::Tensor;

use super::{Error, Result};
use crate::engine::{ConvShape, Engine};

#[cfg(test)]
mod tests;

/// How a convolution moves over its picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvOptions {
    /// Pixels from one output to the next, each way.
    pub stride: usize,
    /// Pixels of zeros on every side.
    pub padding: usize,
    /// Groups of channels that do not see each other.
    pub groups: usize,
}

impl Default for ConvOptions {
    fn default() -> Self {
        Self {
            stride: 1,
            padding: 0,
            groups: 1,
        }
    }
}

/// Returns the convolution (cross-correlation) of `x` `[n, channels_in, h, w]` with `weight` `[channels_out,
/// channels_in / groups, kernel_h, kernel_w]`: `[n, channels_out, h', w']` with `h' = (h + 2 padding -
/// kernel_h) / stride + 1`. Any strides in memory; the gradient reaches both operands. On the CPU none is
/// computed for one that does not depend on a variable.
///
/// # Errors
/// [`Error::Convolution`] if the shapes do not fit together; candle's errors.
pub fn conv2d(engine: &Engine, x: &Tensor, weight: &Tensor, options: ConvOptions) -> Result<Tensor> {
    let shape = shape(x, weight, options)?;
    Ok(engine.conv2d(x, weight, &shape)?)
}

/// Checks the operands' shapes.
fn shape(x: &Tensor, weight: &Tensor, options: ConvOptions) -> Result<ConvShape> {
    let ConvOptions {
        stride,
        padding,
        groups,
    } = options;
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
    Ok(ConvShape {
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
