//! The CPU's own kernels, on rayon.
//!
//! For diffusion models tensors have the channels last, `[batch, h, w, c]` or `[batch, tokens, c]`, and each
//! layer is one custom operation over f32 slices: matrix products over weights that were packed when the
//! model was loaded ([`simd::Packed`]), convolution without im2col ([`conv`], [`winograd`]), fused
//! normalisations and activations. For training there is a convolution with a gradient ([`conv2d`]), and a
//! residual network as one operation ([`resnet`]).
//!
//! Every sum has an order that depends on shapes alone, so that results are the same bits on any number of
//! threads.

mod activation;
mod attention;
mod conv;
mod conv2d;
mod math;
mod matrix;
mod norm;
mod op;
mod resnet;
mod sgd;
pub(crate) mod simd;
mod winograd;

use candle_core::{DType, Device, Result, Tensor, Var};

use super::composed;
use super::layers::{Layers, Momentum, Normalize, Residual, Weighted};
use super::plan::Plan;
use super::policy::Policy;
use super::raw::{
    Activation, Attention, AttentionShape, ConvShape, RawConv, RawGroupNorm, RawLayerNorm, RawLinear,
};
use super::wide::WidePlan;

/// A residual network composed of candle's operations, but for our convolution.
#[cfg(test)]
pub(crate) fn composed_residual(plan: &Plan) -> Box<dyn Residual> {
    composed::residual(plan, conv2d::conv2d)
}

/// The CPU's kernels.
#[derive(Debug)]
pub(super) struct Host;

impl Layers for Host {
    fn name(&self) -> &'static str {
        "host"
    }

    fn device(&self) -> &Device {
        &Device::Cpu
    }

    fn describe(&self) -> String {
        let kind = if simd::has_fma() { "AVX2" } else { "any processor" };
        format!("host ({} {kind})", std::env::consts::ARCH)
    }

    fn policy(&self) -> Policy {
        Policy::host(rayon::current_num_threads())
    }

    fn linear(&self, raw: &RawLinear) -> Result<Box<dyn Weighted>> {
        Ok(Box::new(matrix::Linear::new(raw)))
    }

    fn conv(&self, raw: &RawConv) -> Result<Box<dyn Weighted>> {
        Ok(Box::new(conv::Conv::new(raw)))
    }

    fn group_norm(&self, raw: &RawGroupNorm) -> Result<Box<dyn Normalize>> {
        Ok(Box::new(norm::GroupNorm::new(raw)))
    }

    fn layer_norm(&self, raw: &RawLayerNorm) -> Result<Box<dyn Normalize>> {
        Ok(Box::new(norm::LayerNorm::new(raw)))
    }

    fn attention(&self, of: &Attention, shape: &AttentionShape) -> Result<Tensor> {
        attention::attention(of, shape)
    }

    fn activation(&self, activation: Activation, x: &Tensor) -> Result<Tensor> {
        activation::activation(activation, x)
    }

    fn conv2d(&self, x: &Tensor, weight: &Tensor, shape: &ConvShape) -> Result<Tensor> {
        if x.dtype() == DType::F32 && weight.dtype() == DType::F32 {
            conv2d::conv2d(x, weight, shape)
        } else {
            composed::conv2d(x, weight, shape)
        }
    }

    fn residual(&self, plan: &Plan) -> Box<dyn Residual> {
        Box::new(resnet::Network::new(plan))
    }

    fn wide(&self, plan: &WidePlan) -> Box<dyn Residual> {
        composed::wide(plan, conv2d::conv2d)
    }

    fn momentum(&self, var: &Var) -> Box<dyn Momentum> {
        if var.dtype() == DType::F32 {
            Box::<sgd::Velocity>::default()
        } else {
            composed::momentum(var)
        }
    }
}
