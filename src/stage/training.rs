//! What `encode` and `detect` share: training a residual network on an image set, a checkpoint and metrics an epoch, resume.

use candle_core::{Tensor, Var};
use dream_schema::{Artifact, Checkpoint, Metric, Run};
use serde::{Deserialize, Serialize};

use super::{Context, StageError};
use crate::dataset::{Channels, ImageSet, Preparation};
use crate::nn::augment::{Augmentation, Pixels};
use crate::nn::{self, ResNet, ResNetConfig, Sgd, State, Stem, schedule};

/// Images that a forward pass without gradients takes at once. Results do not depend on it.
const INFERENCE_BATCH: usize = 250;

/// The network, and how it is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Layers of the residual network: 10, 18, 34 or 50.
    pub depth: usize,
    /// Channels of its first stage: 64 in the paper.
    pub width: usize,
    /// `cifar`: 3x3 with stride 1 and no max-pool; `imagenet`: 7x7 with stride 2 and max-pool.
    pub stem: StemName,
    /// Height and width that all images are brought to.
    pub size: u32,
    /// `gray`: luma, three times; `rgb`.
    pub channels: ChannelsName,
    /// Mean of each channel, of values in [0, 1].
    pub mean: [f64; 3],
    /// Standard deviation of each channel.
    pub std: [f64; 3],
    /// Passes over the training split.
    pub epochs: usize,
    /// Images of a step; an incomplete last batch is left out.
    pub batch_size: usize,
    /// Learning rate of the first step.
    pub lr: f64,
    /// Learning rate of the last step; in between a cosine, step by step.
    pub min_lr: f64,
    /// Momentum of SGD.
    pub momentum: f64,
    /// Nesterov's form of it.
    pub nesterov: bool,
    /// Weight decay, on all parameters.
    pub weight_decay: f64,
    /// Mirrors half of the images.
    pub flip: bool,
    /// Pads by so many pixels, then crops at random.
    pub crop_padding: usize,
    /// The split to train on.
    pub split: String,
    /// The split to measure the accuracy on.
    pub test_split: String,
    /// A checkpoint is kept after every so many epochs, and after the last.
    pub checkpoint_every: usize,
}

/// See [`Training::stem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StemName {
    /// 3x3 with stride 1, no max-pool.
    Cifar,
    /// 7x7 with stride 2, then 3x3 max-pool with stride 2.
    ImageNet,
}

/// See [`Training::channels`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelsName {
    /// Luma, three times.
    Gray,
    /// Colour.
    Rgb,
}

impl Training {
    /// Returns how images are brought to the network's input, wherever they come from.
    pub fn preparation(&self) -> Preparation {
        let channels = match self.channels {
            ChannelsName::Gray => Channels::Gray3,
            ChannelsName::Rgb => Channels::Rgb,
        };
        Preparation::new(self.size as usize, self.size as usize, channels)
    }

    /// Checks the parameters that a division or an empty loop would trip over.
    ///
    /// # Errors
    /// If one is out of range; the message says which.
    pub fn check(&self) -> Result<(), StageError> {
        let wrong = |what: &str| Err(StageError::Mismatch(format!("training: {what}")));
        if self.epochs == 0 || self.batch_size == 0 || self.checkpoint_every == 0 || self.size == 0 {
            return wrong("epochs, batch_size, checkpoint_every and size must be at least 1");
        }
        if !self.lr.is_finite() || self.lr <= 0.0 || !(0.0..=self.lr).contains(&self.min_lr) {
            return wrong("lr must be positive, and min_lr between 0 and lr");
        }
        if self.std.iter().any(|s| s.is_nan() || *s <= 0.0) {
            return wrong("std must be positive");
        }
        Ok(())
    }

    pub(super) fn network(&self, outputs: usize, seed: u64, ctx: &Context<'_>) -> Result<ResNet, StageError> {
        let stem = match self.stem {
            StemName::Cifar => Stem::Cifar,
            StemName::ImageNet => Stem::ImageNet,
        };
        let config = ResNetConfig {
            depth: self.depth,
            stem,
            width: self.width,
            in_channels: 3,
            num_outputs: outputs,
        };
        Ok(ResNet::new(config, seed, ctx.device)?)
    }

    fn augmentation(&self) -> Augmentation {
        Augmentation {
            flip: self.flip,
            crop_padding: self.crop_padding,
            fill: 0,
            mean: self.mean.iter().map(|v| *v as f32).collect(),
            std: self.std.iter().map(|v| *v as f32).collect(),
        }
    }

    /// Returns the chosen images, augmented, as `[n, 3, size, size]`. `stream` tells apart draws that share an epoch.
    pub(super) fn batch(
        &self,
        ctx: &Context<'_>,
        images: &ImageSet,
        samples: &[u32],
        seed: u64,
        stream: u32,
    ) -> Result<Tensor, StageError> {
        Ok(self
            .augmentation()
            .apply(pixels(images), samples, seed, stream, ctx.device)?)
    }

    /// Returns what the network makes of every image, without augmentation: `[n, outputs]`, flat.
    pub(super) fn outputs(
        &self,
        ctx: &Context<'_>,
        network: &ResNet,
        images: &ImageSet,
        then: impl Fn(Tensor) -> nn::Result<Tensor>,
    ) -> Result<Vec<f32>, StageError> {
        let still = self.augmentation().still();
        let samples: Vec<u32> = (0..images.len() as u32).collect();
        let mut all = Vec::new();
        for batch in samples.chunks(INFERENCE_BATCH) {
            ctx.check_interrupt()?;
            let x = still.apply(pixels(images), batch, 0, 0, ctx.device)?;
            let outputs = then(network.forward(&x, false)?.detach())?;
            all.extend(outputs.flatten_all()?.to_vec1::<f32>()?);
        }
        Ok(all)
    }
}

fn pixels(images: &ImageSet) -> Pixels<'_> {
    Pixels {
        bytes: &images.pixels,
        height: images.height,
        width: images.width,
        channels: images.channels,
    }
}

/// Returns the labels of a set that must have them, one of each class at least.
pub(super) fn labels<'a>(
    images: &'a ImageSet,
    classes: &[String],
    name: &str,
) -> Result<&'a [u32], StageError> {
    let wrong = |what: String| Err(StageError::Mismatch(format!("the image set `{name}` {what}")));
    let Some(labels) = images.labels.as_deref() else {
        return wrong("has no labels: a network cannot be trained on it".into());
    };
    if let Some(label) = labels.iter().find(|l| **l as usize >= classes.len()) {
        return wrong(format!("has the label {label}, but {} classes", classes.len()));
    }
    let mut counts = vec![0_usize; classes.len()];
    labels.iter().for_each(|l| counts[*l as usize] += 1);
    match classes.iter().zip(&counts).find(|(_, count)| **count == 0) {
        Some((class, _)) => wrong(format!("has no picture of the class `{class}`")),
        None => Ok(labels),
    }
}

/// One step of training, for the loss to look at.
pub(super) struct Step<'a> {
    /// The images, augmented: `[batch, 3, size, size]`.
    pub images: &'a Tensor,
    /// Their labels.
    pub labels: &'a [u32],
    /// Steps taken before this one, since the first epoch.
    pub number: usize,
}

/// A network in training.
pub(super) struct Trainer<'a> {
    pub ctx: &'a Context<'a>,
    pub run: &'a Run,
    pub training: &'a Training,
    pub network: ResNet,
    /// Parameters beside the network's, by the names that they have in checkpoints.
    pub extra: Vec<(String, Var)>,
}

impl Trainer<'_> {
    /// Trains from the last checkpoint on. `loss` makes the loss of a step; `accuracy` measures the network after an epoch.
    ///
    /// # Errors
    /// If the loss is not finite, the user interrupts, or the store fails.
    pub fn train(
        &self,
        images: &ImageSet,
        labels: &[u32],
        mut loss: impl FnMut(&ResNet, &Step<'_>) -> Result<Tensor, StageError>,
        accuracy: impl Fn(&ResNet) -> Result<f64, StageError>,
    ) -> Result<(), StageError> {
        let t = self.training;
        let steps = images.len() / t.batch_size;
        if steps == 0 {
            let (n, batch) = (images.len(), t.batch_size);
            return Err(StageError::Mismatch(format!(
                "{n} training images do not fill one batch of {batch}"
            )));
        }
        let vars = std::iter::once(("network".to_owned(), self.network.params().var().clone()));
        let mut sgd = Sgd::new(
            vars.chain(self.extra.iter().cloned()),
            t.lr,
            t.momentum,
            t.nesterov,
            t.weight_decay,
        )?;
        let first = self.resume(&mut sgd)?;
        self.ctx.progress.advance((first * steps) as u64);
        let mut metrics = Vec::new();
        for epoch in first..t.epochs {
            let order = schedule::permutation(images.len(), self.run.spec.seed, "train/order", epoch as u64);
            let mut sum = 0.0;
            for (step, samples) in order.chunks_exact(t.batch_size).enumerate() {
                self.ctx.check_interrupt()?;
                let number = epoch * steps + step;
                sgd.lr = schedule::cosine(number, t.epochs * steps, t.lr, t.min_lr);
                let x = t.batch(self.ctx, images, samples, self.run.spec.seed, epoch as u32)?;
                let labels: Vec<u32> = samples.iter().map(|s| labels[*s as usize]).collect();
                let loss = loss(
                    &self.network,
                    &Step {
                        images: &x,
                        labels: &labels,
                        number,
                    },
                )?;
                let value = loss.to_scalar::<f32>()?;
                if !value.is_finite() {
                    return Err(StageError::Diverged {
                        what: "the loss",
                        value,
                        epoch,
                    });
                }
                sgd.step(&loss.backward()?)?;
                sum += f64::from(value);
                self.ctx.progress.advance(1);
            }
            let (mean, accuracy) = (sum / steps as f64, accuracy(&self.network)?);
            let (done, all) = (epoch + 1, t.epochs);
            self.ctx.progress.note(&format!(
                "epoch {done}/{all}: loss {mean:.3}, accuracy {:.1} %",
                accuracy * 100.0
            ));
            for (name, value) in [("loss", mean), ("accuracy", accuracy), ("lr", sgd.lr)] {
                metrics.push(metric((3 * epoch + metrics.len() % 3) as u64, name, epoch, value));
            }
            if done % t.checkpoint_every == 0 || done == t.epochs {
                self.save(done, &sgd, &metrics)?;
                metrics.clear();
            }
        }
        Ok(())
    }

    /// Commits the state after `epochs` epochs, and the metrics since the last one.
    fn save(&self, epochs: usize, sgd: &Sgd, metrics: &[Metric]) -> Result<(), StageError> {
        let mut state = self.network.params().state_dict()?;
        state.extend(
            self.extra
                .iter()
                .map(|(name, var)| (name.clone(), var.as_tensor().clone())),
        );
        let model = nn::to_safetensors(&state)?;
        let optimizer = nn::to_safetensors(&sgd.state_dict()?)?;
        let mut batch = self.ctx.store.batch(self.run.id);
        let rows: Vec<Checkpoint> = [("model", model), ("optimizer", optimizer)]
            .into_iter()
            .enumerate()
            .map(|(i, (name, bytes))| Checkpoint {
                class_id: None,
                class_name: None,
                index: (2 * epochs + i) as u64,
                name: name.into(),
                epoch: epochs as i32,
                format: "safetensors".into(),
                size: bytes.len() as i64,
                blake3: blake3::hash(&bytes).to_hex().to_string(),
                blob: batch.blob(bytes),
            })
            .collect();
        batch.add(&rows)?.add(metrics)?.commit()?;
        Ok(())
    }

    /// Loads the last checkpoint, if there is one, and returns how many epochs it has seen.
    fn resume(&self, sgd: &mut Sgd) -> Result<usize, StageError> {
        let Some((epochs, mut state)) = last_model(self.ctx, self.run)? else {
            return Ok(0);
        };
        for (name, var) in &self.extra {
            let missing =
                || StageError::Mismatch(format!("the checkpoint of run {} has no `{name}`", self.run.id));
            var.set(&state.remove(name).ok_or_else(missing)?)?;
        }
        self.network.params().load_state_dict(&state)?;
        let rows: Vec<Checkpoint> = self.ctx.store.rows(self.run.id, None)?;
        let optimizer = rows
            .iter()
            .find(|c| c.name == "optimizer" && c.epoch as usize == epochs);
        if let Some(row) = optimizer {
            sgd.load_state_dict(&nn::from_safetensors(
                &self.ctx.store.blob(&row.blob)?,
                self.ctx.device,
            )?)?;
        }
        Ok(epochs)
    }
}

/// Returns the last model checkpoint of a run and the epochs it has seen.
pub(super) fn last_model(ctx: &Context<'_>, run: &Run) -> Result<Option<(usize, State)>, StageError> {
    let rows: Vec<Checkpoint> = ctx.store.rows(run.id, None)?;
    let last = rows
        .iter()
        .filter(|c| c.name == "model")
        .max_by_key(|c| c.index());
    let Some(row) = last else { return Ok(None) };
    let state = nn::from_safetensors(&ctx.store.blob(&row.blob)?, ctx.device)?;
    Ok(Some((row.epoch as usize, state)))
}

fn metric(index: u64, name: &str, epoch: usize, value: f64) -> Metric {
    Metric {
        class_id: None,
        class_name: None,
        index,
        name: name.into(),
        dataset: None,
        score: None,
        epoch: Some(epoch as i32),
        value,
    }
}
