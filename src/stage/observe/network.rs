//! Classifiers that other programs trained: weights in a file, and what they do not say of themselves.

use serde::{Deserialize, Serialize};

use crate::dataset::Channels;
use crate::engine::Work;
use crate::nn::{Form, ResNetConfig, Stem};
use crate::stage::detect::Detector;
use crate::stage::source::UseOf;
use crate::stage::training::{Still, Training, preparation, work};
use crate::stage::{Context, Refusals, Role, Source, StageError, StateSource};

/// The network that a file of weights is of, how it looks at images, and what its outputs mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Layers of the residual network: 10, 18, 34, 50 or 101; 20, 32, 44, 56 or 110 of three stages; of a
    /// wide one 6 n + 4, such as 40.
    pub depth: usize,
    /// `residual`, or `wide` for WideResNet, whose width is 16 times its factor: 32 for WRN-40-2.
    #[serde(default, skip_serializing_if = "Form::is_default")]
    pub form: Form,
    /// Channels of its first stage: in the literature 64, of three stages 16.
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
    /// Scales the shorter side of images to this before `size` is cut out of the middle; without it, to
    /// `size`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<u32>,
    /// The names of its classes, in the order of its outputs.
    pub classes: Vec<String>,
}

impl Network {
    /// Returns the network of a training of `classes`.
    pub fn of(training: &Training, classes: &[String]) -> Self {
        Self {
            depth: training.depth,
            form: training.form,
            width: training.width,
            stem: training.stem,
            size: training.size,
            channels: training.channels,
            mean: training.mean,
            std: training.std,
            resize: training.resize,
            classes: classes.to_vec(),
        }
    }

    /// Returns what it is computed as.
    pub(super) fn work(&self) -> Work {
        work(self.form, self.width)
    }

    /// Returns how many features an image has; none if there is no such network.
    pub(in crate::stage) fn features(&self) -> Option<usize> {
        self.config().features()
    }

    fn config(&self) -> ResNetConfig {
        ResNetConfig {
            depth: self.depth,
            stem: self.stem,
            width: self.width,
            in_channels: 3,
            num_outputs: self.classes.len(),
            form: self.form,
        }
    }

    pub(super) fn check(&self, refusals: &mut Refusals) {
        refusals.require(self.size > 0, "network.size", self.size, "at least 1");
        let std = self.std.iter().all(|s| *s > 0.0 && s.is_finite());
        refusals.require(std, "network.std", format!("{:?}", self.std), "positive numbers");
        let mean = self.mean.iter().all(|m| m.is_finite());
        refusals.require(mean, "network.mean", format!("{:?}", self.mean), "finite numbers");
        if let Some(side) = self.resize {
            let expected = "as long as size, or longer";
            refusals.require(side >= self.size, "network.resize", side, expected);
        }
        if self.classes.is_empty() {
            refusals.refuse("network.classes", "no class");
        } else if let Err(error) = self.config().check() {
            refusals.refuse("network", error.to_string());
        }
    }

    /// Checks that these weights are of the network, as far as names and shapes tell.
    pub(super) fn check_weights(
        &self,
        weights: &StateSource,
        refusals: &mut Refusals,
    ) -> Result<(), StageError> {
        if self.classes.is_empty() || self.config().check().is_err() {
            // That has been refused.
            return Ok(());
        }
        refusals
            .take(Role::Initial, weights.check(&self.config(), UseOf::Classifier))
            .map(|_| ())
    }

    /// Loads the weights.
    ///
    /// # Errors
    /// If they have changed, or are not of this network.
    pub(super) fn load(&self, ctx: &Context<'_>, weights: &StateSource) -> Result<Detector, StageError> {
        let still = Still {
            preparation: preparation(self.size, self.resize, self.channels),
            mean: self.mean,
            std: self.std,
        };
        let config = self.config();
        for note in weights.check(&config, UseOf::Classifier)? {
            ctx.progress.note(&format!("{}: {note}", weights.path()));
        }
        let state = weights.load(&config, UseOf::Classifier)?;
        Detector::of_state(ctx, self.config(), still, &self.classes, &state).map_err(|error| {
            let (name, path) = (weights.name(), weights.path());
            StageError::Mismatch(format!("the weights `{name}` ({path}): {error}"))
        })
    }
}
