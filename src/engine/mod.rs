//! Where and how the arithmetic of networks is done.
//!
//! An [`Engine`] is a device and a way of computing there. Networks ask it for layers and never for its
//! device's kind:
//!
//! - *composed*: candle's operations, on any device. It is what every layer does unless an engine does better
//!   (the default bodies of `Layers`), and the oracle that the others are tested against.
//! - *host*: the CPU's own kernels. Each row of an output is computed by itself in an order that depends on
//!   the layer alone, so that results are the same bits whatever the batch size and the number of threads.
//! - *cuda* (with the feature `cuda`): kernels for NVIDIA GPUs; see [`Options`].
//!
//! Another engine is a type that implements `Layers` for what it does better; it is chosen in
//! [`Engine::new`] and held against the composed one in `tests.rs`. Another layer is a method there with a
//! composed body.
//!
//! A layer is given as the numbers that were read (`raw`); how it keeps them is the engine's matter.

mod composed;
#[cfg(any(feature = "cuda", test))]
mod cuda;
mod gpu;
mod host;
mod layers;
mod options;
mod plan;
mod policy;
mod raw;
mod rounds;
#[cfg(test)]
mod tests;

pub(crate) mod wide;

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor, Var};

pub(crate) use self::composed::max_pool;
pub use self::gpu::{GpuError, MissingLibrary};
#[cfg(test)]
pub(crate) use self::host::composed_residual;
pub(crate) use self::host::simd;
use self::layers::Layers;
pub(crate) use self::layers::{Conv, GroupNorm, LayerNorm, Linear, Momentum, Repeat, Residual, Uploads};
pub use self::options::{Options, Part, Precision, Processor, Work};
pub(crate) use self::plan::{Block, EPSILON, Plan, Unit, Variables};
pub use self::policy::{Policy, Scores};
pub(crate) use self::raw::{
    Activation, Attention, ConvShape, Head, Plus, RawConv, RawGroupNorm, RawLayerNorm, RawLinear, Run,
    SgdRule, Stride,
};
pub(crate) use self::rounds::{RoundSearch, Rounds};
use self::wide::WidePlan;

/// A device, and the way of computing on it. Clones are the same engine.
#[derive(Clone, Debug)]
pub struct Engine(Arc<dyn Layers>);

impl Default for Engine {
    /// The CPU and its own kernels.
    fn default() -> Self {
        Self(Arc::new(host::Host))
    }
}

impl Engine {
    /// Returns the fastest engine for `device` with the default [`Options`].
    pub fn of(device: &Device) -> Self {
        Self::new(device, Options::default())
    }

    /// Returns the fastest engine for `device`. On the CPU there is nothing to choose.
    pub fn new(device: &Device, options: Options) -> Self {
        match device {
            Device::Cpu => Self::default(),
            #[cfg(feature = "cuda")]
            Device::Cuda(cuda) => Self(Arc::new(cuda::Cuda::new(cuda, options))),
            #[cfg(not(feature = "cuda"))]
            Device::Cuda(_) => {
                let _ = options;
                Self::composed(device)
            }
            Device::Metal(_) => Self::composed(device),
        }
    }

    /// Returns the engine that computes by candle's operations alone.
    pub fn composed(device: &Device) -> Self {
        Self(Arc::new(composed::Composed::new(device)))
    }

    /// Returns the engine of the same device that makes products in `precision`; none where it cannot do
    /// this work so.
    pub fn at(&self, work: Work, precision: Precision) -> Option<Self> {
        if !work.precisions(self.processor()).contains(&precision) {
            return None;
        }
        Some(self.0.at(precision).unwrap_or_else(|| self.clone()))
    }

    /// Returns the kind of processor whose kernels it has: the CPU where it is candle's operations alone.
    pub fn processor(&self) -> Processor {
        self.0.processor()
    }

    /// Returns what is computed with, as runs record it: the engine and the kind of the processor.
    pub fn describe(&self) -> String {
        self.0.describe()
    }

    /// Returns the engine's name: `host`, `composed` or `cuda`.
    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    /// Returns the device.
    pub fn device(&self) -> &Device {
        self.0.device()
    }

    /// Returns how a batch is cut here.
    pub fn policy(&self) -> Policy {
        self.0.policy()
    }

    /// Returns the bytes that are free now in the device's memory; none where it is the machine's, or
    /// unknown.
    pub fn free_memory(&self) -> Option<u64> {
        self.0.free_memory()
    }

    /// The engine for one part of a diffusion model, which may work in another precision.
    pub(crate) fn part(&self, part: Part) -> Result<Self> {
        Ok(self.0.part(part)?.unwrap_or_else(|| self.clone()))
    }

    /// The type of the activations.
    pub(crate) fn dtype(&self) -> DType {
        self.0.dtype()
    }

    pub(crate) fn linear(&self, raw: RawLinear) -> Result<Linear> {
        Linear::new(self.0.as_ref(), raw)
    }

    pub(crate) fn conv(&self, raw: RawConv) -> Result<Conv> {
        Conv::new(self.0.as_ref(), raw)
    }

    pub(crate) fn group_norm(&self, raw: RawGroupNorm) -> Result<GroupNorm> {
        GroupNorm::new(self.0.as_ref(), raw)
    }

    pub(crate) fn layer_norm(&self, raw: RawLayerNorm) -> Result<LayerNorm> {
        LayerNorm::new(self.0.as_ref(), raw)
    }

    /// Returns `softmax(q k^T / sqrt(head width)) v` of every head, side by side: `[batch, tokens, c]`.
    /// `causal`: a token sees itself and those before it.
    pub(crate) fn attention(&self, of: &Attention, heads: usize, causal: bool) -> Result<Tensor> {
        self.0.attention(of, &of.shape(heads, causal)?)
    }

    pub(crate) fn activation(&self, activation: Activation, x: &Tensor) -> Result<Tensor> {
        self.0.activation(activation, x)
    }

    /// The convolution of `x` `[n, c, h, w]` with `weight`, of shapes that fit `shape`; gradients reach both.
    pub(crate) fn conv2d(&self, x: &Tensor, weight: &Tensor, shape: &ConvShape) -> Result<Tensor> {
        self.0.conv2d(x, weight, shape)
    }

    /// A residual network of this plan.
    pub(crate) fn residual(&self, plan: &Plan) -> Box<dyn Residual> {
        self.0.residual(plan)
    }

    /// A wide residual network of this plan.
    pub(crate) fn wide(&self, plan: &WidePlan) -> Box<dyn Residual> {
        self.0.wide(plan)
    }

    /// What SGD keeps of a variable.
    pub(crate) fn momentum(&self, var: &Var) -> Box<dyn Momentum> {
        self.0.momentum(var)
    }

    /// Work that is done many times over.
    pub(crate) fn repeat(&self) -> Box<dyn Repeat> {
        self.0.repeat()
    }

    /// Says once what did not go as it should, and cost time alone.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.0.trouble()
    }

    /// A way for numbers to the device.
    pub(crate) fn uploads(&self) -> Box<dyn Uploads> {
        self.0.uploads()
    }

    /// A search of rounds of sampling, where the engine has one; the CPU's own gives the same bits.
    pub(crate) fn rounds(&self, class: &dyn Fn() -> Rounds) -> Result<Option<Box<dyn RoundSearch>>> {
        self.0.rounds(class)
    }
}
