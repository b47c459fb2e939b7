//! Single-file checkpoints with the tensor names of the original Stable Diffusion code (CompVis): what the
//! tensors are called there, and which sizes they tell of.

mod config;
mod names;

pub(crate) use config::{scheduler, text, unet, vae};
pub(crate) use names::{Names, PREFIXES, UNET, is_harmless};
