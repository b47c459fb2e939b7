//! Two-dimensional convolution.
//!
//! A convolution is a matrix product whose left rows are pixels and whose depth is (tap, channel): with the
//! channels last each tap of a pixel is one slice of the image (or of zeros outside it), so no im2col copy is
//! made, and the nearest upsampling of a decoder costs nothing. A 3x3 kernel that keeps the size takes less
//! than half of the products by [`winograd`](super::winograd).

use candle_core::{Result, Tensor};

use super::matrix::{Product, Rows, add_bias, run_packed};
use super::op::View;
use super::winograd::{Image, Winograd};
use crate::engine::layers::Weighted;
use crate::engine::raw::{Plus, RawConv, Stride};
use crate::engine::simd::Packed;

enum Weight {
    Packed(Packed),
    Winograd(Winograd),
}

/// A two-dimensional convolution over a packed matrix, or over transformed weights.
pub(super) struct Conv {
    kernel: usize,
    stride: Stride,
    weight: Weight,
    bias: Vec<f32>,
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
    pub(super) fn new(raw: &RawConv) -> Self {
        let RawConv {
            inputs,
            outputs,
            kernel,
            stride,
            ..
        } = *raw;
        let taps = kernel * kernel;
        let keeps_size = matches!(stride, Stride::Same | Stride::Double);
        let weight = if kernel == 3 && keeps_size && Winograd::suits(inputs, outputs) {
            Weight::Winograd(Winograd::new(raw.weight, inputs, outputs))
        } else {
            Weight::Packed(Packed::new(taps * inputs, outputs, |k, n| {
                raw.weight[(n * inputs + k % inputs) * taps + k / inputs]
            }))
        };
        Self {
            kernel,
            stride,
            weight,
            bias: raw.bias.to_vec(),
        }
    }
}

impl Weighted for Conv {
    fn forward(&self, x: &Tensor, plus: Plus, dims: &[usize]) -> Result<Tensor> {
        let (_, rows, columns, channels) = x.dims4()?;
        match &self.weight {
            Weight::Packed(weight) => {
                let zeros = vec![0.0; channels];
                run_packed(x, "convolution", plus, dims, |x, extra, residual, out| {
                    let bias = add_bias(Some(&self.bias), extra);
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
                        to: [rows, columns].map(|n| self.stride.side(n)),
                        kernel: self.kernel,
                        stride: self.stride,
                    };
                    product.run(&pixels, out);
                })
            }
            Weight::Winograd(weight) => {
                run_packed(x, "convolution", plus, dims, |x: View, extra, residual, out| {
                    let bias = add_bias(Some(&self.bias), extra);
                    let image = Image {
                        data: x.data,
                        rows,
                        columns,
                        double: self.stride == Stride::Double,
                    };
                    weight.run(&image, bias.as_deref(), residual, out);
                })
            }
        }
    }
}
