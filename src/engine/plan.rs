//! The layers of a residual network: names, shapes, and places in the flat variables.

use candle_core::{Result, Tensor, Var};

use super::raw::ConvShape;

/// Added to variances (PyTorch's default).
pub(crate) const EPSILON: f64 = 1e-5;
/// Weight of a batch in the running statistics (PyTorch's default).
pub(crate) const MOMENTUM: f64 = 0.1;

/// A convolution without bias and the batch norm after it.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    pub(crate) conv: String,
    pub(crate) norm: String,
    pub(crate) channels_in: usize,
    pub(crate) channels_out: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    /// Starts in the flat variable, and in that of the buffers.
    pub(crate) weight: usize,
    pub(crate) gamma: usize,
    pub(crate) beta: usize,
    pub(crate) mean: usize,
    pub(crate) var: usize,
}

impl Unit {
    /// A unit without a place. `[conv, norm]`: the names of its parts; `[channels_in, channels_out]`.
    pub(crate) fn new(
        [conv, norm]: [String; 2],
        [channels_in, channels_out]: [usize; 2],
        kernel: usize,
        stride: usize,
    ) -> Self {
        Self {
            conv,
            norm,
            channels_in,
            channels_out,
            kernel,
            stride,
            weight: 0,
            gamma: 0,
            beta: 0,
            mean: 0,
            var: 0,
        }
    }

    pub(crate) fn shape(&self, size: [usize; 2]) -> ConvShape {
        let channels = [self.channels_in, self.channels_out];
        ConvShape::centred(channels, self.kernel, self.stride, size)
    }

    pub(crate) fn weight_len(&self) -> usize {
        self.channels_out * self.channels_in * self.kernel * self.kernel
    }
}

/// All numbers of a network: one flat variable of those that are trained, one of the running statistics,
/// which no gradient reaches. Clones share the numbers.
#[derive(Clone, Debug)]
pub(crate) struct Variables {
    pub(crate) flat: Var,
    pub(crate) buffers: Var,
}

impl Variables {
    /// The window of a trained tensor that starts at `start`, through which a gradient reaches the flat
    /// variable.
    pub(crate) fn trained(&self, start: usize, shape: &[usize]) -> Result<Tensor> {
        window(&self.flat, start, shape)
    }

    /// The window of a running statistic.
    pub(crate) fn buffer(&self, start: usize, shape: &[usize]) -> Result<Tensor> {
        Ok(window(&self.buffers, start, shape)?.detach())
    }
}

fn window(all: &Var, start: usize, shape: &[usize]) -> Result<Tensor> {
    all.as_tensor()
        .narrow(0, start, shape.iter().product())?
        .reshape(shape)
}

/// A residual block: `relu(units(x) + shortcut(x))`, with a ReLU between units.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) units: Vec<Unit>,
    /// The shortcut's projection; the identity if there is none.
    pub(crate) projection: Option<Unit>,
}

/// The network.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) stem: Unit,
    pub(crate) pool: bool,
    pub(crate) blocks: Vec<Block>,
    /// Blocks of each stage, which follow one another.
    pub(crate) stages: Vec<usize>,
    pub(crate) features: usize,
    pub(crate) outputs: usize,
    /// Starts of the last layer's weight and bias in the flat variable.
    pub(crate) fc_weight: usize,
    pub(crate) fc_bias: usize,
}

/// Rows or columns that a convolution or pooling with padding kernel / 2 leaves.
pub(crate) fn side(size: usize, kernel: usize, stride: usize) -> usize {
    (size + 2 * (kernel / 2) - kernel) / stride + 1
}

impl Plan {
    pub(crate) fn units_mut(&mut self) -> impl Iterator<Item = &mut Unit> {
        let blocks = self
            .blocks
            .iter_mut()
            .flat_map(|b| b.units.iter_mut().chain(b.projection.as_mut()));
        std::iter::once(&mut self.stem).chain(blocks)
    }

    /// All convolutions, in the order of the forward pass.
    pub(crate) fn units(&self) -> impl Iterator<Item = &Unit> {
        let blocks = self
            .blocks
            .iter()
            .flat_map(|b| b.units.iter().chain(b.projection.as_ref()));
        std::iter::once(&self.stem).chain(blocks)
    }

    /// Pixels of the last stage for a picture of this size.
    pub(crate) fn last_area(&self, h: usize, w: usize) -> usize {
        let mut size = [h, w].map(|s| side(s, self.stem.kernel, self.stem.stride));
        if self.pool {
            size = size.map(|s| side(s, 3, 2));
        }
        for unit in self.blocks.iter().flat_map(|b| &b.units) {
            size = size.map(|s| side(s, unit.kernel, unit.stride));
        }
        size[0] * size[1]
    }
}
