//! Residual networks (He et al. 2016) with torchvision's tensor names.
//!
//! On the CPU the whole network is one operation of candle's graph: `engine` computes it with batch norm, ReLU and residual
//! sums folded into the convolutions' copies, and keeps what the backward pass needs. Elsewhere `composed` builds the same
//! network of candle's operations; tests hold the two against each other.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

use super::params::Params;
use super::{Error, Result};

mod backward;
mod composed;
#[cfg(feature = "cuda")]
mod cuda;
mod engine;
mod op;
mod plan;
mod pool;
#[cfg(test)]
mod tests;

#[cfg(feature = "cuda")]
pub use cuda::{Precision, set_precision};
use plan::Plan;

/// The first layers of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stem {
    /// A 3x3 convolution of stride 1 and no pooling, for pictures of about 32x32.
    Cifar,
    /// A 7x7 convolution of stride 2 and a 3x3 max-pool of stride 2, for pictures of about 224x224.
    ImageNet,
}

/// The shape of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResNetConfig {
    /// 10, 18 or 34 (blocks of two 3x3 convolutions) or 50 (bottleneck blocks).
    pub depth: usize,
    /// The first layers.
    pub stem: Stem,
    /// Channels of the first stage; each of the next three doubles them. 64 in the literature, 16 makes a small network.
    pub width: usize,
    /// Channels of the picture.
    pub in_channels: usize,
    /// Numbers that the last linear layer gives: classes, or the size of an embedding.
    pub num_outputs: usize,
}

impl ResNetConfig {
    /// Length of the pooled feature vector.
    pub fn feature_len(&self) -> usize {
        self.width * 8 * if self.depth == 50 { 4 } else { 1 }
    }
}

/// A residual network and its tensors.
#[derive(Debug)]
pub struct ResNet {
    config: ResNetConfig,
    plan: Plan,
    params: Params,
    pool: Arc<pool::Pool>,
    #[cfg(feature = "cuda")]
    cuda: cuda::Slot,
}

/// What a forward pass returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Head {
    Logits,
    Features,
}

impl ResNet {
    /// Creates a network with torchvision's initialisation; its numbers depend on `seed` and the tensors' names alone.
    ///
    /// # Errors
    /// [`Error::Config`] for an unknown depth or a zero size.
    pub fn new(config: ResNetConfig, seed: u64, device: &Device) -> Result<Self> {
        let specs = plan::specs(&config)?;
        let params = Params::new(specs, seed, device)?;
        let plan = Plan::new(&config, &params)?;
        Ok(Self {
            config,
            plan,
            params,
            pool: Arc::default(),
            #[cfg(feature = "cuda")]
            cuda: cuda::Slot::default(),
        })
    }

    /// The network's shape.
    pub fn config(&self) -> &ResNetConfig {
        &self.config
    }

    /// The network's tensors: what is trained ([`Params::var`]), saved and loaded.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Returns the logits `[n, num_outputs]` of pictures `x` `[n, in_channels, h, w]`.
    ///
    /// With `train`, batch norm uses the batch's statistics and updates the running ones (momentum 0.1). Without, it uses
    /// the running ones; a backward pass through that result is refused on the CPU.
    ///
    /// # Errors
    /// [`Error::Shape`] if `x` does not fit, or with `train` has one number a channel only; candle's errors.
    pub fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.run(x, train, Head::Logits)
    }

    /// Returns the pooled vectors before the last linear layer, `[n, feature_len]`; as [`Self::forward`] otherwise.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn features(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.run(x, train, Head::Features)
    }

    /// The network composed of candle's operations (for trials).
    #[cfg(feature = "cuda")]
    pub fn composed(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        composed::forward(&self.plan, &self.params, x, train, Head::Logits)
    }

    /// Times of every way of every convolution (for trials).
    #[cfg(feature = "cuda")]
    pub fn measure(&self, samples: usize, size: [usize; 2], repeats: usize) -> Result<Vec<String>> {
        let lines = self
            .cuda
            .measure(&self.plan, self.params.device(), samples, size, repeats)?;
        Ok(lines.into_iter().map(|l| l.line).collect())
    }

    fn run(&self, x: &Tensor, train: bool, head: Head) -> Result<Tensor> {
        let (h, w) = match x.dims() {
            &[n, channels, h, w] if n > 0 && channels == self.config.in_channels && h > 0 && w > 0 => (h, w),
            _ => {
                let expected = format!("[n, {}, h, w]", self.config.in_channels);
                return Err(Error::Shape {
                    what: "pictures",
                    expected,
                    actual: x.dims().to_vec(),
                });
            }
        };
        if train && x.dims()[0] * self.plan.last_area(h, w) == 1 {
            let expected = "more than one number a channel in the last stage: a larger batch".into();
            return Err(Error::Shape {
                what: "training batch",
                expected,
                actual: x.dims().to_vec(),
            });
        }
        let x = x.to_dtype(DType::F32)?;
        if self.params.device().is_cpu() {
            return op::forward(&self.plan, &self.pool, &self.params, &x, train, head);
        }
        #[cfg(feature = "cuda")]
        if self.cuda.runs(&self.plan, self.params.device(), &x) {
            return cuda::forward(&self.plan, &self.cuda, &self.params, &x, train, head);
        }
        { composed::forward(&self.plan, &self.params, &x, train, head) }
    }
}
