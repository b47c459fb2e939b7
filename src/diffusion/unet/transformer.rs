//! The attention part of a UNet block (diffusers' `Transformer2DModel` around one `BasicTransformerBlock`).

use candle_core::{Result as CandleResult, Tensor};

use crate::diffusion::error::Result;
use crate::diffusion::layers::{Groups, stacked};
use crate::diffusion::weights::Scope;
use crate::engine::{Activation, Attention, Engine, GroupNorm, LayerNorm, Linear, Plus};

pub(super) struct Transformer {
    heads: usize,
    engine: Engine,
    norm: GroupNorm,
    enter: Linear,
    norm1: LayerNorm,
    own: Linear,
    own_out: Linear,
    norm2: LayerNorm,
    query: Linear,
    prompt: Linear,
    cross_out: Linear,
    norm3: LayerNorm,
    up: Linear,
    down: Linear,
    leave: Linear,
    /// Which of the prompt's key and value tensors is this block's.
    slot: usize,
}

impl Transformer {
    /// `slot`: this block's place among all that look at the prompt. `use_linear_projection` need not be
    /// known: a linear layer and a 1x1 convolution are the same product, and both shapes of weight are read.
    pub(super) fn load(
        scope: &Scope,
        channels: usize,
        heads: usize,
        prompt_width: usize,
        groups: usize,
        slot: usize,
    ) -> Result<Self> {
        let block = scope.child("transformer_blocks.0");
        let layer_norm = |name: &str| block.child(name).layer_norm(channels, 1e-5);
        let [own, cross] = ["attn1", "attn2"].map(|name| block.child(name));
        let qkv = ["to_q", "to_k", "to_v"].map(|name| own.child(name));
        let kv = ["to_k", "to_v"].map(|name| cross.child(name));
        let project = |scope: &Scope| scope.linear(channels, channels, true);
        let ff = block.child("ff.net");
        let norm = Groups {
            groups,
            epsilon: 1e-6,
            silu: false,
        };
        Ok(Self {
            heads,
            engine: scope.engine().clone(),
            norm: scope.child("norm").group_norm(channels, norm)?,
            enter: project(&scope.child("proj_in"))?,
            norm1: layer_norm("norm1")?,
            own: stacked(&qkv, channels, channels, false)?,
            own_out: project(&own.child("to_out.0"))?,
            norm2: layer_norm("norm2")?,
            query: cross.child("to_q").linear(channels, channels, false)?,
            prompt: stacked(&kv, prompt_width, channels, false)?,
            cross_out: project(&cross.child("to_out.0"))?,
            norm3: layer_norm("norm3")?,
            up: ff.child("0.proj").linear(channels, 8 * channels, true)?,
            down: ff.child("2").linear(4 * channels, channels, true)?,
            leave: project(&scope.child("proj_out"))?,
            slot,
        })
    }

    /// Keys and values of a prompt, side by side: `[batch, tokens, m] -> [batch, tokens, 2c]`.
    pub(super) fn prompt(&self, states: &Tensor) -> CandleResult<Tensor> {
        self.prompt.forward(states, Plus::Nothing)
    }

    /// `x` `[batch, h, w, c]`; `prompts`: what [`Self::prompt`] of every block returned, in the order of
    /// their slots.
    pub(super) fn forward(&self, image: &Tensor, prompts: &[Tensor]) -> CandleResult<Tensor> {
        let (batch, height, width, channels) = image.dims4()?;
        let Some(prompt) = prompts.get(self.slot) else {
            candle_core::bail!(
                "{} prompt tensors, but this block is number {}",
                prompts.len(),
                self.slot
            );
        };
        let x = self.enter.forward(&self.norm.forward(image)?, Plus::Nothing)?;
        let x = x.reshape((batch, height * width, channels))?;
        let qkv = self.own.forward(&self.norm1.forward(&x)?, Plus::Nothing)?;
        let mixed = self.engine.attention(&Attention::Own(&qkv), self.heads, false)?;
        let x = self.own_out.forward(&mixed, Plus::Residual(&x))?;
        let query = self.query.forward(&self.norm2.forward(&x)?, Plus::Nothing)?;
        let cross = Attention::Cross(&query, prompt);
        let mixed = self.engine.attention(&cross, self.heads, false)?;
        let x = self.cross_out.forward(&mixed, Plus::Residual(&x))?;
        let hidden = self.up.forward(&self.norm3.forward(&x)?, Plus::Nothing)?;
        let hidden = self.engine.activation(Activation::Geglu, &hidden)?;
        let x = self.down.forward(&hidden, Plus::Residual(&x))?;
        self.leave
            .forward(&x.reshape(image.shape())?, Plus::Residual(image))
    }
}
