//! CLIP's text encoder (Radford et al. 2021; transformers' `CLIPTextModel`), with a place to put another
//! embedding for one token: the outlier that is to be imagined.

use candle_core::{Result as CandleResult, Tensor};

use super::config::TextConfig;
use super::error::{DiffusionError, Result};
use super::layers::stacked;
use super::weights::Scope;
use crate::engine::{Activation, Attention, Engine, LayerNorm, Linear, Plus};

struct Layer {
    norm1: LayerNorm,
    qkv: Linear,
    out: Linear,
    norm2: LayerNorm,
    up: Linear,
    down: Linear,
}

/// The text encoder.
pub(crate) struct TextEncoder {
    config: TextConfig,
    engine: Engine,
    /// `[vocabulary, m]`
    tokens: Vec<f32>,
    /// `[positions, m]`
    positions: Vec<f32>,
    layers: Vec<Layer>,
    norm: LayerNorm,
}

impl TextEncoder {
    pub(crate) fn load(config: TextConfig, scope: &Scope) -> Result<Self> {
        let width = config.hidden_size;
        let embeddings = scope.child("embeddings");
        let encoder = scope.child("encoder").child("layers");
        let norm = |scope: &Scope| scope.layer_norm(width, config.layer_norm_eps);
        let mut layers = Vec::new();
        for i in 0..config.num_hidden_layers {
            let layer = encoder.child(i);
            let attention = layer.child("self_attn");
            let mlp = layer.child("mlp");
            let qkv = ["q_proj", "k_proj", "v_proj"].map(|name| attention.child(name));
            layers.push(Layer {
                norm1: norm(&layer.child("layer_norm1"))?,
                qkv: stacked(&qkv, width, width, true)?,
                out: attention.child("out_proj").linear(width, width, true)?,
                norm2: norm(&layer.child("layer_norm2"))?,
                up: mlp.child("fc1").linear(width, config.intermediate_size, true)?,
                down: mlp.child("fc2").linear(config.intermediate_size, width, true)?,
            });
        }
        Ok(Self {
            engine: scope.engine().clone(),
            tokens: embeddings.tensor("token_embedding.weight", &[config.vocab_size, width])?,
            positions: embeddings.tensor(
                "position_embedding.weight",
                &[config.max_position_embeddings, width],
            )?,
            layers,
            norm: norm(&scope.child("final_layer_norm"))?,
            config,
        })
    }

    pub(crate) fn width(&self) -> usize {
        self.config.hidden_size
    }

    /// The token's row of the input table.
    pub(crate) fn embedding(&self, token: u32) -> Result<&[f32]> {
        let width = self.width();
        let start = token as usize * width;
        self.tokens
            .get(start..start + width)
            .ok_or(DiffusionError::TokenRange {
                token,
                vocabulary: self.config.vocab_size,
            })
    }

    /// Encodes `ids` once for each of `vectors`, which stands in for the tokens at `places` (ascending); once
    /// as it is where there are none. `[max(1, vectors), ids, m]`.
    pub(crate) fn forward(&self, ids: &[u32], places: &[usize], vectors: &[&[f32]]) -> Result<Tensor> {
        let width = self.width();
        let batch = vectors.len().max(1);
        let mut x = Vec::with_capacity(batch * ids.len() * width);
        for b in 0..batch {
            for (i, (id, position)) in ids.iter().zip(self.positions.chunks_exact(width)).enumerate() {
                let embedding = match vectors.get(b) {
                    Some(vector) if places.binary_search(&i).is_ok() => vector,
                    _ => self.embedding(*id)?,
                };
                x.extend(embedding.iter().zip(position).map(|(e, p)| e + p));
            }
        }
        let x = Tensor::from_vec(x, (batch, ids.len(), width), self.engine.device())?;
        Ok(self.transform(x)?)
    }

    fn transform(&self, mut x: Tensor) -> CandleResult<Tensor> {
        let activation = if self.config.hidden_act == "gelu" {
            Activation::Gelu
        } else {
            Activation::QuickGelu
        };
        for layer in &self.layers {
            let qkv = layer.qkv.forward(&layer.norm1.forward(&x)?, Plus::Nothing)?;
            let heads = self.config.num_attention_heads;
            let mixed = self.engine.attention(&Attention::Own(&qkv), heads, true)?;
            x = layer.out.forward(&mixed, Plus::Residual(&x))?;
            let hidden = layer.up.forward(&layer.norm2.forward(&x)?, Plus::Nothing)?;
            let hidden = self.engine.activation(activation, &hidden)?;
            x = layer.down.forward(&hidden, Plus::Residual(&x))?;
        }
        self.norm.forward(&x)
    }
}
