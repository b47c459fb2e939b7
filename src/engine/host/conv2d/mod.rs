//! Two-dimensional convolution with the channels first, with a fast forward and backward pass: register tiles
//! (`kernel`) that read a zero-padded copy of one sample (`geometry`).

mod geometry;
mod kernel;
mod products;
mod source;
mod weights;

use candle_core::{Result, Tensor};

pub(super) use self::products::{Product, WriteMode};
pub(super) use self::source::Source;
pub(super) use self::weights::weight_grad;
use super::op::{Differentiable, Gradients, Output, View, differentiable};
use crate::engine::raw::ConvShape;

/// The convolution of `x` `[n, channels_in, h, w]` with `weight` `[channels_out, channels_in / groups,
/// kernel_h, kernel_w]`, both f32. No gradient is computed for an operand that does not depend on a variable.
pub(super) fn conv2d(x: &Tensor, weight: &Tensor, shape: &ConvShape) -> Result<Tensor> {
    let op = Convolution {
        shape: *shape,
        input_grad: x.track_op(),
        weight_grad: weight.track_op(),
    };
    differentiable(x, weight, op)
}

struct Convolution {
    shape: ConvShape,
    input_grad: bool,
    weight_grad: bool,
}

impl Differentiable for Convolution {
    const NAME: &'static str = "dream-conv2d";

    fn forward(&self, x: View, weight: View) -> Output {
        let g = &self.shape;
        let n = x.dims[0]; // four dimensions, as the caller has checked
        let mut out = vec![0.0; n * g.out_len()];
        Product::forward(g, weight.data).run(&Source::Plain(x.data), &mut out, WriteMode::Replace, |_, _| ());
        let [oh, ow] = g.out();
        Ok((out, (n, g.channels_out, oh, ow).into()))
    }

    fn backward(&self, x: View, weight: View, dy: &[f32]) -> Result<Gradients> {
        let (g, n) = (&self.shape, x.dims[0]);
        let dx = self.input_grad.then(|| {
            let mut dx = vec![0.0; n * g.in_len()];
            let product = Product::input_grad(g, weight.data);
            product.run(&Source::Plain(dy), &mut dx, WriteMode::Replace, |_, _| ());
            dx
        });
        let dw = self.weight_grad.then(|| {
            let mut dw = vec![0.0; weight.data.len()];
            weight_grad(g, &Source::Plain(x.data), &Source::Plain(dy), n, &mut dw);
            dw
        });
        Ok((dx, dw))
    }
}
