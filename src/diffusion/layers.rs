//! Layers from a model's files: their numbers are read and handed to the engine.

use super::error::Result;
use super::weights::Scope;
use crate::engine::{
    Conv, GroupNorm, LayerNorm, Linear, RawConv, RawGroupNorm, RawLayerNorm, RawLinear, Stride,
};

/// Groups and epsilon of a group normalisation, and whether SiLU follows at once.
#[derive(Clone, Copy)]
pub(crate) struct Groups {
    pub(crate) groups: usize,
    pub(crate) epsilon: f64,
    pub(crate) silu: bool,
}

impl Scope<'_> {
    /// Reads `weight` `[outputs, inputs]` (or a 1x1 convolution's `[outputs, inputs, 1, 1]`) and, if asked,
    /// `bias`.
    pub(crate) fn linear(&self, inputs: usize, outputs: usize, bias: bool) -> Result<Linear> {
        stacked(std::slice::from_ref(self), inputs, outputs, bias)
    }

    /// Reads `weight` `[outputs, inputs, 3, 3]` and `bias`.
    pub(crate) fn conv(&self, inputs: usize, outputs: usize, stride: Stride) -> Result<Conv> {
        const KERNEL: usize = 3;
        let shape = [outputs, inputs, KERNEL, KERNEL];
        self.expect("weight", &[&shape])?;
        let mut scratch = self.scratch();
        let weight = scratch.numbers(shape.iter().product());
        self.read("weight", &[&shape], weight)?;
        let bias = self.tensor("bias", &[outputs])?;
        Ok(self.engine().conv(RawConv {
            inputs,
            outputs,
            kernel: KERNEL,
            stride,
            weight,
            bias: &bias,
        })?)
    }

    /// Reads `weight` and `bias` `[channels]`.
    pub(crate) fn group_norm(&self, channels: usize, groups: Groups) -> Result<GroupNorm> {
        Ok(self.engine().group_norm(RawGroupNorm {
            weight: &self.tensor("weight", &[channels])?,
            bias: &self.tensor("bias", &[channels])?,
            groups: groups.groups,
            epsilon: groups.epsilon,
            silu: groups.silu,
        })?)
    }

    /// Reads `weight` and `bias` `[channels]`.
    pub(crate) fn layer_norm(&self, channels: usize, epsilon: f64) -> Result<LayerNorm> {
        Ok(self.engine().layer_norm(RawLayerNorm {
            weight: &self.tensor("weight", &[channels])?,
            bias: &self.tensor("bias", &[channels])?,
            epsilon,
        })?)
    }
}

/// Reads several linear layers of the same input and puts their outputs side by side: `[each][outputs]`.
pub(crate) fn stacked(scopes: &[Scope], inputs: usize, outputs: usize, bias: bool) -> Result<Linear> {
    let Some(first) = scopes.first() else {
        return Err(candle_core::Error::Msg("a stack of no layers".into()).into());
    };
    let (two, four) = ([outputs, inputs], [outputs, inputs, 1, 1]);
    for scope in scopes {
        scope.expect("weight", &[&two, &four])?;
    }
    let mut scratch = first.scratch();
    let weights = scratch.numbers(scopes.len() * outputs * inputs);
    let mut biases = Vec::new();
    for (scope, weights) in scopes.iter().zip(weights.chunks_exact_mut(outputs * inputs)) {
        scope.read("weight", &[&two, &four], weights)?;
        if bias {
            biases.extend(scope.tensor("bias", &[outputs])?);
        }
    }
    Ok(first.engine().linear(RawLinear {
        inputs,
        outputs: outputs * scopes.len(),
        weight: weights,
        bias: bias.then_some(&biases),
    })?)
}
