//! The sizes of a model: which pictures it can make, and how many of them fit into memory at a time.
//!
//! # The estimate
//!
//! Activations that are alive at the same time, for latents of h x w, in numbers of 4 bytes, or of 2 in half
//! precision:
//!
//! - *UNet*, for each evaluated latent (guidance evaluates two a picture): the tensors that skip connections
//!   keep; and at the widest level `14 c` numbers a pixel (a feed-forward layer opens c channels to 8c;
//!   beside it are its input, the norm and the residual), or `27 c` where a convolution unfolds what it
//!   takes, which is 3c wide after a skip connection. Where attention keeps them, twice `heads * pixels^2`
//!   scores as well.
//! - *Prompts*: for each evaluated latent, keys and values of every cross-attention: `2 c * tokens` numbers.
//! - *VAE*: a picture at full resolution in the last two widths, two tensors of each. The CPU decodes small
//!   pictures one per thread at once, large ones and other devices one after another; a convolution that
//!   unfolds takes 9 of the wider tensors.
//!
//! On the CPU latents wait for their turn: no more than a thread each are at work. The estimate is meant to
//! be somewhat too high.
//!
//! A batch is done when its last picture is, and a run that is stopped loses what it was at. So a batch has
//! no more pictures than keep the machine busy, however much memory there is, and none whose tensors would
//! have more numbers than the engine can count ([`Geometry::most`]).

use super::config::{UnetConfig, VaeConfig};
use super::error::{DiffusionError, Result};
use crate::engine::Policy;

/// The longest side of a picture, in pixels.
const LONGEST: usize = 8192;
/// The most pictures that are made at once: more of them are no faster.
const MOST: usize = 64;
/// Bytes of full-size activations that keep a thread of the CPU busy.
const BUSY: usize = 1 << 20;

/// The sizes of a latent diffusion model.
#[derive(Clone, Debug)]
pub struct Geometry {
    /// Tokens of a prompt.
    tokens: usize,
    unet: UnetConfig,
    vae: VaeConfig,
}

/// How a model is evaluated, for the estimate of its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Height and width of the latents.
    pub latent: [usize; 2],
    /// Whether every picture is evaluated twice, with and without the prompt.
    pub guided: bool,
    /// How the engine goes through a batch.
    pub policy: Policy,
}

impl Geometry {
    pub(super) fn new(tokens: usize, unet: &UnetConfig, vae: &VaeConfig) -> Self {
        Self {
            tokens,
            unet: unet.clone(),
            vae: vae.clone(),
        }
    }

    /// Returns `[channels, height, width]` of the latents that the model was trained on.
    pub fn latent_shape(&self) -> [usize; 3] {
        let from_vae = || Some(self.vae.sample_size()?.map(|s| s / self.vae_scale()));
        let [height, width] = self.unet.sample_size().or_else(from_vae).unwrap_or([64, 64]);
        [self.unet.in_channels, height, width]
    }

    /// Returns the pixels that a latent pixel stands for, each way.
    pub fn vae_scale(&self) -> usize {
        self.vae.scale()
    }

    /// Returns `[height, width]` of the pictures that the model was trained on.
    pub fn image_size(&self) -> [usize; 2] {
        let [_, height, width] = self.latent_shape();
        [height, width].map(|n| n * self.vae_scale())
    }

    /// Returns what the sides of a picture must be multiples of: the VAE's factor times the UNet's
    /// down-sampling.
    pub fn size_multiple(&self) -> usize {
        self.vae_scale() << self.unet.block_out_channels.len().saturating_sub(1)
    }

    /// Returns `[height, width]` of the latents of a picture of `width` x `height` pixels.
    ///
    /// # Errors
    /// If the model cannot make such pictures.
    pub fn latent_size(&self, width: usize, height: usize) -> Result<[usize; 2]> {
        let multiple = self.size_multiple();
        let good = |n: usize| n > 0 && n <= LONGEST && n.is_multiple_of(multiple);
        if good(width) && good(height) {
            return Ok([height, width].map(|n| n / self.vae_scale()));
        }
        let near = |n: usize| ((n + multiple / 2) / multiple).max(1) * multiple;
        let (w, h) = (near(width.min(LONGEST)), near(height.min(LONGEST)));
        Err(DiffusionError::Setting {
            setting: "size",
            found: format!("{width}x{height}"),
            expected: format!(
                "both sides must be multiples of {multiple} (the VAE's factor {} times the \
                 UNet's down-sampling by {}) and at most {LONGEST}: {w}x{h} would do",
                self.vae_scale(),
                multiple / self.vae_scale()
            ),
        })
    }

    /// Returns how many pictures to sample at once so that what they need stays below `bytes`; at least 1, at
    /// most 64.
    pub fn sampling_batch(&self, bytes: u64, work: Workload) -> usize {
        let each = if work.guided { 2 } else { 1 };
        let most = work.policy.threads.map_or(MOST, |threads| {
            let image: usize =
                work.latent.iter().product::<usize>() * self.unet.block_out_channels[0] * size_of::<f32>();
            (threads * BUSY.div_ceil(image)).div_ceil(each as usize)
        });
        let most = most.min(self.most(work));
        largest(bytes, most, |batch| self.sampling_bytes(batch, work))
    }

    /// Returns how many pictures can be made at once before a tensor has more numbers than the engine can
    /// count, whatever the memory; 0 where not even one can. (Scores of attention are made in parts.)
    pub fn most(&self, work: Workload) -> usize {
        let (h, w) = (work.latent[0] as u64, work.latent[1] as u64);
        let each = if work.guided { 2 } else { 1 };
        let wide = |(level, c): (usize, &usize)| {
            let pixels = (h >> level).max(1) * (w >> level).max(1);
            let unfolded = if work.policy.unfolds { 27 } else { 8 };
            unfolded * *c as u64 * pixels
        };
        let levels = self.unet.block_out_channels.iter().enumerate();
        let largest = levels.map(wide).max().unwrap_or(0);
        let size = work.latent.map(|n| n * self.vae_scale());
        let (pixels, wider) = ((size[0] * size[1]) as u64, self.vae.wider() as u64);
        let decoded = pixels * wider * if work.policy.unfolds { 9 } else { 1 };
        if decoded > work.policy.largest {
            return 0;
        }
        usize::try_from(work.policy.largest / (each * largest).max(1)).unwrap_or(usize::MAX)
    }

    /// Scores of attention that are kept of one evaluated latent at a level.
    fn scores(&self, level: usize, pixels: u64, work: Workload) -> u64 {
        let (levels, heads) = (self.unet.block_out_channels.len(), self.unet.heads(level).max(1));
        let attends = self.attending(level) != [0, 0] || level + 1 == levels;
        match attends
            && work
                .policy
                .keeps_scores(self.unet.block_out_channels[level] / heads)
        {
            true => heads as u64 * pixels * pixels,
            false => 0,
        }
    }

    /// Returns what so many pictures need that are sampled and decoded at once.
    pub fn bytes(&self, batch: u64, work: Workload) -> u64 {
        self.sampling_bytes(batch, work)
            .max(self.decoding_bytes(batch, work))
    }

    fn sampling_bytes(&self, batch: u64, work: Workload) -> u64 {
        let each = if work.guided { 2 } else { 1 };
        let [h, w] = work.latent.map(|n| n as u64);
        // Noise, sample, output, and up to five terms of the multistep solvers.
        let held = 10 * 4 * h * w * self.unet.in_channels as u64 + each * self.prompt_bytes();
        let at_work = work
            .policy
            .threads
            .map_or(each * batch, |t| (each * batch).min(t as u64));
        batch * held + at_work * self.unet_bytes(work)
    }

    /// Returns how many pictures to decode at once so that what they need stays below `bytes`; at least 1, at
    /// most 64.
    pub fn decoding_batch(&self, bytes: u64, work: Workload) -> usize {
        largest(bytes, MOST, |batch| self.decoding_bytes(batch, work))
    }

    fn decoding_bytes(&self, batch: u64, work: Workload) -> u64 {
        let size = work.latent.map(|n| n * self.vae_scale());
        let held = 2 * 4 * 3 * size.iter().product::<usize>() as u64;
        let active = self.vae.active_bytes(size, work.policy);
        batch * held + work.policy.decoded_together(batch, active) * active
    }

    /// Keys and values of one prompt in every cross-attention.
    fn prompt_bytes(&self) -> u64 {
        let tokens = self.tokens as u64;
        let level = |(i, c): (usize, &usize)| {
            let [down, up] = self.attending(i);
            (down + up) * *c as u64
        };
        let last = self.unet.block_out_channels.last().copied().unwrap_or(0) as u64;
        let channels: u64 = self.unet.block_out_channels.iter().enumerate().map(level).sum();
        4 * 2 * tokens * (channels + last)
    }

    /// Transformers of a level, on the way down and up.
    fn attending(&self, level: usize) -> [u64; 2] {
        let layers = self.unet.layers_per_block as u64;
        let levels = self.unet.block_out_channels.len();
        let attends = |kinds: &[String], i: usize| kinds.get(i).is_some_and(|k| k.starts_with("CrossAttn"));
        [
            if attends(&self.unet.down_block_types, level) {
                layers
            } else {
                0
            },
            if attends(&self.unet.up_block_types, levels - 1 - level) {
                layers + 1
            } else {
                0
            },
        ]
    }

    /// What one evaluated latent needs while it is at work in the UNet.
    fn unet_bytes(&self, work: Workload) -> u64 {
        let [h, w] = work.latent.map(|n| n as u64);
        let (mut skips, mut widest) = (0, 0);
        for (level, channels) in self.unet.block_out_channels.iter().enumerate() {
            let (c, pixels) = (*channels as u64, (h >> level).max(1) * (w >> level).max(1));
            skips += (self.unet.layers_per_block as u64 + 1) * c * pixels;
            let at_work = if work.policy.unfolds { 27 } else { 14 };
            widest = widest.max(at_work * c * pixels + 2 * self.scores(level, pixels, work));
        }
        work.policy.number * (skips + widest)
    }
}

/// Returns the largest batch up to `most` (and [`MOST`]) that needs no more than `bytes`.
fn largest(bytes: u64, most: usize, needed: impl Fn(u64) -> u64) -> usize {
    (1..=most.min(MOST))
        .rev()
        .find(|batch| needed(*batch as u64) <= bytes)
        .unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diffusion::Outline;

    fn tiny() -> Geometry {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let outline = Outline::read(&root.join("tests/fixtures/diffusion/tiny"), None).unwrap();
        outline.geometry().clone()
    }

    #[test]
    fn sizes_are_multiples_of_what_the_model_halves() {
        let tiny = tiny();
        // Two VAE levels (factor 2), two UNet levels (halved once).
        assert_eq!((tiny.vae_scale(), tiny.size_multiple()), (2, 4));
        assert_eq!(tiny.image_size(), [16, 16]);
        assert_eq!(tiny.latent_size(16, 24).unwrap(), [12, 8]);
        for (w, h) in [(0, 16), (16, 18), (7, 16), (16, 8196)] {
            let said = tiny.latent_size(w, h).unwrap_err().to_string();
            assert!(
                said.contains(&format!("{w}x{h}")) && said.contains("multiples of 4"),
                "{said}"
            );
        }
        let said = tiny.latent_size(15, 1).unwrap_err().to_string();
        assert!(said.contains("16x4 would do"), "{said}");
    }

    #[test]
    fn batches_grow_with_memory_and_shrink_with_size() {
        let tiny = tiny();
        let work = |side, threads: Option<usize>| Workload {
            latent: [side, side],
            guided: true,
            policy: threads.map_or(Policy::WHOLE, Policy::host),
        };
        let sampled: Vec<usize> = (8..40)
            .map(|b| tiny.sampling_batch(1 << b, work(8, None)))
            .collect();
        assert!(sampled.is_sorted(), "{sampled:?}");
        assert_eq!((sampled[0], sampled[31]), (1, MOST));
        assert!(sampled.iter().any(|b| (2..MOST).contains(b)), "{sampled:?}");
        let memory = 1 << 24;
        for threads in [None, Some(2)] {
            let [small, large] = [8, 128].map(|side| tiny.sampling_batch(memory, work(side, threads)));
            assert!(small > large, "{small} {large}");
            let [small, large] = [8, 512].map(|side| tiny.decoding_batch(memory, work(side, threads)));
            assert!(small > large, "{small} {large}");
        }
        // Large pictures fill the threads one by one: more of them at once would only be lost together.
        assert_eq!(tiny.sampling_batch(u64::MAX, work(512, Some(4))), 2);
        assert_eq!(tiny.sampling_batch(u64::MAX, work(64, None)), MOST);
        // On the CPU pictures wait for a thread, on a device all are at work.
        assert!(tiny.sampling_batch(memory, work(32, Some(1))) > tiny.sampling_batch(memory, work(32, None)));
    }

    #[test]
    fn no_tensor_has_more_numbers_than_the_engine_can_count() {
        let tiny = tiny();
        let most = |side, policy| {
            tiny.most(Workload {
                latent: [side, side],
                guided: true,
                policy,
            })
        };
        let first = tiny.unet.block_out_channels[0];
        for side in [64, 256, 512] {
            let batch = most(side, Policy::WHOLE);
            assert!(2 * batch * 9 * 3 * first * side * side < 1 << 31);
            // Kernels that do not unfold take more at once, the CPU's any number.
            assert!(most(side, Policy::HALF) > batch);
            assert!(most(side, Policy::host(2)) > 1 << 31);
        }
        // Not even one picture, and the estimate of a batch still says one.
        let huge = Workload {
            latent: [1 << 13, 1 << 13],
            guided: false,
            policy: Policy::WHOLE,
        };
        assert_eq!((tiny.most(huge), tiny.sampling_batch(u64::MAX, huge)), (0, 1));
    }
}
