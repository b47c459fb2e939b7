//! A whole model from its folder: text to vectors, noise to latents, latents to pictures.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use candle_core::{DType, Tensor};

use super::error::{DiffusionError, Result};
use super::geometry::Geometry;
use super::load::{is_checkpoint, load, weight_files};
use super::picture::Picture;
use super::sampling::{Job, Sampling, StepNoise};
use super::scheduler::Schedule;
use super::span::{Placing, TokenSpan};
use super::text::TextEncoder;
use super::tokenizer::Tokenizer;
use super::unet::Unet;
use super::vae::Vae;
use crate::engine::Engine;
use crate::rng::Stream;

/// How to read a model.
#[derive(Clone, Debug, Default)]
pub struct PipelineOptions<'a> {
    /// What computes it.
    pub engine: Engine,
    /// The folder of its tokenizer, if that is not in the model's folder or beside its file.
    pub tokenizer: Option<&'a Path>,
}

/// A latent diffusion model in memory.
pub struct Pipeline {
    tokenizer: Tokenizer,
    text: TextEncoder,
    unet: Unet,
    pub(super) vae: Vae,
    schedule: Schedule,
    engine: Engine,
    digest: [u8; 32],
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipeline")
            .field("latent_shape", &self.latent_shape())
            .finish_non_exhaustive()
    }
}

/// Returns the `count` numbers of the noise that image `index` of `class` starts from. A smaller latent starts from the first
/// of the numbers that a larger one starts from.
pub fn initial_noise(seed: u64, class: u32, index: u64, count: usize) -> Vec<f32> {
    Stream::new(seed, "imagine/noise", class, index).normals(count)
}

impl Pipeline {
    /// Reads a model: a folder in the diffusers layout (safetensors or PyTorch's `.bin`, in one file or several), or one
    /// checkpoint file of Stable Diffusion 1.x (`.safetensors` or `.ckpt`) with its tokenizer beside it. The weights may be
    /// f32, f16 or bf16.
    ///
    /// # Errors
    /// If a file is missing or damaged, or does not fit the others; the message names it.
    pub fn open(path: &Path, options: &PipelineOptions) -> Result<Self> {
        let engine = &options.engine;
        let parts = load(path, options.tokenizer, engine)?;
        Ok(Self {
            tokenizer: parts.tokenizer,
            text: parts.text,
            unet: parts.unet,
            vae: parts.vae,
            schedule: parts.schedule,
            engine: engine.clone(),
            digest: parts.digest,
        })
    }

    /// Returns the files that [`Self::open`] would take the weights of `path` from: for each part the plain file where there
    /// is one, else a variant (`fp16`, `bf16`, `non_ema`), or the index of several.
    pub fn weight_files(path: &Path) -> Vec<PathBuf> {
        weight_files(path)
    }

    /// Says whether `path` is a checkpoint file with a whole model in it, of the original Stable Diffusion code's tensor names.
    pub fn is_checkpoint(path: &Path) -> bool {
        is_checkpoint(path)
    }

    /// Returns BLAKE3 over the names and contents of all files that the model was read from.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Returns the engine that the model runs on.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Returns the tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Returns m, the width of a token embedding.
    pub fn embedding_dim(&self) -> usize {
        self.text.width()
    }

    /// Returns T(y): the token's row of the text encoder's *input* table, m components.
    pub fn token_embedding(&self, token: u32) -> Result<Vec<f32>> {
        self.text.embedding(token).map(<[f32]>::to_vec)
    }

    /// Returns the sizes of the model.
    pub fn geometry(&self) -> Geometry {
        Geometry::new(self.tokenizer.length(), self.unet.config(), self.vae.config())
    }

    /// Returns `[channels, height, width]` of the latents that the model was trained on.
    pub fn latent_shape(&self) -> [usize; 3] {
        self.geometry().latent_shape()
    }

    /// Returns the pixels that a latent pixel stands for, each way.
    pub fn vae_scale(&self) -> usize {
        self.vae.config().scale()
    }

    /// Returns `[height, width]` of the pictures that the model was trained on.
    pub fn image_size(&self) -> [usize; 2] {
        self.geometry().image_size()
    }

    /// Encodes a prompt: `[1, length, m]`. `token`: a token and the embedding that takes its place wherever it occurs.
    pub fn encode(&self, prompt: &str, token: Option<(u32, &[f32])>) -> Result<Tensor> {
        match token {
            Some((token, vector)) => self.encode_batch(prompt, token, &[vector]),
            None => self.text.forward(&self.tokenizer.ids(prompt)?, &[], &[]),
        }
    }

    /// Returns where a class word stands in a prompt: every occurrence gives way to a vector.
    ///
    /// # Errors
    /// If it does not occur.
    pub fn placing(&self, prompt: &str, span: &TokenSpan) -> Result<Placing> {
        span.placing(&self.tokenizer, prompt)
    }

    /// Encodes a prompt once for each of `vectors`, which takes the place of `span` (a token's id, or the tokens of a word
    /// from [`Tokenizer::span`]) wherever it occurs: `[vectors, length, m]`.
    ///
    /// # Errors
    /// If the word does not occur in the prompt, or a vector has the wrong width or is not finite.
    pub fn encode_batch(
        &self,
        prompt: &str,
        span: impl Into<TokenSpan>,
        vectors: &[&[f32]],
    ) -> Result<Tensor> {
        let expected = self.embedding_dim();
        for (index, vector) in vectors.iter().enumerate() {
            if vector.len() != expected {
                return Err(DiffusionError::VectorWidth {
                    index,
                    expected,
                    found: vector.len(),
                });
            }
            if let Some(component) = vector.iter().position(|v| !v.is_finite()) {
                let value = vector[component]; // found there
                return Err(DiffusionError::NonFiniteVector {
                    index,
                    component,
                    value,
                });
            }
        }
        if vectors.is_empty() {
            return Err(DiffusionError::Setting {
                setting: "vectors",
                found: "none".into(),
                expected: "at least one; encode a prompt as it is with `encode(prompt, None)`".into(),
            });
        }
        let placed = span.into().place(&self.tokenizer, prompt)?;
        self.text.forward(&placed.ids, &placed.places, vectors)
    }

    /// Returns the noise that image `index` of `class` starts from, `[1, c, h, w]`, at the size that the model was trained on.
    pub fn initial_noise(&self, seed: u64, class: u32, index: u64) -> Result<Tensor> {
        let [_, h, w] = self.latent_shape();
        self.initial_noise_at(seed, class, index, [h, w])
    }

    /// Returns the noise that image `index` of `class` starts from, `[1, c, h, w]`, for latents of `[h, w]`.
    pub fn initial_noise_at(&self, seed: u64, class: u32, index: u64, [h, w]: [usize; 2]) -> Result<Tensor> {
        let c = self.unet.config().in_channels;
        let normals = initial_noise(seed, class, index, c * h * w);
        Ok(Tensor::from_vec(normals, (1, c, h, w), self.engine.device())?)
    }

    /// Returns the noise that a stochastic scheduler adds after evaluation `step` of image `index` of `class`, `[1, c, h, w]`.
    pub fn step_noise_at(
        &self,
        seed: u64,
        class: u32,
        index: u64,
        [h, w]: [usize; 2],
        step: usize,
    ) -> Result<Tensor> {
        let c = self.unet.config().in_channels;
        let domain = format!("imagine/step-noise/{step}");
        let normals = Stream::new(seed, &domain, class, index).normals(c * h * w);
        Ok(Tensor::from_vec(normals, (1, c, h, w), self.engine.device())?)
    }

    /// Samples latents `[b, c, h, w]` from `noise` of that shape. `cond`, `uncond`: encoded prompts `[b or 1, length, m]`.
    /// `on_step` hears of each evaluation of the model (from 0) and may stop the work.
    pub fn sample(
        &self,
        sampling: Sampling,
        cond: &Tensor,
        uncond: &Tensor,
        noise: Tensor,
        on_step: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Tensor> {
        self.job(sampling, cond, uncond).run(noise, None, on_step)
    }

    /// Samples as [`Self::sample`] does, with a source of the noise that a stochastic scheduler adds.
    pub fn sample_with_noise(
        &self,
        sampling: Sampling,
        cond: &Tensor,
        uncond: &Tensor,
        noise: Tensor,
        step_noise: &mut StepNoise,
        on_step: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Tensor> {
        self.job(sampling, cond, uncond)
            .run(noise, Some(step_noise), on_step)
    }

    fn job<'a>(&'a self, sampling: Sampling, cond: &'a Tensor, uncond: &'a Tensor) -> Job<'a> {
        Job {
            unet: &self.unet,
            schedule: &self.schedule,
            sampling,
            cond,
            uncond,
        }
    }

    /// Returns how often [`Self::sample`] evaluates the model, which is how often it calls `on_step`.
    pub fn evaluations(&self, sampling: Sampling) -> Result<usize> {
        self.schedule.evaluations(sampling)
    }

    /// Predicts the noise in `latents` `[b, c, h, w]` at `timestep`, without guidance. `states`: `[b or 1, length, m]`.
    pub fn predict(&self, latents: &Tensor, timestep: usize, states: &Tensor) -> Result<Tensor> {
        let (batch, ..) = latents.dims4()?;
        let (_, tokens, width) = states.dims3()?;
        let states = states.expand((batch, tokens, width))?;
        self.unet.forward(latents, timestep, &self.unet.prompt(&states)?)
    }

    /// Decodes latents `[b, c, h, w]` to pictures.
    pub fn decode(&self, latents: &Tensor) -> Result<Vec<Picture>> {
        let channels = self.vae.config().latent_channels;
        match latents.dims() {
            [b, c, h, w] if *b > 0 && *c == channels && *h > 0 && *w > 0 => {}
            _ => {
                return Err(DiffusionError::Shape {
                    what: "latents",
                    expected: format!("[batch, {channels}, height, width]"),
                    found: latents.dims().to_vec(),
                });
            }
        }
        Picture::from_batch(&self.vae.decode(&latents.to_dtype(DType::F32)?)?)
    }

    /// Encodes pictures `[b, 3, H, W]` with values in -1 to 1 to the mean of their latents `[b, c, h, w]`, scaled as the
    /// UNet knows them.
    pub fn vae_encode(&self, images: &Tensor) -> Result<Tensor> {
        let multiple = self.vae_scale();
        match images.dims() {
            [b, 3, h, w] if *b > 0 && *h > 0 && *w > 0 && h % multiple == 0 && w % multiple == 0 => {}
            _ => {
                return Err(DiffusionError::Shape {
                    what: "images",
                    expected: format!("[batch, 3, height, width], both multiples of {multiple}"),
                    found: images.dims().to_vec(),
                });
            }
        }
        self.vae.encode(images)
    }
}
