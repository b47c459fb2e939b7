//! What can be chosen of an engine. The precision changes results, so whoever sets it keeps it on record; the
//! rest changes the speed alone.

use crate::words::words;

words! {
    /// How the products of a network are made.
    pub enum Precision {
        /// f32 throughout.
        F32 = "f32",
        /// f32 numbers, products of their upper 19 bits in the tensor cores (PyTorch's default for
        /// convolutions).
        Tf32 = "tf32",
        /// Weights and activations as f16, sums as f32.
        F16 = "f16",
        /// Activations and packed weights as bf16, sums and everything else f32.
        Bf16 = "bf16",
    }
}

words! {
    /// The kinds of processors that there are engines for.
    pub enum Processor {
        /// The machine's own.
        Cpu = "cpu",
        /// A GPU of NVIDIA's.
        Cuda = "cuda",
    }
}

/// What is computed, as far as precisions go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A diffusion model: of f16 its UNet and autoencoder, while the text encoder stays f32.
    Diffusion,
    /// A residual network whose channels are multiples of 8.
    Residual,
    /// Any other network.
    Other,
}

impl Work {
    /// Returns the precisions in which this can be done, the usual one first.
    pub const fn precisions(self, on: Processor) -> &'static [Precision] {
        match (self, on) {
            (Self::Diffusion, Processor::Cuda) => &[Precision::F16, Precision::F32],
            (Self::Residual, Processor::Cuda) => &[Precision::Tf32, Precision::Bf16, Precision::F32],
            (Self::Diffusion | Self::Residual, Processor::Cpu) | (Self::Other, _) => &[Precision::F32],
        }
    }

    /// Returns the precision in which this is done where none is asked for.
    pub const fn usual(self, on: Processor) -> Precision {
        self.precisions(on)[0]
    }
}

/// Choices of the CUDA engine; the others have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How products are made.
    pub precision: Precision,
    /// Whether an evaluation in half precision is recorded once and then repeated with one call.
    pub graph: bool,
    /// Whether the kernels for compute capability 9.0 are used where the GPU has it.
    pub hopper: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            precision: Precision::F32,
            graph: true,
            hopper: true,
        }
    }
}

/// A part of a diffusion model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The text encoder.
    Text,
    /// The denoising network.
    Unet,
    /// The autoencoder.
    Vae,
}
