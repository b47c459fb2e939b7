//! What `encode` and `detect` share: training a residual network on an image set, a checkpoint and metrics an
//! epoch, resume.

mod backbone;
mod check;
mod checkpoint;
mod divide;
mod mix;
mod objective;
mod still;
mod trainer;

use candle_core::Tensor;
use dream_schema::Run;
use serde::{Deserialize, Serialize};

use super::arithmetic::settled;
use super::pictures::{HELD_BYTES, Look, Pictures};
use super::source::UseOf;
use super::{Arithmetic, Context, ImageSource, Refusals, Role, Source, StageError, StateSource};
use crate::dataset::{Channels, Preparation};
use crate::engine::{Precision, Work};
use crate::nn::augment::{Augmentation, ColorJitter, Policy, ResizedCrop};
use crate::nn::{self, Form, ResNet, ResNetConfig, State, Stem};

pub use backbone::Backbone;
pub(super) use check::check_pace;
pub(super) use checkpoint::used_model;
pub use checkpoint::{CheckpointName, used_row};
pub use divide::Validation;
pub use mix::{Mix, MixImages};
pub(super) use objective::{CrossEntropy, Objective, Step};
pub(super) use still::Still;
pub(super) use trainer::Trainer;

/// The network, and how it is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Layers of the residual network: 10, 18, 34, 50 or 101; 20, 32, 44, 56 or 110 of three stages; of a
    /// wide one 6 n + 4, such as 40.
    pub depth: usize,
    /// `residual`, or `wide` for WideResNet, whose width is 16 times its factor: 32 for WRN-40-2.
    #[serde(default, skip_serializing_if = "Form::is_default")]
    pub form: Form,
    /// Channels of its first stage: 64 in the paper.
    pub width: usize,
    /// `cifar`: 3x3 with stride 1 and no max-pool; `imagenet`: 7x7 with stride 2 and max-pool.
    pub stem: Stem,
    /// Height and width that all images are brought to.
    pub size: u32,
    /// `gray`: luma, three times; `rgb`.
    pub channels: Channels,
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
    /// Trains on random parts of the images, scaled to `size`, instead: torchvision's `RandomResizedCrop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resized_crop: Option<ResizedCrop>,
    /// Varies the colours of training images: torchvision's `ColorJitter`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color_jitter: Option<ColorJitter>,
    /// Operations that training pictures go through before crop and flip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub augment: Option<Policy>,
    /// Mixes every training image with the one before it in its batch, and their labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mix: Option<MixImages>,
    /// Scales the shorter side of whole images to this before `size` is cut out of the middle; without it, to
    /// `size`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<u32>,
    /// The split to train on.
    pub split: String,
    /// The split to measure the accuracy on.
    pub test_split: String,
    /// A checkpoint is kept after every so many epochs, and after the last.
    pub checkpoint_every: usize,
    /// Holds images out of the training split; the network of the best accuracy on them is the one that is
    /// used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
    /// How the network is computed; without it, in f32. `tf32` and `bf16` are for GPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// Of initial weights from a file, leaves out the last layer (`fc`), which then starts as drawn.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub new_head: bool,
}

/// Returns what a network of this form is computed as.
pub(super) fn work(form: Form, width: usize) -> Work {
    match form {
        Form::Residual if width.is_multiple_of(8) => Work::Residual,
        Form::Residual | Form::Wide => Work::Other,
    }
}

/// Returns how images are brought to `size` and these channels; see [`Training::resize`].
pub(super) fn preparation(size: u32, resize: Option<u32>, channels: Channels) -> Preparation {
    Preparation {
        resize: resize.map(|side| side as usize),
        ..Preparation::new(size as usize, size as usize, channels)
    }
}

impl Training {
    /// Returns how images are brought to the network's input, wherever they come from.
    pub fn preparation(&self) -> Preparation {
        preparation(self.size, self.resize, self.channels)
    }

    /// Returns what is computed of it, and how.
    pub(super) fn arithmetic(&self) -> Arithmetic {
        Arithmetic {
            key: "training.precision",
            work: self.work(),
            precision: self.precision.unwrap_or(Precision::F32),
        }
    }

    /// Returns what its network is computed as.
    pub fn work(&self) -> Work {
        work(self.form, self.width)
    }

    /// Brings the precision into its one form.
    pub(super) fn settle(&mut self) {
        self.precision = settled(self.precision, self.work());
    }

    /// Returns how many features an image has; none if there is no such network.
    pub(in crate::stage) fn features(&self) -> Option<usize> {
        self.config(1).features()
    }

    fn config(&self, outputs: usize) -> ResNetConfig {
        ResNetConfig {
            depth: self.depth,
            stem: self.stem,
            width: self.width,
            in_channels: 3,
            num_outputs: outputs,
            form: self.form,
        }
    }

    pub(super) fn network(&self, outputs: usize, seed: u64, ctx: &Context<'_>) -> Result<ResNet, StageError> {
        Ok(ResNet::new(self.config(outputs), seed, ctx.engine)?)
    }

    /// How a training step looks at an image.
    pub(super) fn look(&self) -> Look {
        Look {
            augmentation: Augmentation {
                flip: self.flip,
                crop_padding: self.crop_padding,
                fill: 0,
                jitter: self.color_jitter.clone(),
                policy: self.augment.clone(),
                mean: self.mean.iter().map(|v| *v as f32).collect(),
                std: self.std.iter().map(|v| *v as f32).collect(),
            },
            resized_crop: self.resized_crop.clone(),
        }
    }

    /// Opens the training split and the test split.
    pub(super) fn open(&self, source: &ImageSource) -> Result<[Pictures<'static>; 2], StageError> {
        let whole = self.resized_crop.is_none();
        let open =
            |split: &str, whole| Pictures::of_set(source, split, self.preparation(), whole, HELD_BYTES);
        Ok([open(&self.split, whole)?, open(&self.test_split, true)?])
    }

    /// Returns the images of these labels that are trained on and those held out for validation.
    pub(super) fn divide(
        &self,
        labels: &[u32],
        classes: &[String],
        seed: u64,
    ) -> Result<[Vec<u32>; 2], StageError> {
        match &self.validation {
            Some(validation) => validation.divide(labels, classes, seed),
            None => Ok([(0..labels.len() as u32).collect(), Vec::new()]),
        }
    }

    /// How the network looks at whole images.
    pub(super) fn still(&self) -> Still {
        Still {
            preparation: self.preparation(),
            mean: self.mean,
            std: self.std,
        }
    }

    /// Returns what the network makes of the images `samples`, without augmentation: `[samples, outputs]`,
    /// flat.
    pub(super) fn outputs(
        &self,
        ctx: &Context<'_>,
        network: &ResNet,
        images: &Pictures<'_>,
        samples: &[u32],
        then: impl Fn(Tensor) -> nn::Result<Tensor>,
    ) -> Result<Vec<f32>, StageError> {
        let pass = |x: &Tensor| then(network.forward(x, false)?.detach());
        self.still().outputs(ctx, images, samples, pass)
    }
}

/// Returns the weights in a file that a run starts from, if it names any, with `outputs` outputs.
///
/// # Errors
/// If they are not registered, have changed, or are not of this network: the message says which tensor.
pub(super) fn initial(
    ctx: &Context<'_>,
    run: &Run,
    training: &Training,
    network: &ResNet,
    outputs: usize,
) -> Result<Option<State>, StageError> {
    if !run.spec.sources.keys().any(|role| Role::Initial.is(role)) {
        return Ok(None);
    }
    let source = StateSource::find(ctx.store, run, &Role::Initial)?;
    let config = training.config(outputs);
    let start = UseOf::Start {
        new_head: training.new_head,
    };
    let mut state = source.load(&config, start)?;
    for note in source.check(&config, start)? {
        ctx.progress.note(&format!("{}: {note}", source.path()));
    }
    if training.new_head {
        let own = network.tensors().state_dict()?;
        state.extend(own.into_iter().filter(|(name, _)| name.starts_with("fc.")));
    }
    Ok(Some(state))
}

/// Refuses weights that are not of this network, as far as names and shapes tell; `outputs`, where they are
/// known.
pub(super) fn check_initial(
    weights: &StateSource,
    training: &Training,
    outputs: Option<usize>,
    refusals: &mut Refusals,
) -> Result<(), StageError> {
    let config = training.config(outputs.unwrap_or(1));
    if config.check().is_err() {
        // That has been refused.
        return Ok(());
    }
    let new_head = training.new_head || outputs.is_none();
    let fits = weights.check(&config, UseOf::Start { new_head });
    refusals.take(Role::Initial, fits).map(|_| ())
}

/// Returns the labels of a set that must have them, one of each class at least.
pub(super) fn labels<'a>(
    images: &'a Pictures<'_>,
    classes: &[String],
    name: &str,
) -> Result<&'a [u32], StageError> {
    let wrong = |what: String| Err(StageError::Mismatch(format!("the image set `{name}` {what}")));
    let Some(labels) = images.labels() else {
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
