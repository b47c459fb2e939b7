//! Scaled dot-product attention, with all scores in memory.

use candle_core::{D, Result, Tensor};

use crate::engine::raw::{Attention, AttentionShape};

pub(in crate::engine) fn attention(of: &Attention, shape: &AttentionShape) -> Result<Tensor> {
    let AttentionShape {
        batch,
        tokens,
        channels,
        heads,
        causal,
        ..
    } = *shape;
    let cut = |x: &Tensor, part: usize| x.narrow(D::Minus1, part * channels, channels);
    let (q, k, v) = match of {
        Attention::Own(x) => (cut(x, 0)?, cut(x, 1)?, cut(x, 2)?),
        Attention::Cross(q, kv) => ((*q).clone(), cut(kv, 0)?, cut(kv, 1)?),
        Attention::Apart(q, k, v) => ((*q).clone(), (*k).clone(), (*v).clone()),
    };
    // [batch, heads, tokens, width]
    let split = |x: Tensor| {
        x.reshape((batch, (), heads, channels / heads))?
            .transpose(1, 2)?
            .contiguous()
    };
    let (q, k, v) = (split(q)?, split(k)?, split(v)?);
    let q = (q / (channels as f64 / heads as f64).sqrt())?; // before the product: f16 could not hold it
    let mut scores = q.matmul(&k.t()?)?;
    if causal {
        let hidden = |i: usize| i % tokens > i / tokens;
        let mask: Vec<f32> = (0..tokens * tokens)
            .map(|i| if hidden(i) { f32::NEG_INFINITY } else { 0.0 })
            .collect();
        scores = scores.broadcast_add(&Tensor::from_vec(mask, (tokens, tokens), scores.device())?)?;
    }
    candle_nn::ops::softmax_last_dim(&scores)?
        .matmul(&v)?
        .transpose(1, 2)?
        .contiguous()?
        .reshape((batch, tokens, channels))
}
