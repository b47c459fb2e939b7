//! Convolutions of a network, as whoever computes them is told of them.

use crate::engine::options::Precision;
use crate::engine::plan::side;

/// What of a convolution is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::engine::cuda) enum Direction {
    /// The output, of input and weights.
    Forward,
    /// The gradient of the input, of the output's and the weights.
    Input,
    /// The gradient of the weights, of the output's and the input.
    Weight,
}

/// Bytes of a number of the activations.
pub(in crate::engine::cuda) fn bytes(precision: Precision) -> usize {
    match precision {
        Precision::Bf16 => 2,
        Precision::F32 | Precision::Tf32 | Precision::F16 => 4,
    }
}

/// The shape of a convolution over channels-last numbers: input `[n, h, w, c]`, weights `[k, kernel, kernel,
/// c]`, padding `kernel / 2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::engine::cuda) struct Shape {
    pub(in crate::engine::cuda) n: usize,
    pub(in crate::engine::cuda) c: usize,
    pub(in crate::engine::cuda) h: usize,
    pub(in crate::engine::cuda) w: usize,
    pub(in crate::engine::cuda) k: usize,
    pub(in crate::engine::cuda) kernel: usize,
    pub(in crate::engine::cuda) stride: usize,
}

impl Shape {
    /// Height and width of the output.
    pub(in crate::engine::cuda) fn out(&self) -> [usize; 2] {
        [self.h, self.w].map(|s| side(s, self.kernel, self.stride))
    }
}
