//! NVIDIA GPUs.
//!
//! [`Cuda`] is candle's and f32 but for training: a residual network is one operation over cuDNN and kernels
//! of our own ([`residual`]) in the precision that is asked for, an update of SGD one kernel, and pictures
//! travel through page-locked memory. [`half::Half`] is what UNet and autoencoder run on in f16.
//!
//! All work goes to the stream of the device that the tensors were made on. One host thread must do it all:
//! candle's stream is a thread's own, and workspaces are shared.

mod half;
mod modules;
mod residual;
mod sgd;
mod uploads;

use candle_core::cuda::cudarc::driver::{CudaStream, result, sys};
use candle_core::{CudaDevice, DType, Device, Result, Var};

use super::layers::{Layers, Momentum, Residual, Uploads};
use super::options::{Options, Part, Precision, Processor};
use super::plan::Plan;
use super::policy::Policy;
use super::{Engine, composed};

/// A GPU.
#[derive(Debug)]
pub(super) struct Cuda {
    device: Device,
    cuda: CudaDevice,
    options: Options,
}

impl Cuda {
    pub(super) fn new(cuda: &CudaDevice, options: Options) -> Self {
        Self {
            device: Device::Cuda(cuda.clone()),
            cuda: cuda.clone(),
            options,
        }
    }
}

impl Layers for Cuda {
    fn name(&self) -> &'static str {
        "cuda"
    }

    fn device(&self) -> &Device {
        &self.device
    }

    fn processor(&self) -> Processor {
        Processor::Cuda
    }

    fn describe(&self) -> String {
        let stream = self.cuda.cuda_stream();
        let context = stream.context();
        let name = context.name().unwrap_or_else(|_| "a GPU".to_owned());
        let attribute = |attribute| context.attribute(attribute).unwrap_or(0);
        let major = attribute(sys::CUdevice_attribute_enum::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
        let minor = attribute(sys::CUdevice_attribute_enum::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
        format!("cuda ({name}, compute capability {major}.{minor})")
    }

    fn at(&self, precision: Precision) -> Option<Engine> {
        let options = Options {
            precision,
            ..self.options
        };
        Some(Engine(std::sync::Arc::new(Self::new(&self.cuda, options))))
    }

    fn free_memory(&self) -> Option<u64> {
        let stream = self.cuda.cuda_stream();
        let (free, _) = stream.context().mem_get_info().ok()?;
        u64::try_from(free).ok()
    }

    fn policy(&self) -> Policy {
        Policy::of(Processor::Cuda, self.options.precision, 0)
    }

    fn part(&self, part: Part) -> Result<Option<Engine>> {
        if self.options.precision != Precision::F16 || part == Part::Text {
            return Ok(None);
        }
        let half = half::Half::new(&self.cuda, self.options)?;
        Ok(Some(Engine(std::sync::Arc::new(half))))
    }

    fn residual(&self, plan: &Plan) -> Box<dyn Residual> {
        Box::new(residual::Network::new(plan, &self.cuda, self.options.precision))
    }

    fn momentum(&self, var: &Var) -> Box<dyn Momentum> {
        if var.dtype() == DType::F32 {
            Box::new(sgd::Velocity::new(&self.cuda))
        } else {
            composed::momentum(var)
        }
    }

    fn uploads(&self) -> Box<dyn Uploads> {
        Box::new(uploads::Pinned::new(&self.cuda))
    }
}

/// An error of the driver or of a library.
fn failed(error: impl std::fmt::Debug) -> candle_core::Error {
    candle_core::Error::Cuda(format!("CUDA: {error:?}").into())
}

/// Makes ready for our own kernels: nothing waits for events, and freed memory is kept for the next
/// allocation.
fn prepare(device: &CudaDevice, stream: &CudaStream) -> Result<()> {
    // SAFETY: all work is on one stream.
    unsafe { device.disable_event_tracking() };
    let most = u64::MAX;
    // SAFETY: the pool is the device's own, the attribute a u64.
    unsafe {
        let pool = result::device::get_default_mem_pool(stream.context().cu_device()).map_err(failed)?;
        let attribute = sys::CUmemPool_attribute_enum::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        result::mem_pool::set_attribute(pool, attribute, (&raw const most).cast_mut().cast())
            .map_err(failed)?;
    }
    Ok(())
}
