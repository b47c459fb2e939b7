//! A whole model from its folder: text to vectors, noise to latents, latents to pictures.

use std::ops::ControlFlow;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use serde::Deserialize;

use super::config::{TextConfig, UnetConfig, VaeConfig};
use super::error::{DiffusionError, Result};
use super::files::Folder;
use super::geometry::Geometry;
use super::ops::Backend;
use super::picture::Picture;
use super::sampling::{Job, Sampling, StepNoise};
use super::scheduler::{Schedule, SchedulerConfig};
use super::text::TextEncoder;
use super::tokenizer::Tokenizer;
use super::unet::Unet;
use super::vae::Vae;
use super::weights::Weights;
use crate::rng::Stream;

/// A latent diffusion model in memory.
pub struct Pipeline {
    tokenizer: Tokenizer,
    text: TextEncoder,
    unet: Unet,
    pub(super) vae: Vae,
    schedule: Schedule,
    device: Device,
    digest: [u8; 32],
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipeline")
            .field("latent_shape", &self.latent_shape())
            .finish_non_exhaustive()
    }
}

/// `model_index.json`: each part's library and class.
#[derive(Deserialize)]
struct ModelIndex {
    text_encoder: (String, String),
    unet: (String, String),
    vae: (String, String),
}

const TEXT_FILES: [&str; 2] = [
    "text_encoder/model.safetensors",
    "text_encoder/model.fp16.safetensors",
];
const UNET_FILES: [&str; 2] = [
    "unet/diffusion_pytorch_model.safetensors",
    "unet/diffusion_pytorch_model.fp16.safetensors",
];
const VAE_FILES: [&str; 2] = [
    "vae/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.fp16.safetensors",
];

/// Returns the `count` numbers of the noise that image `index` of `class` starts from. A smaller latent starts from the first
/// of the numbers that a larger one starts from.
pub fn initial_noise(seed: u64, class: u32, index: u64, count: usize) -> Vec<f32> {
    Stream::new(seed, "imagine/noise", class, index).normals(count)
}

impl Pipeline {
    /// Reads a model in the diffusers layout (safetensors in f32, f16 or bf16). The arithmetic is f32.
    pub fn load(dir: &Path, device: &Device) -> Result<Self> {
        Self::load_on(dir, &Backend::new(device))
    }

    pub(crate) fn load_on(dir: &Path, backend: &Backend) -> Result<Self> {
        let mut folder = Folder::new(dir);
        let index: ModelIndex = folder.json("model_index.json")?;
        for (key, (_, found), supported) in [
            ("text_encoder", index.text_encoder, "CLIPTextModel"),
            ("unet", index.unet, "UNet2DConditionModel"),
            ("vae", index.vae, "AutoencoderKL"),
        ] {
            if found != supported {
                let path = folder.path("model_index.json");
                return Err(DiffusionError::Unsupported {
                    path,
                    key: key.into(),
                    found,
                    supported,
                });
            }
        }
        let text_config: TextConfig = folder.json("text_encoder/config.json")?;
        text_config.check(&folder.path("text_encoder/config.json"))?;
        let unet_config: UnetConfig = folder.json("unet/config.json")?;
        unet_config.check(&folder.path("unet/config.json"))?;
        let vae_config: VaeConfig = folder.json("vae/config.json")?;
        vae_config.check(&folder.path("vae/config.json"))?;
        let disagreement = |message: String| DiffusionError::Config {
            path: folder.path("unet/config.json"),
            message,
        };
        if unet_config.cross_attention_dim != text_config.hidden_size {
            return Err(disagreement(format!(
                "cross_attention_dim = {}, but the text encoder's hidden_size is {}",
                unet_config.cross_attention_dim, text_config.hidden_size
            )));
        }
        let channels = [
            unet_config.in_channels,
            unet_config.out_channels,
            vae_config.latent_channels,
        ];
        if channels.iter().any(|c| *c != channels[0]) {
            return Err(disagreement(format!(
                "in_channels, out_channels and the VAE's latent_channels differ: {channels:?}"
            )));
        }
        let scheduler: SchedulerConfig = folder.json("scheduler/scheduler_config.json")?;
        let schedule = scheduler.schedule(&folder.path("scheduler/scheduler_config.json"))?;
        let tokenizer = Tokenizer::load(&mut folder, text_config.max_position_embeddings)?;

        // One part after another: the file's bytes are freed before the next is read.
        let text = {
            let (path, bytes) = folder.first_of(&TEXT_FILES)?;
            let weights = Weights::new(&path, &bytes, backend, "text_model.")?;
            TextEncoder::load(text_config, &weights.root())?
        };
        let unet = {
            let (path, bytes) = folder.first_of(&UNET_FILES)?;
            Unet::load(unet_config, &Weights::new(&path, &bytes, backend, "")?.root())?
        };
        let vae = {
            let (path, bytes) = folder.first_of(&VAE_FILES)?;
            Vae::load(vae_config, &Weights::new(&path, &bytes, backend, "")?.root())?
        };
        let device = backend.device.clone();
        Ok(Self {
            tokenizer,
            text,
            unet,
            vae,
            schedule,
            device,
            digest: folder.digest(),
        })
    }

    /// Returns BLAKE3 over the names and contents of all files that the model was read from.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Returns the device that the model is on.
    pub fn device(&self) -> &Device {
        &self.device
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
            None => self.text.forward(&self.tokenizer.ids(prompt)?, None, &[]),
        }
    }

    /// Encodes a prompt once for each of `vectors`, which takes the place of `token` wherever it occurs:
    /// `[vectors, length, m]`.
    pub fn encode_batch(&self, prompt: &str, token: u32, vectors: &[&[f32]]) -> Result<Tensor> {
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
        let ids = self.tokenizer.ids(prompt)?;
        // Begin and end marks and padding do not count: replacing those is never what was meant.
        let bare = self.tokenizer.bare_ids(prompt)?;
        let words = bare.len().min(self.tokenizer.length() - 2); // a prompt has room for both marks
        if !bare[..words].contains(&token) {
            return Err(DiffusionError::TokenNotInPrompt {
                token,
                text: self.tokenizer.text(token),
                prompt: prompt.into(),
                length: self.tokenizer.length(),
            });
        }
        self.text.forward(&ids, Some(token), vectors)
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
        Ok(Tensor::from_vec(normals, (1, c, h, w), &self.device)?)
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
        Ok(Tensor::from_vec(normals, (1, c, h, w), &self.device)?)
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
        Ok(self
            .schedule
            .start(sampling.scheduler, sampling.steps)?
            .timesteps()
            .len())
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
