//! What an engine can do, and what the networks hold of it.
//!
//! Every method of [`Layers`] has a body, the composed one: an engine overrides what it does better. What the
//! networks call ([`Linear`], [`Conv`], ...) checks shapes once for all engines.

use std::fmt::Debug;

use candle_core::{D, DType, Device, Result, Tensor, Var, bail};

use super::Engine;
use super::composed;
use super::options::{Part, Precision, Processor};
use super::plan::{Plan, Variables};
use super::policy::Policy;
use super::raw::{
    Activation, Attention, AttentionShape, ConvShape, Plus, RawConv, RawGroupNorm, RawLayerNorm, RawLinear,
    Run, SgdRule, Stride,
};
use super::rounds::{RoundSearch, Rounds};
use super::wide::WidePlan;

/// A way of computing on a device.
pub(crate) trait Layers: Send + Sync + Debug {
    fn name(&self) -> &'static str;

    fn device(&self) -> &Device;

    /// The kind of processor whose kernels it has.
    fn processor(&self) -> Processor {
        Processor::Cpu
    }

    /// The engine and the kind of its processor, in words.
    fn describe(&self) -> String {
        self.name().to_owned()
    }

    /// The engine of the same device that makes products in another way, where it has several.
    fn at(&self, precision: Precision) -> Option<Engine> {
        let _ = precision;
        None
    }

    /// The type of weights and activations.
    fn dtype(&self) -> DType {
        DType::F32
    }

    fn policy(&self) -> Policy {
        Policy::WHOLE
    }

    /// Bytes that are free now in a memory of the device's own.
    fn free_memory(&self) -> Option<u64> {
        None
    }

    /// Another engine for a part of a diffusion model.
    fn part(&self, part: Part) -> Result<Option<Engine>> {
        let _ = part;
        Ok(None)
    }

    fn linear(&self, raw: &RawLinear) -> Result<Box<dyn Weighted>> {
        composed::linear(self.device(), self.dtype(), raw)
    }

    fn conv(&self, raw: &RawConv) -> Result<Box<dyn Weighted>> {
        composed::conv(self.device(), self.dtype(), raw)
    }

    fn group_norm(&self, raw: &RawGroupNorm) -> Result<Box<dyn Normalize>> {
        composed::group_norm(self.device(), raw)
    }

    fn layer_norm(&self, raw: &RawLayerNorm) -> Result<Box<dyn Normalize>> {
        composed::layer_norm(self.device(), raw)
    }

    /// The tensors have been checked to be of this shape.
    fn attention(&self, of: &Attention, shape: &AttentionShape) -> Result<Tensor> {
        composed::attention(of, shape)
    }

    fn activation(&self, activation: Activation, x: &Tensor) -> Result<Tensor> {
        composed::activation(activation, x)
    }

    /// `x` `[n, c, h, w]`; gradients reach both operands.
    fn conv2d(&self, x: &Tensor, weight: &Tensor, shape: &ConvShape) -> Result<Tensor> {
        composed::conv2d(x, weight, shape)
    }

    fn residual(&self, plan: &Plan) -> Box<dyn Residual> {
        composed::residual(plan, composed::conv2d)
    }

    /// A network whose norms stand before their convolutions.
    fn wide(&self, plan: &WidePlan) -> Box<dyn Residual> {
        composed::wide(plan, composed::conv2d)
    }

    fn momentum(&self, var: &Var) -> Box<dyn Momentum> {
        composed::momentum(var)
    }

    fn repeat(&self) -> Box<dyn Repeat> {
        composed::repeat()
    }

    /// Says once what did not go as it should, and cost time alone.
    fn trouble(&self) -> Option<String> {
        None
    }

    fn uploads(&self) -> Box<dyn Uploads> {
        composed::uploads(self.device())
    }

    /// A search of rounds of sampling, where the engine has one: `outlier` has another for the CPU, which
    /// gives the same bits.
    fn rounds(&self, class: &dyn Fn() -> Rounds) -> Result<Option<Box<dyn RoundSearch>>> {
        let _ = class;
        Ok(None)
    }
}

/// A linear layer or a convolution, as an engine keeps it.
pub(crate) trait Weighted: Send + Sync {
    /// `x` fits the layer; `dims`: the result's.
    fn forward(&self, x: &Tensor, plus: Plus, dims: &[usize]) -> Result<Tensor>;
}

/// A normalisation, as an engine keeps it.
pub(crate) trait Normalize: Send + Sync {
    /// `x` has the norm's channels last.
    fn forward(&self, x: &Tensor) -> Result<Tensor>;
}

/// A residual network, as an engine keeps it.
pub(crate) trait Residual: Send + Sync + Debug {
    /// `x` f32 `[n, channels, h, w]`, of a size that the network can take. With `train` the running
    /// statistics change.
    fn forward(&self, variables: &Variables, x: &Tensor, run: Run) -> Result<Tensor>;

    /// The last layer alone: logits of features `[n, features]`, both as `forward` gives them. No gradient
    /// goes back through it.
    fn last(&self, variables: &Variables, features: &Tensor) -> Result<Tensor>;
}

/// What SGD keeps of a variable between steps.
pub(crate) trait Momentum: Send + Sync + Debug {
    /// Changes the variable by its gradient. PyTorch's update, number for number: `g += weight_decay * w; v =
    /// momentum * v + g` (`v = g` in the first step); `w -= lr * (g + momentum * v)` with Nesterov, `w -= lr
    /// * v` without.
    fn step(&mut self, var: &Var, grad: &Tensor, rule: &SgdRule) -> Result<()>;

    /// A copy of the velocity with the variable's shape; none before the first step.
    fn velocity(&self, var: &Var) -> Result<Option<Tensor>>;

    /// Replaces the velocity by that of another optimiser.
    fn set(&mut self, var: &Var, velocity: Option<&Tensor>) -> Result<()>;
}

/// Work that is the same at every call, but for two tensors that change.
pub(crate) trait Repeat: Send + Sync {
    /// Does `work` on tensors whose shapes are those of the last call, or else begins anew.
    fn run(&self, changing: [&Tensor; 2], work: &dyn Fn([&Tensor; 2]) -> Result<Tensor>) -> Result<Tensor>;
}

/// Takes numbers to the device.
pub(crate) trait Uploads {
    fn tensor(&mut self, numbers: Vec<f32>, shape: &[usize]) -> Result<Tensor>;
}

/// `y = x W^T + b` over the last dimension.
pub(crate) struct Linear {
    inputs: usize,
    outputs: usize,
    layer: Box<dyn Weighted>,
}

impl Linear {
    pub(super) fn new(layers: &dyn Layers, raw: RawLinear) -> Result<Self> {
        Ok(Self {
            inputs: raw.inputs,
            outputs: raw.outputs,
            layer: layers.linear(&raw)?,
        })
    }

    /// Applies the layer to `[.., inputs]`.
    pub(crate) fn forward(&self, x: &Tensor, plus: Plus) -> Result<Tensor> {
        let mut dims = x.dims().to_vec();
        match dims.last_mut() {
            Some(last) if *last == self.inputs => *last = self.outputs,
            Some(_) | None => bail!(
                "a linear layer of {} inputs cannot take {:?}",
                self.inputs,
                x.dims()
            ),
        }
        fits(plus, &dims)?;
        self.layer.forward(x, plus, &dims)
    }
}

/// A two-dimensional convolution with the channels last.
pub(crate) struct Conv {
    inputs: usize,
    outputs: usize,
    stride: Stride,
    layer: Box<dyn Weighted>,
}

impl Conv {
    pub(super) fn new(layers: &dyn Layers, raw: RawConv) -> Result<Self> {
        Ok(Self {
            inputs: raw.inputs,
            outputs: raw.outputs,
            stride: raw.stride,
            layer: layers.conv(&raw)?,
        })
    }

    /// Applies the convolution to `[batch, h, w, inputs]`.
    pub(crate) fn forward(&self, x: &Tensor, plus: Plus) -> Result<Tensor> {
        let (batch, rows, columns, channels) = x.dims4()?;
        if channels != self.inputs {
            bail!(
                "a convolution of {} channels cannot take {:?}",
                self.inputs,
                x.dims()
            );
        }
        let [height, width] = [rows, columns].map(|n| self.stride.side(n));
        let dims = [batch, height, width, self.outputs];
        fits(plus, &dims)?;
        self.layer.forward(x, plus, &dims)
    }
}

/// Refuses a residual of another shape than the result's.
fn fits(plus: Plus, dims: &[usize]) -> Result<()> {
    match plus {
        Plus::Residual(r) if r.dims() != dims => bail!("residual {:?} against {dims:?}", r.dims()),
        Plus::Nothing | Plus::Channels(_) | Plus::Residual(_) => Ok(()),
    }
}

/// Group normalisation of `[batch, .., channels]`: mean and variance of each group of channels over all
/// pixels.
pub(crate) struct GroupNorm {
    channels: usize,
    layer: Box<dyn Normalize>,
}

impl GroupNorm {
    pub(super) fn new(layers: &dyn Layers, raw: RawGroupNorm) -> Result<Self> {
        Ok(Self {
            channels: raw.weight.len(),
            layer: layers.group_norm(&raw)?,
        })
    }

    /// Normalises `[batch, .., channels]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if x.rank() < 2 || x.dim(D::Minus1)? != self.channels {
            bail!(
                "a group norm of {} channels cannot take {:?}",
                self.channels,
                x.dims()
            );
        }
        self.layer.forward(x)
    }
}

/// Layer normalisation over the last dimension.
pub(crate) struct LayerNorm {
    channels: usize,
    layer: Box<dyn Normalize>,
}

impl LayerNorm {
    pub(super) fn new(layers: &dyn Layers, raw: RawLayerNorm) -> Result<Self> {
        Ok(Self {
            channels: raw.weight.len(),
            layer: layers.layer_norm(&raw)?,
        })
    }

    /// Normalises `[.., channels]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if x.dim(D::Minus1)? != self.channels {
            bail!(
                "a layer norm of {} channels cannot take {:?}",
                self.channels,
                x.dims()
            );
        }
        self.layer.forward(x)
    }
}
