//! Scaled dot-product attention over many small heads.
//!
//! Keys (transposed) and values of each head are packed as right sides of a product, in parallel over (image,
//! head); then blocks of queries run in parallel, each through all heads. The scores of a block never leave
//! the cache.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::math::exp;
use super::matrix::{Product, Rows};
use super::op::{View, on_cpu, on_cpu2, on_cpu3};
use crate::engine::raw::{Attention, AttentionShape};
use crate::engine::simd::{LANES, Packed, ROWS, vectorized};

/// Queries of a task.
const QUERY_BLOCK: usize = 8 * ROWS;

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

struct Heads(AttentionShape);

impl Heads {
    fn run(&self, q: Strided, k: Strided, v: Strided) -> Vec<f32> {
        let width = self.0.channels / self.0.heads;
        // Keys and values of (image, head).
        let packed: Vec<(Packed, Packed)> = (0..self.0.batch * self.0.heads)
            .into_par_iter()
            .map(|i| {
                let (image, head) = (i / self.0.heads, i % self.0.heads);
                let (k, v) = (k.columns(head * width, width), v.columns(head * width, width));
                let first = image * self.0.others;
                let keys = Packed::from_columns(width, self.0.others, |n| k.row(first + n));
                let values = Packed::from_rows(self.0.others, width, |n| v.row(first + n));
                (keys, values)
            })
            .collect();
        let mut out = vec![0.0; self.0.batch * self.0.tokens * self.0.channels];
        let image_size = self.0.tokens * self.0.channels;
        out.par_chunks_mut(image_size)
            .zip(packed.par_chunks(self.0.heads))
            .enumerate()
            .for_each(|(image, (out, packed))| {
                out.par_chunks_mut(QUERY_BLOCK * self.0.channels)
                    .enumerate()
                    .for_each(|(block, out)| self.block(q, packed, image, block * QUERY_BLOCK, out));
            });
        out
    }

    /// Queries `first..` of an image, as many as `out` holds, through all heads.
    fn block(&self, q: Strided, packed: &[(Packed, Packed)], image: usize, first: usize, out: &mut [f32]) {
        let width = self.0.channels / self.0.heads;
        let count = out.len() / self.0.channels;
        let mut scores = vec![0.0; count * self.0.others];
        let mut result = vec![0.0; count * width];
        for (head, (keys, values)) in packed.iter().enumerate() {
            let queries = Queries(q.columns(head * width, width), image * self.0.tokens + first);
            let product = Product {
                taps: 1,
                depth: width,
                packed: keys,
                bias: None,
                residual: None,
            };
            product.block(&queries, 0, &mut scores);
            let visible = if self.0.causal { first + 1 } else { self.0.others };
            softmax_rows(&mut scores, self.0.others, visible, 1.0 / (width as f32).sqrt());
            let product = Product {
                taps: 1,
                depth: self.0.others,
                packed: values,
                bias: None,
                residual: None,
            };
            product.block(&Weights(&scores, self.0.others), 0, &mut result);
            for (out, result) in out
                .chunks_exact_mut(self.0.channels)
                .zip(result.chunks_exact(width))
            {
                out[head * width..(head + 1) * width].copy_from_slice(result);
            }
        }
    }
}

pub(super) fn attention(of: &Attention, shape: &AttentionShape) -> Result<Tensor> {
    let channels = shape.channels;
    let heads = Heads(*shape);
    let done = |data: Vec<f32>| Ok((data, (shape.batch, shape.tokens, channels).into()));
    match of {
        Attention::Own(x) => on_cpu(x, "attention", |x| {
            done(heads.run(
                part(&x, 0, channels),
                part(&x, 1, channels),
                part(&x, 2, channels),
            ))
        }),
        Attention::Cross(q, kv) => on_cpu2(q, kv, "attention", |q, kv| {
            done(heads.run(
                part(&q, 0, channels),
                part(&kv, 0, channels),
                part(&kv, 1, channels),
            ))
        }),
        Attention::Apart(q, k, v) => on_cpu3(q, k, v, "attention", |q, k, v| {
            done(heads.run(
                part(&q, 0, channels),
                part(&k, 0, channels),
                part(&v, 0, channels),
            ))
        }),
    }
}
