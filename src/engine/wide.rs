//! The layers of a wide residual network, whose norms stand before their convolutions: names, shapes, and
//! places in the flat variables.

use super::raw::ConvShape;

/// A batch norm and the ReLU behind it.
#[derive(Clone, Debug)]
pub(crate) struct Norm {
    pub(crate) name: String,
    pub(crate) channels: usize,
    /// Starts in the flat variable, and in that of the buffers.
    pub(crate) gamma: usize,
    pub(crate) beta: usize,
    pub(crate) mean: usize,
    pub(crate) var: usize,
}

impl Norm {
    /// A norm without a place.
    pub(crate) fn new(name: String, channels: usize) -> Self {
        let (gamma, beta, mean, var) = (0, 0, 0, 0);
        Self {
            name,
            channels,
            gamma,
            beta,
            mean,
            var,
        }
    }
}

/// A convolution without bias.
#[derive(Clone, Debug)]
pub(crate) struct Conv {
    pub(crate) name: String,
    pub(crate) channels_in: usize,
    pub(crate) channels_out: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    /// Start in the flat variable.
    pub(crate) weight: usize,
}

impl Conv {
    /// A convolution without a place, of `[channels_in, channels_out]`.
    pub(crate) fn new(
        name: String,
        [channels_in, channels_out]: [usize; 2],
        kernel: usize,
        stride: usize,
    ) -> Self {
        let weight = 0;
        Self {
            name,
            channels_in,
            channels_out,
            kernel,
            stride,
            weight,
        }
    }

    pub(crate) fn shape(&self, size: [usize; 2]) -> ConvShape {
        let channels = [self.channels_in, self.channels_out];
        ConvShape::centred(channels, self.kernel, self.stride, size)
    }
}

/// A block: `conv2(norm2(conv1(norm1(x)))) + shortcut`, where the shortcut is `x`, or where channels change a
/// convolution of `norm1(x)`.
#[derive(Clone, Debug)]
pub(crate) struct WideBlock {
    pub(crate) norms: [Norm; 2],
    pub(crate) convs: [Conv; 2],
    pub(crate) projection: Option<Conv>,
}

/// The network.
#[derive(Clone, Debug)]
pub(crate) struct WidePlan {
    pub(crate) stem: Conv,
    pub(crate) blocks: Vec<WideBlock>,
    /// The norm behind the last block.
    pub(crate) last: Norm,
    pub(crate) features: usize,
    pub(crate) outputs: usize,
    /// Starts of the last layer's weight and bias in the flat variable.
    pub(crate) fc_weight: usize,
    pub(crate) fc_bias: usize,
}

impl WidePlan {
    pub(crate) fn norms(&self) -> impl Iterator<Item = &Norm> {
        let blocks = self.blocks.iter().flat_map(|block| &block.norms);
        blocks.chain([&self.last])
    }

    pub(crate) fn norms_mut(&mut self) -> impl Iterator<Item = &mut Norm> {
        let blocks = self.blocks.iter_mut().flat_map(|block| &mut block.norms);
        blocks.chain([&mut self.last])
    }

    /// All convolutions, in the order of the forward pass.
    pub(crate) fn convs(&self) -> impl Iterator<Item = &Conv> {
        let blocks = self.blocks.iter();
        let blocks = blocks.flat_map(|block| block.projection.iter().chain(&block.convs));
        [&self.stem].into_iter().chain(blocks)
    }

    pub(crate) fn convs_mut(&mut self) -> impl Iterator<Item = &mut Conv> {
        let blocks = self.blocks.iter_mut();
        let blocks = blocks.flat_map(|block| block.projection.iter_mut().chain(&mut block.convs));
        [&mut self.stem].into_iter().chain(blocks)
    }
}
