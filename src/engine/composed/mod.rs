//! The layers composed of candle's operations: what every engine does unless it does better, and what each is
//! tested against.

mod attention;
mod norm;
mod pointwise;
mod residual;
mod sgd;
mod weighted;
mod wide;

use std::cmp::Ordering;

use candle_core::{DType, Device, Result, Tensor, Var};

pub(super) use self::attention::attention;
pub(super) use self::pointwise::activation;
pub(super) use self::residual::Convolve;
pub(crate) use self::residual::max_pool;
use super::layers::{Layers, Momentum, Normalize, Repeat, Residual, Uploads, Weighted};
use super::plan::Plan;
use super::raw::{ConvShape, RawConv, RawGroupNorm, RawLayerNorm, RawLinear};
use super::wide::WidePlan;

/// Candle's operations on any device.
#[derive(Debug)]
pub(super) struct Composed {
    device: Device,
}

impl Composed {
    pub(super) fn new(device: &Device) -> Self {
        Self {
            device: device.clone(),
        }
    }
}

impl Layers for Composed {
    fn name(&self) -> &'static str {
        "composed"
    }

    fn device(&self) -> &Device {
        &self.device
    }
}

pub(super) fn linear(device: &Device, dtype: DType, raw: &RawLinear) -> Result<Box<dyn Weighted>> {
    Ok(Box::new(weighted::Linear::new(device, dtype, raw)?))
}

pub(super) fn conv(device: &Device, dtype: DType, raw: &RawConv) -> Result<Box<dyn Weighted>> {
    Ok(Box::new(weighted::Conv::new(device, dtype, raw)?))
}

pub(super) fn group_norm(device: &Device, raw: &RawGroupNorm) -> Result<Box<dyn Normalize>> {
    Ok(Box::new(norm::GroupNorm::new(device, raw)?))
}

pub(super) fn layer_norm(device: &Device, raw: &RawLayerNorm) -> Result<Box<dyn Normalize>> {
    Ok(Box::new(norm::LayerNorm::new(device, raw)?))
}

pub(super) fn conv2d(x: &Tensor, weight: &Tensor, shape: &ConvShape) -> Result<Tensor> {
    // The pixels that no stride reaches. Candle's gradient takes them to be as many in a row as in a column.
    let [h, w] = [(shape.h, shape.kernel[0]), (shape.w, shape.kernel[1])]
        .map(|(size, kernel)| (size + 2 * shape.padding - kernel) % shape.stride);
    let x = match h.cmp(&w) {
        Ordering::Equal => x.clone(),
        Ordering::Less => x.pad_with_zeros(2, 0, w - h)?,
        Ordering::Greater => x.pad_with_zeros(3, 0, h - w)?,
    };
    x.conv2d(weight, shape.padding, shape.stride, 1, shape.groups)
}

pub(super) fn residual(plan: &Plan, conv2d: Convolve) -> Box<dyn Residual> {
    Box::new(residual::Network::new(plan, conv2d))
}

pub(super) fn wide(plan: &WidePlan, conv2d: Convolve) -> Box<dyn Residual> {
    Box::new(wide::Network::new(plan, conv2d))
}

pub(super) fn momentum(_: &Var) -> Box<dyn Momentum> {
    Box::<sgd::Velocity>::default()
}

/// Does the work each time.
struct Anew;

impl Repeat for Anew {
    fn run(&self, changing: [&Tensor; 2], work: &dyn Fn([&Tensor; 2]) -> Result<Tensor>) -> Result<Tensor> {
        work(changing)
    }
}

pub(super) fn repeat() -> Box<dyn Repeat> {
    Box::new(Anew)
}

struct Copies(Device);

impl Uploads for Copies {
    fn tensor(&mut self, numbers: Vec<f32>, shape: &[usize]) -> Result<Tensor> {
        Tensor::from_vec(numbers, shape, &self.0)
    }
}

pub(super) fn uploads(device: &Device) -> Box<dyn Uploads> {
    Box::new(Copies(device.clone()))
}
