//! A whole model from its folder: text to vectors, noise to latents, latents to pictures.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use candle_core::{DType, Tensor};

use super::error::{DiffusionError, Result};
use super::load::{load, load_vae};
use super::outline::Outline;
use super::picture::{bitmaps, interpolated, replace_if_not_finite};
use super::sampling::{Hooks, Job, Sampling};
use super::span::TokenSpan;
use super::text::TextEncoder;
use super::unet::Unet;
use super::vae::Vae;
use crate::bitmap::Bitmap;
use crate::engine::{Engine, Part};

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
    outline: Outline,
    text: TextEncoder,
    unet: Unet,
    pub(super) vae: Vae,
    /// The autoencoder in f32, where the other one is not and some picture needed it.
    exact_vae: OnceLock<Vae>,
    engine: Engine,
    /// Where the model was read from, and its tokenizer.
    from: (PathBuf, Option<PathBuf>),
    digest: [u8; 32],
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipeline")
            .field("outline", &self.outline)
            .finish_non_exhaustive()
    }
}

impl Pipeline {
    /// Reads a model: a folder in the diffusers layout (safetensors or PyTorch's `.bin`, in one file or
    /// several), or one checkpoint file of Stable Diffusion 1.x (`.safetensors` or `.ckpt`) with its
    /// tokenizer beside it. The weights may be f32, f16 or bf16.
    ///
    /// # Errors
    /// If a file is missing or damaged, or does not fit the others; the message names it.
    pub fn open(path: &Path, options: &PipelineOptions) -> Result<Self> {
        let engine = &options.engine;
        let parts = load(path, options.tokenizer, engine)?;
        Ok(Self {
            outline: parts.outline,
            text: parts.text,
            unet: parts.unet,
            vae: parts.vae,
            exact_vae: OnceLock::new(),
            engine: engine.clone(),
            from: (path.to_owned(), options.tokenizer.map(Path::to_owned)),
            digest: parts.digest,
        })
    }

    /// Returns BLAKE3 over the names and contents of all files that the model was read from.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Returns the engine that the model runs on.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Returns what is known of the model without its weights: sizes, tokenizer, noise schedule.
    pub fn outline(&self) -> &Outline {
        &self.outline
    }

    /// Returns m, the width of a token embedding.
    pub fn embedding_dim(&self) -> usize {
        self.text.width()
    }

    /// Returns T(y): the token's row of the text encoder's *input* table, m components.
    ///
    /// # Errors
    /// [`DiffusionError::TokenRange`] where the vocabulary has no such token.
    pub fn token_embedding(&self, token: u32) -> Result<Vec<f32>> {
        self.text.embedding(token).map(<[f32]>::to_vec)
    }

    /// Encodes a prompt: `[1, length, m]`. `token`: a token and the embedding that takes its place wherever
    /// it occurs.
    ///
    /// # Errors
    /// As [`Tokenizer::ids`](super::Tokenizer::ids) without a token, as [`Self::encode_batch`] with one; or
    /// the computation fails.
    pub fn encode(&self, prompt: &str, token: Option<(u32, &[f32])>) -> Result<Tensor> {
        match token {
            Some((token, vector)) => self.encode_batch(prompt, token, &[vector]),
            None => self
                .text
                .forward(&self.outline.tokenizer().ids(prompt)?, &[], &[]),
        }
    }

    /// Encodes a prompt once for each of `vectors`, which takes the place of `span` (a token's id, or the
    /// tokens of a word from [`Tokenizer::span`](super::Tokenizer::span)) wherever it occurs:
    /// `[vectors, length, m]`.
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
        let placed = span.into().place(self.outline.tokenizer(), prompt)?;
        self.text.forward(&placed.ids, &placed.places, vectors)
    }

    /// Samples latents `[b, c, h, w]` from `noise` of that shape. `cond`, `uncond`: encoded prompts `[b or 1,
    /// length, m]`.
    ///
    /// # Errors
    /// If shapes or settings do not fit the model, if a hook stops the work, or if the latents are not
    /// finite.
    pub fn sample(
        &self,
        sampling: Sampling,
        cond: &Tensor,
        uncond: &Tensor,
        noise: Tensor,
        hooks: Hooks,
    ) -> Result<Tensor> {
        let job = Job {
            unet: &self.unet,
            schedule: self.outline.schedule(),
            sampling,
            cond,
            uncond,
        };
        job.run(noise, hooks)
    }

    /// Predicts the noise in `latents` `[b, c, h, w]` at `timestep`, without guidance. `states`: `[b or 1,
    /// length, m]`.
    ///
    /// # Errors
    /// The shapes are others than these, or the computation fails.
    pub fn predict(&self, latents: &Tensor, timestep: usize, states: &Tensor) -> Result<Tensor> {
        let (batch, ..) = latents.dims4()?;
        let (_, tokens, width) = states.dims3()?;
        let states = states.expand((batch, tokens, width))?;
        self.unet.forward(latents, timestep, &self.unet.prompt(&states)?)
    }

    /// Decodes latents `[b, c, h, w]` to pictures; in half precision, those that come out with a number that
    /// is not finite are decoded once more in f32.
    ///
    /// # Errors
    /// [`DiffusionError::Shape`] for latents of another shape; the autoencoder cannot be read once more in
    /// f32; or the computation fails.
    pub fn decode(&self, latents: &Tensor) -> Result<Vec<Bitmap>> {
        bitmaps(&self.decoded(latents)?)
    }

    /// Decodes latents as [`Self::decode`] does, to pictures of another size: what is decoded is interpolated
    /// and cut off to bytes as the public code of DREAM-OOD does it.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_to(&self, latents: &Tensor, width: usize, height: usize) -> Result<Vec<Bitmap>> {
        interpolated(&self.decoded(latents)?, width, height)
    }

    /// Returns what is decoded, `[b, h, w, 3]`, values around -1 to 1.
    fn decoded(&self, latents: &Tensor) -> Result<Tensor> {
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
        let latents = latents.to_dtype(DType::F32)?;
        let images = self.vae.decode(&latents)?;
        if self.vae.dtype() == DType::F32 {
            return Ok(images);
        }
        let again = |i| self.exact_vae()?.decode(&latents.narrow(0, i, 1)?);
        replace_if_not_finite(images, again)
    }

    /// Returns the autoencoder in f32, which is read when it is first needed.
    fn exact_vae(&self) -> Result<&Vae> {
        if let Some(vae) = self.exact_vae.get() {
            return Ok(vae);
        }
        let (path, tokenizer) = &self.from;
        let engine = self.engine.part(Part::Text)?; // f32, as text encoders are
        let vae = load_vae(path, tokenizer.as_deref(), &engine)?;
        Ok(self.exact_vae.get_or_init(|| vae))
    }

    /// Encodes pictures `[b, 3, H, W]` with values in -1 to 1 to the mean of their latents `[b, c, h, w]`,
    /// scaled as the UNet knows them.
    ///
    /// # Errors
    /// [`DiffusionError::Shape`] for pictures of another shape, or of sides that are no multiples of what the
    /// autoencoder makes one latent of; or the computation fails.
    pub fn vae_encode(&self, images: &Tensor) -> Result<Tensor> {
        let multiple = self.outline.geometry().vae_scale();
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
