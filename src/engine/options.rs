//! What can be chosen of an engine. All of it changes results but for `graph` and `hopper`'s speed, so
//! whoever sets it keeps it on record.

/// Choices of the CUDA engine; the others have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Which parts of a diffusion model work in half precision.
    pub half: Half,
    /// Whether an evaluation in half precision is recorded once and then repeated with one call.
    pub graph: bool,
    /// Whether the kernels for compute capability 9.0 are used where the GPU has it.
    pub hopper: bool,
    /// How the products of a residual network are made.
    pub residual: Precision,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            half: Half::Nothing,
            graph: false,
            hopper: true,
            residual: Precision::Tf32,
        }
    }
}

/// The parts of a diffusion model that keep weights and activations as f16; sums are f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Half {
    /// None.
    #[default]
    Nothing,
    /// The denoising network.
    Unet,
    /// The denoising network and the autoencoder.
    UnetAndVae,
}

impl Half {
    /// Whether `part` is among them.
    pub fn includes(self, part: Part) -> bool {
        match part {
            Part::Text => false,
            Part::Unet => self != Self::Nothing,
            Part::Vae => self == Self::UnetAndVae,
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

/// How products are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Precision {
    /// f32 throughout.
    F32,
    /// f32 numbers, products of their upper bits in the tensor cores (PyTorch's default for convolutions).
    Tf32,
    /// Activations and packed weights as bf16, sums and everything else f32.
    Bf16,
}
