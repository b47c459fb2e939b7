//! Residual networks (He et al. 2016) with torchvision's tensor names.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};

use super::tensors::{Spec, Tensors};
use super::{Error, Result};
use crate::engine::wide::WidePlan;
use crate::engine::{Engine, Head, Plan, Residual, Run};
use crate::words::words;

pub use inner::Inner;

mod inner;
mod plan;
#[cfg(test)]
mod tests;
mod wide;

words! {
    /// The first layers of a network.
    pub enum Stem {
        /// A 3x3 convolution of stride 1 and no pooling, for pictures of about 32x32.
        Cifar = "cifar",
        /// A 7x7 convolution of stride 2 and a 3x3 max-pool of stride 2, for pictures of about 224x224.
        ImageNet = "imagenet",
    }
}

/// What blocks are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Norms behind convolutions, four stages (He et al. 2016), by torchvision's names.
    #[default]
    Residual,
    /// Norms before convolutions, three stages behind a 3x3 convolution of 16 channels: a wide residual
    /// network (WRN-40-2: depth 40, width 32). On the CPU it is composed of convolutions of our own and
    /// candle's operations, which takes longer than a network of the other form with as many
    /// multiplications.
    Wide,
}

impl Form {
    /// Says whether it is the form of networks that do not name theirs.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The shape of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResNetConfig {
    /// 10, 18 or 34 (blocks of two 3x3 convolutions), 50 or 101 (bottleneck blocks), of four stages; 20, 32,
    /// 44, 56 or 110 (blocks of two 3x3 convolutions), of three: He et al.'s networks for CIFAR; of a wide
    /// network 6 n + 4.
    pub depth: usize,
    /// The first layers; a wide network has those for small pictures.
    pub stem: Stem,
    /// Channels of the first stage; each of the next doubles them. In the literature 64 of four stages, and
    /// 16 of three; 16 of four makes a small network.
    pub width: usize,
    /// Channels of the picture.
    pub in_channels: usize,
    /// Numbers that the last linear layer gives: classes, or the size of an embedding.
    pub num_outputs: usize,
    /// What blocks are made of.
    pub form: Form,
}

/// The layers of a network of either form.
#[derive(Debug)]
enum Layers {
    Residual(Plan),
    Wide(WidePlan),
}

impl ResNetConfig {
    /// Checks that there is such a network.
    ///
    /// # Errors
    /// [`Error::Config`] for an unknown depth or a zero size.
    pub fn check(&self) -> Result<()> {
        self.specs().map(|_| ())
    }

    /// Returns the bytes that a training step takes at least, with so many square pictures: weights with
    /// their gradients and momentum, and what every convolution gives, which the way back needs.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn training_bytes(&self, batch: usize, side: usize) -> Result<f64> {
        let numbers = |shape: &[usize]| shape.iter().map(|n| *n as f64).product::<f64>();
        let weights: f64 = self.specs()?.iter().map(|spec| numbers(&spec.shape)).sum();
        let activations = match self.form {
            Form::Residual => plan::activations(self, side)?,
            Form::Wide => wide::activations(self, side)?,
        };
        Ok(4.0 * (3.0 * weights + batch as f64 * activations))
    }

    /// Returns how many numbers a channel of the last stage has of a square picture.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn last_area(&self, side: usize) -> Result<usize> {
        match self.form {
            Form::Residual => Ok(plan::unplaced(self)?.last_area(side, side)),
            Form::Wide => Ok(wide::last_area(&wide::unplaced(self)?, side, side)),
        }
    }

    /// Returns the shape of each tensor of such a network, by torchvision's names.
    pub(crate) fn shapes(&self) -> Result<BTreeMap<String, Vec<usize>>> {
        let specs = self.specs()?.into_iter();
        Ok(specs.map(|spec| (spec.name, spec.shape)).collect())
    }

    /// Returns the length of the pooled feature vector: what the last layer reads.
    pub(crate) fn features(&self) -> Option<usize> {
        self.shapes().ok()?.get("fc.weight")?.get(1).copied()
    }

    fn specs(&self) -> Result<Vec<Spec>> {
        match self.form {
            Form::Residual => plan::specs(self),
            Form::Wide if self.stem == Stem::ImageNet => Err(Error::Config {
                field: "stem",
                value: "imagenet".into(),
                expected: "cifar for a wide network",
            }),
            Form::Wide => wide::specs(self),
        }
    }
}

/// A residual network and its tensors.
#[derive(Debug)]
pub struct ResNet {
    config: ResNetConfig,
    layers: Layers,
    tensors: Tensors,
    engine: Engine,
    network: Box<dyn Residual>,
}

impl ResNet {
    /// Creates a network with torchvision's initialisation; its numbers depend on `seed` and the tensors'
    /// names alone.
    ///
    /// # Errors
    /// [`Error::Config`] for an unknown depth or a zero size.
    pub fn new(config: ResNetConfig, seed: u64, engine: &Engine) -> Result<Self> {
        let tensors = Tensors::new(config.specs()?, seed, engine.device())?;
        let (network, layers) = match config.form {
            Form::Residual => {
                let plan = plan::placed(&config, &tensors)?;
                (engine.residual(&plan), Layers::Residual(plan))
            }
            Form::Wide => {
                let plan = wide::placed(&config, &tensors)?;
                (engine.wide(&plan), Layers::Wide(plan))
            }
        };
        Ok(Self {
            config,
            layers,
            tensors,
            network,
            engine: engine.clone(),
        })
    }

    /// The network's shape.
    pub fn config(&self) -> &ResNetConfig {
        &self.config
    }

    /// Length of the pooled feature vector.
    pub fn feature_len(&self) -> usize {
        match &self.layers {
            Layers::Residual(plan) => plan.features,
            Layers::Wide(plan) => plan.features,
        }
    }

    /// The network's tensors: what is trained ([`Tensors::var`]), saved and loaded.
    pub fn tensors(&self) -> &Tensors {
        &self.tensors
    }

    /// Returns the logits `[n, num_outputs]` of pictures `x` `[n, in_channels, h, w]`.
    ///
    /// With `train`, batch norm uses the batch's statistics and updates the running ones (momentum 0.1).
    /// Without, it uses the running ones; a backward pass through that result is refused on the CPU.
    ///
    /// # Errors
    /// [`Error::Shape`] if `x` does not fit, or with `train` has one number per channel alone; candle's
    /// errors.
    pub fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.run(x, train, Head::Logits)
    }

    /// Returns the pooled vectors before the last linear layer, `[n, feature_len]`; as [`Self::forward`]
    /// otherwise.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn features(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.run(x, train, Head::Features)
    }

    /// Returns the logits `[n, num_outputs]` of pooled vectors `[n, feature_len]`: with [`Self::features`]
    /// those that [`Self::forward`] gives. No gradient goes back through them.
    ///
    /// # Errors
    /// [`Error::Shape`] if they do not fit; candle's errors.
    pub fn last(&self, features: &Tensor) -> Result<Tensor> {
        let width = self.feature_len();
        if !matches!(features.dims(), &[n, len] if n > 0 && len == width) {
            return Err(Error::Shape {
                what: "features",
                expected: format!("[n, {width}]"),
                actual: features.dims().to_vec(),
            });
        }
        Ok(self.network.last(self.tensors.variables(), features)?)
    }

    /// Says whether its layers can be looked at ([`Self::inner`]).
    pub fn shows_layers(&self) -> bool {
        matches!(self.layers, Layers::Residual(_))
    }

    /// Its layers in evaluation mode, one by one.
    pub fn inner(&self) -> Inner<'_> {
        Inner(self)
    }

    /// Returns the height and width of pictures `[n, in_channels, h, w]`.
    fn check_pictures(&self, x: &Tensor) -> Result<(usize, usize)> {
        match x.dims() {
            &[n, channels, h, w] if n > 0 && channels == self.config.in_channels && h > 0 && w > 0 => {
                Ok((h, w))
            }
            _ => Err(Error::Shape {
                what: "pictures",
                expected: format!("[n, {}, h, w]", self.config.in_channels),
                actual: x.dims().to_vec(),
            }),
        }
    }

    fn run(&self, x: &Tensor, train: bool, head: Head) -> Result<Tensor> {
        let (h, w) = self.check_pictures(x)?;
        let area = match &self.layers {
            Layers::Residual(plan) => plan.last_area(h, w),
            Layers::Wide(plan) => wide::last_area(plan, h, w),
        };
        if train && x.dims()[0] * area == 1 {
            let expected = "more than one number a channel in the last stage: a larger batch".into();
            return Err(Error::Shape {
                what: "training batch",
                expected,
                actual: x.dims().to_vec(),
            });
        }
        let x = x.to_dtype(DType::F32)?;
        Ok(self
            .network
            .forward(self.tensors.variables(), &x, Run { train, head })?)
    }
}
