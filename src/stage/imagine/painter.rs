//! From vectors to latents and pictures, a batch at a time.

use std::ops::ControlFlow;

use candle_core::Tensor;
use dream_schema::{ClassEmbedding, Image, Latent, Run};
use rayon::prelude::*;

use super::noise::BatchNoise;
use super::params::{Params, ResizeBy};
use super::vectors::Vector;
use crate::bitmap::Bitmap;
use crate::diffusion::{Hooks, Pipeline, Workload};
use crate::rng::{Stream, domain};
use crate::stage::{BatchSize, Context, ModelSource, Role, Source, StageError, embed};
use crate::{exchange, floats};

/// A picture to be made.
pub(in crate::stage) struct Wanted<'a> {
    /// Its class.
    pub(in crate::stage) class: &'a ClassEmbedding,
    /// Its place in the class.
    pub(in crate::stage) index: u64,
    /// What stands in for the class word.
    pub(in crate::stage) vector: Vector,
}

/// The model of a run with its settings.
pub(in crate::stage) struct Painter {
    pipeline: Pipeline,
    params: Params,
    run: Run,
    /// Height and width of the latents.
    latent: [usize; 2],
    /// `[1, length, m]`
    unconditional: Tensor,
    sampling_batch: usize,
    decoding_batch: usize,
}

impl Painter {
    /// Loads the model of an `imagine` run.
    pub(in crate::stage) fn load(
        ctx: &Context<'_>,
        run: &Run,
        params: &Params,
        classes: &[ClassEmbedding],
    ) -> Result<Self, StageError> {
        let model = ModelSource::find(ctx.store, run, &Role::Model)?;
        embed::check_model(classes, model.digest())?;
        let pipeline = model.load_pipeline(ctx)?;
        embed::check_width(classes, &pipeline)?;
        embed::say_if_foreign(ctx, classes, &pipeline);
        let geometry = pipeline.outline().geometry();
        let [height, width] = geometry.image_size();
        let latent = match params.size {
            Some(size) => geometry.latent_size(size.width, size.height)?,
            None => geometry.latent_size(width, height)?,
        };
        let work = Workload {
            latent,
            guided: params.guidance_scale > 1.0,
            policy: ctx.engine.policy(),
        };
        let most = geometry.most(work).max(1);
        let (sampling_batch, decoding_batch) = match ctx.batch_size {
            BatchSize::Pictures(n) => (n.clamp(1, most), n.max(1)),
            BatchSize::Memory(bytes) => (
                geometry.sampling_batch(bytes, work),
                geometry.decoding_batch(bytes, work),
            ),
        };
        Ok(Self {
            unconditional: pipeline.encode(&params.negative, None)?,
            pipeline,
            params: params.clone(),
            run: run.clone(),
            latent,
            sampling_batch: params.batch.unwrap_or(sampling_batch),
            decoding_batch,
        })
    }

    /// Tells the user of prompts that are too long for the model.
    pub(super) fn say_what_is_cut(
        &self,
        ctx: &Context<'_>,
        classes: &[&ClassEmbedding],
    ) -> Result<(), StageError> {
        let outline = self.pipeline.outline();
        let tokenizer = outline.tokenizer();
        let length = tokenizer.length();
        let say_cut = |whose: &str, tokens: usize| {
            ctx.progress.note(&format!(
                "{whose} is longer than the {length} tokens of the text encoder: its last {tokens} are left \
                 out"
            ));
        };
        let mut cut = Vec::new();
        for class in classes {
            let span = tokenizer.span(&class.word, self.params.tokens)?;
            let placing = outline.placing(&self.params.prompt_of(class), &span)?;
            if placing.cut > 0 {
                cut.push((class.class_name.as_str(), placing.cut));
            }
        }
        if let Some((name, tokens)) = cut.first() {
            let others = match cut.len() - 1 {
                0 => String::new(),
                more => format!(" (and of {more} other classes)"),
            };
            say_cut(&format!("the prompt of the class `{name}`{others}"), *tokens);
        }
        // Both marks take a place.
        let tokens = (tokenizer.bare_ids(&self.params.negative)?.len() + 2).saturating_sub(length);
        if tokens > 0 {
            say_cut("the negative prompt", tokens);
        }
        Ok(())
    }

    /// Returns the run whose pictures it makes.
    pub(super) fn run(&self) -> &Run {
        &self.run
    }

    /// Returns how many pictures to hand to [`Self::sample`] at once.
    pub(in crate::stage) fn sampling_batch(&self) -> usize {
        self.sampling_batch
    }

    /// Returns how many latents [`Self::decode`] takes at once; more are decoded in several turns.
    pub(in crate::stage) fn decoding_batch(&self) -> usize {
        self.decoding_batch
    }

    /// Returns `[channels, height, width]` of the run's latents.
    pub(in crate::stage) fn latent_shape(&self) -> [usize; 3] {
        let [channels, ..] = self.pipeline.outline().geometry().latent_shape();
        let [height, width] = self.latent;
        [channels, height, width]
    }

    /// Samples the latents `[batch, c, h, w]`. Each depends on its own class, index and vector alone.
    pub(in crate::stage) fn sample(
        &self,
        ctx: &Context<'_>,
        batch: &[Wanted<'_>],
    ) -> Result<Tensor, StageError> {
        let slots = filled(batch, self.params.batch);
        let mut conditional = Vec::new();
        // A prompt is encoded with all vectors of its class at once, or each by itself where the order of
        // sums depends on how many they are.
        let together = |a: &&Wanted<'_>, b: &&Wanted<'_>| {
            self.params.batch.is_none()
                && a.class.class_id == b.class.class_id
                && a.vector.word == b.vector.word
        };
        for group in slots.chunk_by(together) {
            let Some(first) = group.first() else {
                continue;
            };
            let class = first.class;
            if first.vector.word.is_some() {
                let encoded = self.pipeline.encode(&self.prompt_of(first), None)?;
                conditional.push(encoded.repeat((group.len(), 1, 1))?);
                continue;
            }
            let vectors: Vec<&[f32]> = group.iter().map(|w| w.vector.numbers.as_slice()).collect();
            let prompt = self.params.prompt_of(class);
            let span = self
                .pipeline
                .outline()
                .tokenizer()
                .span(&class.word, self.params.tokens)?;
            // The class vector of a word of several tokens would not give the plain prompt again.
            let plain = span.tokens().len() > 1 && group.iter().all(|w| w.vector.is_plain());
            conditional.push(if plain {
                self.pipeline.encode(&prompt, None)?.repeat((group.len(), 1, 1))?
            } else {
                self.pipeline.encode_batch(&prompt, &span, &vectors)?
            });
        }
        // [batch, length, m]
        let conditional = self.noisy(Tensor::cat(&conditional, 0)?, &slots)?;
        let noise = BatchNoise {
            seed: self.run.spec.seed,
            pictures: slots.iter().map(|w| (w.class.class_id, w.index)).collect(),
            fixed: self.params.fixed_noise,
            shape: self.latent_shape(),
            device: ctx.engine.device(),
        };
        let mut step_noise = |step: usize| Ok(noise.of_step(step)?);
        let sampling = self.params.sampling();
        let steps = self.pipeline.outline().evaluations(sampling)?;
        let mut on_step = |step: usize| {
            let (done, pictures) = (step + 1, batch.len());
            ctx.progress
                .detail(&format!("step {done} of {steps}, {pictures} at once"));
            if ctx.progress.cancelled_at_once() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let hooks = Hooks {
            step_noise: Some(&mut step_noise),
            on_step: Some(&mut on_step),
        };
        let (cond, uncond) = (&conditional, &self.unconditional);
        let latents = self
            .pipeline
            .sample(sampling, cond, uncond, noise.initial()?, hooks);
        if ctx.progress.cancelled_at_once() {
            return Err(StageError::Interrupted);
        }
        Ok(latents?.narrow(0, 0, batch.len())?)
    }

    /// The prompt of a picture.
    fn prompt_of(&self, wanted: &Wanted<'_>) -> String {
        self.params
            .prompt_with(wanted.class, wanted.vector.word.as_deref())
    }

    /// Adds their noise to the encoded prompts `[batch, length, m]` of pictures that have some: sigma * e,
    /// e ~ N(0, I) named by (seed, class, index).
    fn noisy(&self, encoded: Tensor, batch: &[&Wanted<'_>]) -> Result<Tensor, StageError> {
        if batch.iter().all(|wanted| wanted.vector.encoder_noise.is_none()) {
            return Ok(encoded);
        }
        let (_, length, width) = encoded.dims3()?;
        let noise = batch.iter().flat_map(|wanted| {
            let (class, index) = (wanted.class.class_id, wanted.index);
            let domain = domain::IMAGINE_ENCODER_NOISE;
            let normals = Stream::new(self.run.spec.seed, domain, class, index).normals(length * width);
            let sigma = wanted.vector.encoder_noise.unwrap_or(0.0);
            normals.into_iter().map(move |e| (sigma * f64::from(e)) as f32)
        });
        let noise = Tensor::from_vec(noise.collect(), encoded.shape(), encoded.device())?;
        Ok((&encoded + noise.to_dtype(encoded.dtype())?)?)
    }

    /// Decodes latents `[batch, c, h, w]`, and brings the pictures to the size that is stored.
    pub(in crate::stage) fn decode(&self, latents: &Tensor) -> Result<Vec<Bitmap>, StageError> {
        let batch = latents.dim(0)?;
        let mut pictures = Vec::with_capacity(batch);
        for start in (0..batch).step_by(self.decoding_batch) {
            let length = self.decoding_batch.min(batch - start);
            let latents = latents.narrow(0, start, length)?;
            pictures.extend(match (self.params.resize, self.params.resize_by) {
                (Some(size), ResizeBy::Bilinear) => {
                    self.pipeline.decode_to(&latents, size.width, size.height)?
                }
                _ => self.pipeline.decode(&latents)?,
            });
        }
        let (Some(size), ResizeBy::Bicubic) = (self.params.resize, self.params.resize_by) else {
            return Ok(pictures);
        };
        Ok(pictures
            .par_iter()
            .map(|p| p.resized(size.width, size.height))
            .collect())
    }

    /// Returns what is stored of a batch.
    pub(in crate::stage) fn rows(
        &self,
        batch: &[Wanted<'_>],
        latents: &Tensor,
        pictures: &[Bitmap],
    ) -> Result<(Vec<Latent>, Vec<Image>), StageError> {
        type Pair<'a> = (usize, (&'a Wanted<'a>, &'a Bitmap));
        let row = |(i, (wanted, picture)): Pair<'_>| -> Result<(Latent, Image), StageError> {
            let latent = latents.get(i)?;
            let png = self.png(wanted, picture)?;
            let class_name = wanted.class.class_name.clone();
            let (class_id, index, outlier) = (wanted.class.class_id, wanted.index, wanted.vector.outlier);
            let latent = Latent {
                class_id,
                class_name: class_name.clone(),
                index,
                outlier,
                prompt: self.prompt_of(wanted),
                seed: self.run.spec.seed,
                dtype: "f32".into(),
                shape: latent.dims().iter().map(|d| *d as i64).collect(),
                data: floats::to_bytes(&latent.flatten_all()?.to_vec1::<f32>()?),
            };
            let image = Image {
                class_id,
                class_name,
                index,
                outlier,
                width: picture.width as i32,
                height: picture.height as i32,
                blake3: blake3::hash(&png).to_hex().to_string(),
                png,
            };
            Ok::<_, StageError>((latent, image))
        };
        let pairs: Vec<_> = batch.iter().zip(pictures).enumerate().collect();
        pairs.into_par_iter().map(row).collect()
    }

    /// Returns the picture as a PNG file that says where it is from.
    fn png(&self, wanted: &Wanted<'_>, picture: &Bitmap) -> Result<Vec<u8>, StageError> {
        let class = wanted.class;
        let mut text = vec![
            ("dream-ood:run", self.run.id.to_string()),
            ("dream-ood:class", class.class_name.clone()),
            ("dream-ood:class_id", class.class_id.to_string()),
            ("dream-ood:index", wanted.index.to_string()),
            ("dream-ood:prompt", self.prompt_of(wanted)),
        ];
        text.extend(
            wanted
                .vector
                .outlier
                .map(|o| ("dream-ood:outlier", o.to_string())),
        );
        // Only where there is something to say: pictures made before these existed keep their bytes.
        let synthesis = wanted.vector.synthesis.clone();
        text.extend(synthesis.map(|s| ("dream-ood:synthesis", s)));
        if !self.params.negative.is_empty() {
            text.push(("dream-ood:negative", self.params.negative.clone()));
        }
        let text: Vec<(&str, &str)> = text.iter().map(|(k, v)| (*k, v.as_str())).collect();
        Ok(exchange::encode_png(picture, &text)?)
    }
}

/// Returns what is evaluated at once: the batch, filled up with its last picture where the run says how many
/// there must be.
fn filled<T>(batch: &[T], count: Option<usize>) -> Vec<&T> {
    let count = count.unwrap_or(batch.len()).max(batch.len());
    let last = batch.last().into_iter().cycle();
    batch.iter().chain(last).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_is_filled_up_with_its_last_picture() {
        assert_eq!(filled(&[1, 2], Some(5)), [&1, &2, &2, &2, &2]);
        assert_eq!(filled(&[1, 2], Some(2)), [&1, &2]);
        assert_eq!(filled(&[1, 2, 3], None), [&1, &2, &3]);
        assert_eq!(filled(&[0; 0], Some(3)), [&0; 0]);
    }
}
