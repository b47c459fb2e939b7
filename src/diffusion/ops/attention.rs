//! Scaled dot-product attention over many small heads.
//!
//! Keys (transposed) and values of each head are packed as right sides of a product, in parallel over (image, head);
//! then blocks of queries run in parallel, each through all heads. The scores of a block never leave the cache.

use candle_core::{D, Result, Tensor};
use rayon::prelude::*;

use super::math::exp;
use super::matrix::{Product, Rows};
use super::{View, cuda, is_half, on_cpu, on_cpu2, on_cpu3};
use crate::simd::{LANES, Packed, ROWS, vectorized};

/// Queries of a task.
const QUERY_BLOCK: usize = 8 * ROWS;

/// Where queries, keys and values come from. Heads lie side by side in the last dimension.
pub(crate) enum Attention<'a> {
    /// Query, key and value side by side: `[batch, tokens, 3c]`.
    Own(&'a Tensor),
    /// Queries `[batch, tokens, c]`; keys and values side by side `[batch, others, 2c]`.
    Cross(&'a Tensor, &'a Tensor),
    /// Each by itself, `[batch, tokens, c]`.
    Apart(&'a Tensor, &'a Tensor, &'a Tensor),
}

/// Rows of one head inside the rows of all.
#[derive(Clone, Copy)]
struct Strided<'a> {
    data: &'a [f32],
    stride: usize,
    offset: usize,
    width: usize,
}

impl<'a> Strided<'a> {
    fn row(&self, row: usize) -> &'a [f32] {
        &self.data[row * self.stride + self.offset..][..self.width]
    }

    /// Narrows to columns `from..from + width`.
    fn columns(self, from: usize, width: usize) -> Self {
        Self {
            offset: self.offset + from,
            width,
            ..self
        }
    }
}

/// One of the parts of `width` columns that lie side by side in a tensor.
fn part<'a>(view: &View<'a>, part: usize, width: usize) -> Strided<'a> {
    let stride = view.dims.last().copied().unwrap_or(width);
    Strided {
        data: view.data,
        stride,
        offset: part * width,
        width,
    }
}

struct Queries<'a>(Strided<'a>, usize);

impl<'a> Rows<'a> for Queries<'a> {
    fn taps(&self, row: usize, mut set: impl FnMut(&'a [f32])) {
        set(self.0.row(self.1 + row));
    }
}

struct Weights<'a>(&'a [f32], usize);

impl<'a> Rows<'a> for Weights<'a> {
    fn taps(&self, row: usize, mut set: impl FnMut(&'a [f32])) {
        set(&self.0[row * self.1..][..self.1]);
    }
}

vectorized! {
    /// Turns each row's first `visible(row)` scores into weights that sum to one; the others become zero.
    fn softmax_rows(scores: &mut [f32], keys: usize, first_visible: usize, scale: f32) {
        for (i, row) in scores.chunks_exact_mut(keys).enumerate() {
            // `first_visible` is what the first row sees; causal rows see one more each. usize::MAX / 2: all.
            let visible = (first_visible.saturating_add(i)).min(keys);
            let (seen, hidden) = row.split_at_mut(visible);
            hidden.fill(0.0);
            let mut highest = [f32::NEG_INFINITY; LANES];
            for chunk in seen.chunks(LANES) {
                for (h, x) in highest.iter_mut().zip(chunk) {
                    *h = if *x > *h { *x } else { *h };
                }
            }
            let highest = highest.into_iter().fold(f32::NEG_INFINITY, f32::max);
            let mut sums = [0.0_f32; LANES];
            let mut chunks = seen.chunks_exact_mut(LANES);
            for chunk in chunks.by_ref() {
                for (s, x) in sums.iter_mut().zip(chunk) {
                    *x = exp((*x - highest) * scale);
                    *s += *x;
                }
            }
            for (s, x) in sums.iter_mut().zip(chunks.into_remainder()) {
                *x = exp((*x - highest) * scale);
                *s += *x;
            }
            let share = 1.0 / sums.iter().sum::<f32>();
            for x in seen {
                *x *= share;
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Plan {
    batch: usize,
    tokens: usize,
    others: usize,
    channels: usize,
    heads: usize,
    causal: bool,
}

impl Plan {
    fn run(&self, q: Strided, k: Strided, v: Strided) -> Vec<f32> {
        let width = self.channels / self.heads;
        // Keys and values of (image, head).
        let packed: Vec<(Packed, Packed)> = (0..self.batch * self.heads)
            .into_par_iter()
            .map(|i| {
                let (image, head) = (i / self.heads, i % self.heads);
                let (k, v) = (k.columns(head * width, width), v.columns(head * width, width));
                let first = image * self.others;
                let keys = Packed::from_columns(width, self.others, |n| k.row(first + n));
                let values = Packed::from_rows(self.others, width, |n| v.row(first + n));
                (keys, values)
            })
            .collect();
        let mut out = vec![0.0; self.batch * self.tokens * self.channels];
        let image_size = self.tokens * self.channels;
        out.par_chunks_mut(image_size)
            .zip(packed.par_chunks(self.heads))
            .enumerate()
            .for_each(|(image, (out, packed))| {
                out.par_chunks_mut(QUERY_BLOCK * self.channels)
                    .enumerate()
                    .for_each(|(block, out)| self.block(q, packed, image, block * QUERY_BLOCK, out));
            });
        out
    }

    /// Queries `first..` of an image, as many as `out` holds, through all heads.
    fn block(&self, q: Strided, packed: &[(Packed, Packed)], image: usize, first: usize, out: &mut [f32]) {
        let width = self.channels / self.heads;
        let count = out.len() / self.channels;
        let mut scores = vec![0.0; count * self.others];
        let mut result = vec![0.0; count * width];
        for (head, (keys, values)) in packed.iter().enumerate() {
            let queries = Queries(q.columns(head * width, width), image * self.tokens + first);
            let product = Product {
                taps: 1,
                depth: width,
                packed: keys,
                bias: None,
                residual: None,
            };
            product.block(&queries, 0, &mut scores);
            let visible = if self.causal { first + 1 } else { self.others };
            softmax_rows(&mut scores, self.others, visible, 1.0 / (width as f32).sqrt());
            let product = Product {
                taps: 1,
                depth: self.others,
                packed: values,
                bias: None,
                residual: None,
            };
            product.block(&Weights(&scores, self.others), 0, &mut result);
            for (out, result) in out
                .chunks_exact_mut(self.channels)
                .zip(result.chunks_exact(width))
            {
                out[head * width..(head + 1) * width].copy_from_slice(result);
            }
        }
    }
}

/// Returns `softmax(q k^T / sqrt(head width)) v` of every head, side by side: `[batch, tokens, c]`.
/// `causal`: a token sees itself and those before it.
pub(crate) fn attention(of: &Attention, heads: usize, causal: bool, fused: bool) -> Result<Tensor> {
    let (first, last) = match of {
        Attention::Own(qkv) => (*qkv, *qkv),
        Attention::Cross(q, kv) => (*q, *kv),
        Attention::Apart(q, k, v) if k.dims() == v.dims() => (*q, *k),
        Attention::Apart(_, k, v) => candle_core::bail!("keys {:?} but values {:?}", k.dims(), v.dims()),
    };
    let (batch, tokens, wide) = first.dims3()?;
    let (other_batch, others, _) = last.dims3()?;
    let channels = if matches!(of, Attention::Own(_)) {
        wide / 3
    } else {
        wide
    };
    let parts = match of {
        Attention::Own(_) => 3,
        Attention::Cross(..) => 2,
        Attention::Apart(..) => 1,
    };
    if other_batch != batch || last.dim(2)? != parts * channels || heads == 0 || channels % heads != 0 {
        candle_core::bail!(
            "attention of {heads} heads: {:?} against {:?}",
            first.dims(),
            last.dims()
        );
    }
    if !fused && is_half(first) && !causal {
        let gpu = cuda::gpu(first.device())?;
        if gpu.attends(channels / heads) {
            let side = |x, part: usize| cuda::Side(x, part * channels);
            let (q, k, v) = match of {
                Attention::Own(x) => (side(x, 0), side(x, 1), side(x, 2)),
                Attention::Cross(q, kv) => (side(q, 0), side(kv, 0), side(kv, 1)),
                Attention::Apart(q, k, v) => (side(q, 0), side(k, 0), side(v, 0)),
            };
            return gpu.attention(q, k, v, channels, heads);
        }
    }
    if !fused {
        return plain(of, channels, heads, causal);
    }
    let plan = Plan {
        batch,
        tokens,
        others,
        channels,
        heads,
        causal,
    };
    let done = |data: Vec<f32>| Ok((data, (batch, tokens, channels).into()));
    match of {
        Attention::Own(x) => on_cpu(x, "attention", |x| {
            done(plan.run(
                part(&x, 0, channels),
                part(&x, 1, channels),
                part(&x, 2, channels),
            ))
        }),
        Attention::Cross(q, kv) => on_cpu2(q, kv, "attention", |q, kv| {
            done(plan.run(
                part(&q, 0, channels),
                part(&kv, 0, channels),
                part(&kv, 1, channels),
            ))
        }),
        Attention::Apart(q, k, v) => on_cpu3(q, k, v, "attention", |q, k, v| {
            done(plan.run(
                part(&q, 0, channels),
                part(&k, 0, channels),
                part(&v, 0, channels),
            ))
        }),
    }
}

fn plain(of: &Attention, channels: usize, heads: usize, causal: bool) -> Result<Tensor> {
    let cut = |x: &Tensor, part: usize| x.narrow(D::Minus1, part * channels, channels);
    let (q, k, v) = match of {
        Attention::Own(x) => (cut(x, 0)?, cut(x, 1)?, cut(x, 2)?),
        Attention::Cross(q, kv) => ((*q).clone(), cut(kv, 0)?, cut(kv, 1)?),
        Attention::Apart(q, k, v) => ((*q).clone(), (*k).clone(), (*v).clone()),
    };
    // [batch, heads, tokens, width]
    let split = |x: Tensor| {
        let (batch, tokens, _) = x.dims3()?;
        x.reshape((batch, tokens, heads, channels / heads))?
            .transpose(1, 2)?
            .contiguous()
    };
    let (q, k, v) = (split(q)?, split(k)?, split(v)?);
    let q = (q / (channels as f64 / heads as f64).sqrt())?; // before the product: f16 could not hold it
    let mut scores = q.matmul(&k.t()?)?;
    if causal {
        let tokens = scores.dim(2)?;
        let mask: Vec<f32> = (0..tokens * tokens)
            .map(|i| {
                if i % tokens > i / tokens {
                    f32::NEG_INFINITY
                } else {
                    0.0
                }
            })
            .collect();
        scores = scores.broadcast_add(&Tensor::from_vec(mask, (tokens, tokens), scores.device())?)?;
    }
    let weights = candle_nn::ops::softmax_last_dim(&scores)?;
    let (batch, _, tokens, _) = q.dims4()?;
    weights
        .matmul(&v)?
        .transpose(1, 2)?
        .contiguous()?
        .reshape((batch, tokens, channels))
}
