//! Activations.

use candle_core::{D, Result, Tensor};

use crate::engine::raw::Activation;

pub(in crate::engine) fn activation(activation: Activation, x: &Tensor) -> Result<Tensor> {
    match activation {
        Activation::Silu => x.silu(),
        Activation::Gelu => x.gelu_erf(),
        Activation::QuickGelu => x * candle_nn::ops::sigmoid(&(x * 1.702)?)?,
        Activation::Geglu => {
            let half = x.dim(D::Minus1)? / 2;
            let gate = x.narrow(D::Minus1, half, half)?.contiguous()?.gelu_erf()?;
            x.narrow(D::Minus1, 0, half)? * gate
        }
    }
}
