//! The attention part of a UNet block (diffusers' `Transformer2DModel` around one `BasicTransformerBlock`).

use candle_core::{Result as CandleResult, Tensor};

use crate::diffusion::error::Result;
use crate::diffusion::ops::{Attention, GroupNorm, LayerNorm, Linear, Plus, attention, geglu};
use crate::diffusion::weights::Scope;

pub(super) struct Transformer {
    heads: usize,
    fused: bool,
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
    /// `slot`: this block's place among all that look at the prompt. `use_linear_projection` need not be known: a linear
    /// layer and a 1x1 convolution are the same product, and both shapes of weight are read.
    pub(super) fn load(
        scope: &Scope,
        channels: usize,
        heads: usize,
        prompt_width: usize,
        groups: usize,
        slot: usize,
    ) -> Result<Self> {
        let block = scope.child("transformer_blocks.0");
        let norm = |name: &str| LayerNorm::load(&block.child(name), channels, 1e-5);
        let [own, cross] = ["attn1", "attn2"].map(|name| block.child(name));
        let qkv = ["to_q", "to_k", "to_v"].map(|name| own.child(name));
        let kv = ["to_k", "to_v"].map(|name| cross.child(name));
        let project = |scope: &Scope| Linear::load(scope, channels, channels, true);
        let ff = block.child("ff.net");
        Ok(Self {
            heads,
            fused: scope.backend().fused,
            norm: GroupNorm::load(&scope.child("norm"), channels, groups, 1e-6, false)?,
            enter: project(&scope.child("proj_in"))?,
            norm1: norm("norm1")?,
            own: Linear::load_stacked(&qkv, channels, channels, false)?,
            own_out: project(&own.child("to_out.0"))?,
            norm2: norm("norm2")?,
            query: Linear::load(&cross.child("to_q"), channels, channels, false)?,
            prompt: Linear::load_stacked(&kv, prompt_width, channels, false)?,
            cross_out: project(&cross.child("to_out.0"))?,
            norm3: norm("norm3")?,
            up: Linear::load(&ff.child("0.proj"), channels, 8 * channels, true)?,
            down: Linear::load(&ff.child("2"), 4 * channels, channels, true)?,
            leave: project(&scope.child("proj_out"))?,
            slot,
        })
    }

    /// Keys and values of a prompt, side by side: `[batch, tokens, m] -> [batch, tokens, 2c]`.
    pub(super) fn prompt(&self, states: &Tensor) -> CandleResult<Tensor> {
        self.prompt.forward(states, Plus::Nothing)
    }

    /// `x` `[batch, h, w, c]`; `prompts`: what [`Self::prompt`] of every block returned, in the order of their slots.
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
        let mixed = attention(&Attention::Own(&qkv), self.heads, false, self.fused)?;
        let x = self.own_out.forward(&mixed, Plus::Residual(&x))?;
        let query = self.query.forward(&self.norm2.forward(&x)?, Plus::Nothing)?;
        let mixed = attention(&Attention::Cross(&query, prompt), self.heads, false, self.fused)?;
        let x = self.cross_out.forward(&mixed, Plus::Residual(&x))?;
        let hidden = geglu(&self.up.forward(&self.norm3.forward(&x)?, Plus::Nothing)?)?;
        let x = self.down.forward(&hidden, Plus::Residual(&x))?;
        self.leave
            .forward(&x.reshape(image.shape())?, Plus::Residual(image))
    }
}
