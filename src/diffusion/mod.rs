//! Latent diffusion models: from a prompt, one of whose tokens may have another embedding, to pictures.
//!
//! One code for Stable Diffusion 1.x and for small models of the same make: everything is configured by the
//! model's own files in the diffusers layout, or by the shapes of a single checkpoint file's tensors
//! ([`Pipeline::open`]), and agrees with diffusers and transformers within rounding. The arithmetic is an
//! [`Engine`](crate::engine::Engine)'s: on the CPU f32, whose results are the same bits whatever the batch
//! size and the number of threads.
//!
//! ```no_run
//! # fn main() -> Result<(), dream_ood::diffusion::DiffusionError> {
//! use candle_core::{Device, Tensor};
//! use dream_ood::diffusion::{Hooks, Pipeline, PipelineOptions, Sampling};
//!
//! let pipeline = Pipeline::open("data/tiny-sd".as_ref(), &PipelineOptions::default())?;
//! let token = pipeline.outline().tokenizer().single_token("sandal")?;
//! let outlier: Vec<f32> = pipeline.token_embedding(token)?.iter().map(|v| -v).collect();
//! let cond = pipeline.encode("A high-quality image of the sandal", Some((token, &outlier)))?;
//! let uncond = pipeline.encode("", None)?;
//! let [c, h, w] = pipeline.outline().geometry().latent_shape();
//! let noise = Tensor::randn(0.0_f32, 1.0, (1, c, h, w), &Device::Cpu)?;
//! let latents = pipeline.sample(Sampling::default(), &cond, &uncond, noise, Hooks::default())?;
//! let picture = pipeline.decode(&latents)?.remove(0);
//! # assert_eq!(picture.rgb.len(), 3 * picture.width * picture.height);
//! # Ok(())
//! # }
//! ```

mod compvis;
mod config;
mod error;
mod folder;
mod geometry;
mod layers;
mod load;
mod outline;
mod part_kind;
mod picture;
mod pipeline;
mod resnet;
mod sampling;
mod scheduler;
mod span;
mod text;
mod tokenizer;
mod unet;
mod vae;
mod weights;

pub use error::{DiffusionError, Result};
pub use geometry::{Geometry, Workload};
pub use load::{is_checkpoint, is_part, weight_files};
pub use outline::Outline;
pub use part_kind::PartKind;
pub use pipeline::{Pipeline, PipelineOptions};
pub use sampling::{Hooks, OnStep, Sampling, StepNoise};
pub use scheduler::Scheduler;
pub use span::{Placing, TokenRule, TokenSpan};
pub use tokenizer::Tokenizer;

#[cfg(test)]
mod tests;
