//! The residual block that UNet and VAE share (diffusers' `ResnetBlock2D`).

use candle_core::{Result as CandleResult, Tensor};

use super::error::Result;
use super::layers::Groups;
use super::weights::Scope;
use crate::engine::{Conv, GroupNorm, Linear, Plus, Stride};

pub(crate) struct Resnet {
    norm1: GroupNorm,
    conv1: Conv,
    time: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv,
    shortcut: Option<Linear>,
}

/// Groups and epsilon of the normalisations.
#[derive(Clone, Copy)]
pub(crate) struct Norm {
    pub(crate) groups: usize,
    pub(crate) epsilon: f64,
}

impl Norm {
    /// Reads a normalisation; `silu`: whether the activation follows at once.
    pub(crate) fn read(self, scope: &Scope, channels: usize, silu: bool) -> Result<GroupNorm> {
        let Self { groups, epsilon } = self;
        scope.group_norm(
            channels,
            Groups {
                groups,
                epsilon,
                silu,
            },
        )
    }

    /// Reads a normalisation that SiLU follows.
    pub(crate) fn silu(self, scope: &Scope, channels: usize) -> Result<GroupNorm> {
        self.read(scope, channels, true)
    }
}

impl Resnet {
    /// `time`: the width of the time embedding, where there is one.
    pub(crate) fn load(
        scope: &Scope,
        inputs: usize,
        outputs: usize,
        time: Option<usize>,
        norm: Norm,
    ) -> Result<Self> {
        let shortcut = scope.child("conv_shortcut");
        Ok(Self {
            norm1: norm.silu(&scope.child("norm1"), inputs)?,
            conv1: scope.child("conv1").conv(inputs, outputs, Stride::Same)?,
            time: time
                .map(|width| scope.child("time_emb_proj").linear(width, outputs, true))
                .transpose()?,
            norm2: norm.silu(&scope.child("norm2"), outputs)?,
            conv2: scope.child("conv2").conv(outputs, outputs, Stride::Same)?,
            shortcut: (inputs != outputs)
                .then(|| shortcut.linear(inputs, outputs, true))
                .transpose()?,
        })
    }

    /// `x` `[batch, h, w, inputs]`; `time` `[1, width]`, after its activation. Every tensor goes as soon as
    /// nothing reads it any more: at full resolution each is a few hundred megabytes.
    pub(crate) fn forward(&self, mut x: Tensor, time: Option<&Tensor>) -> CandleResult<Tensor> {
        let mut h = self.norm1.forward(&x)?;
        h = match (&self.time, time) {
            (Some(projection), Some(time)) => {
                let shift = projection.forward(time, Plus::Nothing)?.flatten_all()?;
                self.conv1.forward(&h, Plus::Channels(&shift))?
            }
            _ => self.conv1.forward(&h, Plus::Nothing)?,
        };
        h = self.norm2.forward(&h)?;
        if let Some(shortcut) = &self.shortcut {
            x = shortcut.forward(&x, Plus::Nothing)?;
        }
        self.conv2.forward(&h, Plus::Residual(&x))
    }
}
