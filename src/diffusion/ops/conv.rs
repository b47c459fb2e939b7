//! Two-dimensional convolution.
//!
//! A convolution is a matrix product whose left rows are pixels and whose depth is (tap, channel): with the channels last
//! each tap of a pixel is one slice of the image (or of zeros outside it), so no im2col copy is made, and the nearest
//! upsampling of a decoder costs nothing. A 3x3 kernel that keeps the size takes less than half of the products by
//! [`winograd`](super::winograd).

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::matrix::{Plus, Product, Rows, add_bias, add_plain, run_packed};
use super::winograd::{Image, Winograd};
use super::{Backend, View, cuda};
use crate::diffusion::error;
use crate::diffusion::weights::Scope;
use crate::simd::Packed;
use half::f16;

/// How a convolution moves over its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stride {
    /// Same size; the kernel's half of zeros around.
    Same,
    /// Half the size, one pixel of zeros around.
    Half,
    /// Half the size, zeros only right and below (the encoder of a VAE).
    HalfAfter,
    /// Twice the size: each pixel doubled both ways, then as [`Stride::Same`].
    Double,
}

enum Weight {
    Packed {
        weight: Packed,
        bias: Vec<f32>,
    },
    Winograd {
        weight: Winograd,
        bias: Vec<f32>,
    },
    Plain {
        weight: Tensor,
        bias: Tensor,
    },
    /// f16 `[outputs, padded / 64, taps, 64]`, and an f32 bias.
    Half {
        weight: Tensor,
        bias: Tensor,
        padded: usize,
    },
}

/// A two-dimensional convolution.
pub(crate) struct Conv {
    inputs: usize,
    outputs: usize,
    kernel: usize,
    stride: Stride,
    weight: Weight,
}

struct Pixels<'a> {
    data: &'a [f32],
    zeros: &'a [f32],
    channels: usize,
    /// Input height and width.
    from: [usize; 2],
    /// Output height and width.
    to: [usize; 2],
    kernel: usize,
    stride: Stride,
}

impl<'a> Rows<'a> for Pixels<'a> {
    #[inline]
    fn taps(&self, row: usize, mut set: impl FnMut(&'a [f32])) {
        let [height, width] = self.to;
        let (image, y, x) = (row / (height * width), row / width % height, row % width);
        let (step, before, double) = match self.stride {
            Stride::Same => (1, self.kernel / 2, 0),
            Stride::Half => (2, self.kernel / 2, 0),
            Stride::HalfAfter => (2, 0, 0),
            Stride::Double => (1, self.kernel / 2, 1),
        };
        let [rows, columns] = self.from;
        // A negative position wraps to a huge one, which is outside as well.
        for tap_y in 0..self.kernel {
            let y = (y * step + tap_y).wrapping_sub(before);
            for tap_x in 0..self.kernel {
                let x = (x * step + tap_x).wrapping_sub(before);
                if y >= rows << double || x >= columns << double {
                    set(self.zeros);
                } else {
                    let at = ((image * rows + (y >> double)) * columns + (x >> double)) * self.channels;
                    set(&self.data[at..at + self.channels]);
                }
            }
        }
    }
}

impl Conv {
    /// Reads `weight` `[outputs, inputs, kernel, kernel]` and `bias`.
    pub(crate) fn load(
        scope: &Scope,
        inputs: usize,
        outputs: usize,
        kernel: usize,
        stride: Stride,
    ) -> error::Result<Self> {
        let shape = [outputs, inputs, kernel, kernel];
        scope.expect("weight", &[&shape])?;
        let mut scratch = scope.scratch();
        let weights = scratch.numbers(shape.iter().product());
        scope.read("weight", &[&shape], weights)?;
        let bias = scope.tensor("bias", &[outputs])?;
        let Backend { device, fused, half } = scope.backend();
        let taps = kernel * kernel;
        let keeps_size = matches!(stride, Stride::Same | Stride::Double);
        let weight = if *half {
            let padded = inputs.next_multiple_of(cuda::CHANNELS);
            let mut packed = vec![f16::ZERO; outputs * padded * taps];
            packed
                .par_chunks_mut(padded * taps)
                .zip(weights.par_chunks(inputs * taps))
                .for_each(|(to, from)| {
                    for (i, from) in from.chunks_exact(taps).enumerate() {
                        let (chunk, lane) = (i / cuda::CHANNELS, i % cuda::CHANNELS);
                        for (tap, value) in from.iter().enumerate() {
                            to[(chunk * taps + tap) * cuda::CHANNELS + lane] = f16::from_f32(*value);
                        }
                    }
                });
            let shape = (outputs, padded / cuda::CHANNELS, taps, cuda::CHANNELS);
            Weight::Half {
                weight: Tensor::from_vec(packed, shape, device)?,
                bias: Tensor::from_vec(bias, outputs, device)?,
                padded,
            }
        } else if !*fused {
            Weight::Plain {
                weight: Tensor::from_slice(weights, (outputs, inputs, kernel, kernel), device)?,
                bias: Tensor::from_vec(bias, outputs, device)?,
            }
        } else if kernel == 3 && keeps_size && Winograd::suits(inputs, outputs) {
            Weight::Winograd {
                weight: Winograd::new(weights, inputs, outputs),
                bias,
            }
        } else {
            Weight::Packed {
                weight: Packed::new(taps * inputs, outputs, |k, n| {
                    weights[(n * inputs + k % inputs) * taps + k / inputs]
                }),
                bias,
            }
        };
        Ok(Self {
            inputs,
            outputs,
            kernel,
            stride,
            weight,
        })
    }

    /// Applies the convolution to `[batch, h, w, inputs]`.
    pub(crate) fn forward(&self, x: &Tensor, plus: Plus) -> Result<Tensor> {
        let (batch, rows, columns, channels) = x.dims4()?;
        if channels != self.inputs {
            candle_core::bail!(
                "a convolution of {} channels cannot take {:?}",
                self.inputs,
                x.dims()
            );
        }
        let [height, width] = [rows, columns].map(|n| match self.stride {
            Stride::Same => n,
            Stride::Half => n.div_ceil(2),
            Stride::HalfAfter => n / 2,
            Stride::Double => 2 * n,
        });
        let dims = [batch, height, width, self.outputs];
        match &self.weight {
            Weight::Packed { weight, bias } => {
                let zeros = vec![0.0; channels];
                run_packed(x, "convolution", plus, &dims, |x, extra, residual, out| {
                    let bias = add_bias(Some(bias), extra);
                    let product = Product {
                        taps: self.kernel * self.kernel,
                        depth: channels,
                        packed: weight,
                        bias: bias.as_deref(),
                        residual,
                    };
                    let pixels = Pixels {
                        data: x.data,
                        zeros: &zeros,
                        channels,
                        from: [rows, columns],
                        to: [height, width],
                        kernel: self.kernel,
                        stride: self.stride,
                    };
                    product.run(&pixels, out);
                })
            }
            Weight::Winograd { weight, bias } => {
                run_packed(x, "convolution", plus, &dims, |x: View, extra, residual, out| {
                    let bias = add_bias(Some(bias), extra);
                    let image = Image {
                        data: x.data,
                        rows,
                        columns,
                        double: self.stride == Stride::Double,
                    };
                    weight.run(&image, bias.as_deref(), residual, out);
                })
            }
            Weight::Half { weight, bias, padded } => {
                let (stride, before) = match self.stride {
                    Stride::Same | Stride::Double => (1, self.kernel / 2),
                    Stride::Half => (2, self.kernel / 2),
                    Stride::HalfAfter => (2, 0),
                };
                let window = cuda::Window {
                    kernel: self.kernel,
                    stride,
                    before,
                    twice: self.stride == Stride::Double,
                    to: [height, width],
                };
                let x = match channels == *padded {
                    true => x.contiguous()?,
                    false => x.pad_with_zeros(3, 0, padded - channels)?.contiguous()?,
                };
                let (extra, residual) = match plus {
                    Plus::Nothing => (None, None),
                    Plus::Channels(c) => (Some(c), None),
                    Plus::Residual(r) => (None, Some(r)),
                };
                cuda::gpu(x.device())?.conv(&x, [weight, bias], window, extra, residual)
            }
            Weight::Plain { weight, bias } => {
                let x = x.permute((0, 3, 1, 2))?;
                let half = self.kernel / 2;
                let y = match self.stride {
                    Stride::Same => x.contiguous()?.conv2d(weight, half, 1, 1, 1)?,
                    Stride::Half => x.contiguous()?.conv2d(weight, half, 2, 1, 1)?,
                    Stride::HalfAfter => {
                        let x = x.pad_with_zeros(2, 0, 1)?.pad_with_zeros(3, 0, 1)?;
                        x.contiguous()?.conv2d(weight, 0, 2, 1, 1)?
                    }
                    Stride::Double => x
                        .contiguous()?
                        .upsample_nearest2d(height, width)?
                        .conv2d(weight, half, 1, 1, 1)?,
                };
                add_plain(y.permute((0, 2, 3, 1))?.contiguous()?, Some(bias), plus)
            }
        }
    }
}
