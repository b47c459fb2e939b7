//! Activations.

use candle_core::{D, Result, Tensor};
use rayon::prelude::*;

use super::math::{self, swish};
use super::op::on_cpu;
use crate::engine::raw::Activation;
use crate::engine::simd::vectorized;

const BLOCK: usize = 1 << 14;

vectorized! {
    fn swish_all(x: &[f32], k: f32, out: &mut [f32]) {
        for (o, x) in out.iter_mut().zip(x) {
            *o = swish(*x, k);
        }
    }
}

vectorized! {
    fn gelu_all(x: &[f32], out: &mut [f32]) {
        for (o, x) in out.iter_mut().zip(x) {
            *o = math::gelu(*x);
        }
    }
}

vectorized! {
    fn geglu_rows(x: &[f32], half: usize, out: &mut [f32]) {
        for (row, out) in x.chunks_exact(2 * half).zip(out.chunks_exact_mut(half)) {
            let (hidden, gate) = row.split_at(half);
            for ((o, h), g) in out.iter_mut().zip(hidden).zip(gate) {
                *o = h * math::gelu(*g);
            }
        }
    }
}

fn each(x: &Tensor, name: &'static str, f: impl Fn(&[f32], &mut [f32]) + Sync) -> Result<Tensor> {
    on_cpu(x, name, |x| {
        let mut out = vec![0.0; x.data.len()];
        x.data
            .par_chunks(BLOCK)
            .zip(out.par_chunks_mut(BLOCK))
            .for_each(|(x, out)| f(x, out));
        Ok((out, x.dims.into()))
    })
}

pub(super) fn activation(activation: Activation, x: &Tensor) -> Result<Tensor> {
    match activation {
        Activation::Silu => each(x, "silu", |x, out| swish_all(x, 1.0, out)),
        Activation::QuickGelu => each(x, "quick_gelu", |x, out| swish_all(x, 1.702, out)),
        Activation::Gelu => each(x, "gelu", gelu_all),
        Activation::Geglu => geglu(x),
    }
}

fn geglu(x: &Tensor) -> Result<Tensor> {
    let half = x.dim(D::Minus1)? / 2;
    on_cpu(x, "geglu", |x| {
        let mut dims = x.dims.to_vec();
        if let Some(last) = dims.last_mut() {
            *last = half;
        }
        let mut out = vec![0.0; x.data.len() / 2];
        x.data
            .par_chunks(64 * 2 * half)
            .zip(out.par_chunks_mut(64 * half))
            .for_each(|(x, out)| geglu_rows(x, half, out));
        Ok((out, dims.into()))
    })
}
