//! Scaled dot-product attention, with the scores of many queries in memory.

use candle_core::{D, Device, Result, Tensor};

use crate::engine::raw::{Attention, AttentionShape};

/// The most scores at once: candle's kernels for GPUs count in 32 bits, and a softmax of more never ends.
const MOST: usize = i32::MAX as usize;

pub(in crate::engine) fn attention(of: &Attention, shape: &AttentionShape) -> Result<Tensor> {
    at_most(of, shape, MOST)
}

/// Attention with so many scores at once, or those of one query.
fn at_most(of: &Attention, shape: &AttentionShape, most: usize) -> Result<Tensor> {
    let AttentionShape {
        batch,
        tokens,
        others,
        channels,
        heads,
        causal,
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
    let k = k.t()?;
    let of_queries = |first: usize, count: usize| {
        let mut scores = q.narrow(2, first, count)?.contiguous()?.matmul(&k)?;
        if causal {
            let mask = mask(first, count, others, scores.device())?;
            scores = scores.broadcast_add(&mask.to_dtype(scores.dtype())?)?;
        }
        candle_nn::ops::softmax_last_dim(&scores)?.matmul(&v)
    };
    let at_once = (most / (batch * heads * others).max(1)).clamp(1, tokens.max(1));
    let parts = (0..tokens)
        .step_by(at_once)
        .map(|first| of_queries(first, at_once.min(tokens - first)))
        .collect::<Result<Vec<_>>>()?;
    Tensor::cat(&parts, 2)?
        .transpose(1, 2)?
        .contiguous()?
        .reshape((batch, tokens, channels))
}

/// What hides the keys after a query's own place from it: `[count, others]` for queries from `first` on.
fn mask(first: usize, count: usize, others: usize, device: &Device) -> Result<Tensor> {
    let hidden = |i: usize| i % others > first + i / others;
    let mask: Vec<f32> = (0..count * others)
        .map(|i| if hidden(i) { f32::NEG_INFINITY } else { 0.0 })
        .collect();
    Tensor::from_vec(mask, (count, others), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;

    #[test]
    fn queries_in_parts_see_what_they_see_at_once() {
        let random = |name, count: usize| Stream::new(1, "test/ops", 0, name).normals(count);
        let own = Tensor::from_vec(random(1, 2 * 7 * 24), (2, 7, 24), &Device::Cpu).unwrap();
        for causal in [false, true] {
            let of = Attention::Own(&own);
            let shape = of.shape(2, causal).unwrap();
            let numbers = |most| {
                let y = at_most(&of, &shape, most).unwrap();
                assert_eq!(y.dims(), [2, 7, 8]);
                y.flatten_all().unwrap().to_vec1::<f32>().unwrap()
            };
            let whole = numbers(MOST);
            // Three queries at once, one, and one although even that is too much.
            for most in [3 * 2 * 2 * 7, 2 * 2 * 7, 1] {
                for (a, b) in numbers(most).iter().zip(&whole) {
                    assert!((a - b).abs() < 1e-6, "{a} {b}");
                }
            }
        }
    }
}
