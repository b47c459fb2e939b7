//! A GPU as an engine.

use candle_core::cuda::cudarc::driver::{CudaFunction, CudaStream, LaunchConfig, PushKernelArg, result, sys};
use candle_core::{CudaDevice, DType, Device, Result, Var};

use super::launch::{Arg, Launch};
use super::{half, residual, sampling, sgd, uploads};
use crate::engine::layers::{Layers, Momentum, Residual, Uploads};
use crate::engine::options::{Options, Part, Precision, Processor};
use crate::engine::plan::Plan;
use crate::engine::policy::Policy;
use crate::engine::rounds::{RoundSearch, Rounds};
use crate::engine::{Engine, composed};

/// A GPU.
#[derive(Debug)]
pub(in crate::engine) struct Cuda {
    device: Device,
    cuda: CudaDevice,
    options: Options,
}

impl Cuda {
    pub(in crate::engine) fn new(cuda: &CudaDevice, options: Options) -> Self {
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
        let gpu = half::gpu(&self.cuda, self.options.hopper)?;
        let half = half::Half::new(&self.device, gpu, self.options.graph);
        Ok(Some(Engine(std::sync::Arc::new(half))))
    }

    fn residual(&self, plan: &Plan) -> Box<dyn Residual> {
        Box::new(residual::Network::new(plan, &self.cuda, self.options.precision))
    }

    fn rounds(&self, class: &dyn Fn() -> Rounds) -> Result<Option<Box<dyn RoundSearch>>> {
        let class = class();
        if !sampling::able(&class) {
            return Ok(None);
        }
        let gpu = sampling::Gpu::new(&self.cuda)?;
        Ok(Some(Box::new(sampling::Search::new(gpu, class)?)))
    }

    fn momentum(&self, var: &Var) -> Box<dyn Momentum> {
        if var.dtype() == DType::F32 {
            Box::new(sgd::gpu::Velocity::new(&self.cuda))
        } else {
            composed::momentum(var)
        }
    }

    fn uploads(&self) -> Box<dyn Uploads> {
        Box::new(uploads::Pinned::new(&self.cuda))
    }
}

/// An error of the driver or of a library.
pub(super) fn failed(error: impl std::fmt::Debug) -> candle_core::Error {
    candle_core::Error::Cuda(format!("CUDA: {error:?}").into())
}

/// Makes ready for our own kernels: the device is the thread's, nothing waits for events, and freed memory
/// is kept for the next allocation.
pub(super) fn prepare(device: &CudaDevice, stream: &CudaStream) -> Result<()> {
    stream.context().bind_to_thread().map_err(failed)?;
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

/// Launches a kernel on the stream.
///
/// # Safety
/// The arguments must be the kernel's, and its addresses those of memory that it may use.
pub(super) unsafe fn launch(
    stream: &std::sync::Arc<CudaStream>,
    function: &CudaFunction,
    launch: &Launch,
    args: &[Arg],
) -> Result<()> {
    let mut builder = stream.launch_builder(function);
    for arg in args {
        match arg {
            Arg::Address(x) => builder.arg(x),
            Arg::Int(x) => builder.arg(x),
            Arg::Long(x) => builder.arg(x),
            Arg::Float(x) => builder.arg(x),
            Arg::Double(x) => builder.arg(x),
            Arg::Conv(x) => builder.arg(x),
            Arg::Attention(x) => builder.arg(x),
            Arg::Group(x) => builder.arg(x),
            Arg::Search(x) => builder.arg(x),
        };
    }
    let size = |[x, y, z]: [usize; 3]| (x as u32, y as u32, z as u32);
    let config = LaunchConfig {
        grid_dim: size(launch.grid),
        block_dim: size(launch.block),
        shared_mem_bytes: launch.memory as u32,
    };
    // SAFETY: as the caller says.
    unsafe { builder.launch(config) }.map_err(failed)?;
    Ok(())
}
