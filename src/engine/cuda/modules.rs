//! The compiled kernels, loaded once for a device.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use candle_core::cuda::DeviceId;
use candle_core::cuda::cudarc::driver::{CudaFunction, CudaModule};
use candle_core::cuda::cudarc::nvrtc::Ptx;
use candle_core::{CudaDevice, Result};

use super::failed;
use crate::engine::GpuError;

/// A file of kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Module {
    /// Diffusion models in half precision.
    Diffusion,
    /// The same for compute capability 9.0 alone.
    Hopper,
    /// Residual networks and their training.
    Residual,
    /// Rounds of sampling.
    Sampling,
}

impl Module {
    /// The machine code for several kinds of GPU, of which the driver chooses.
    fn code(self) -> &'static [u8] {
        match self {
            Self::Diffusion => include_bytes!(concat!(env!("OUT_DIR"), "/diffusion.fatbin")),
            Self::Hopper => include_bytes!(concat!(env!("OUT_DIR"), "/hopper.fatbin")),
            Self::Residual => include_bytes!(concat!(env!("OUT_DIR"), "/residual.fatbin")),
            Self::Sampling => include_bytes!(concat!(env!("OUT_DIR"), "/sampling.fatbin")),
        }
    }
}

/// Returns a kernel.
pub(super) fn function(device: &CudaDevice, module: Module, name: &str) -> Result<CudaFunction> {
    type Known = Vec<((DeviceId, Module), Arc<CudaModule>)>;
    static LOADED: OnceLock<Mutex<Known>> = OnceLock::new();
    let mut loaded = LOADED
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let key = (device.id(), module);
    let found = loaded.iter().find(|(known, _)| *known == key);
    let module = match found {
        Some((_, module)) => module.clone(),
        None => {
            let stream = device.cuda_stream();
            let (major, minor) = stream.context().compute_capability().map_err(failed)?;
            if major < 8 {
                let error = GpuError::TooOld { major, minor };
                return Err(candle_core::Error::Cuda(error.into()));
            }
            let code = Ptx::from_binary(module.code().to_vec());
            let module = stream.context().load_module(code).map_err(failed)?;
            loaded.push((key, module.clone()));
            module
        }
    };
    module.load_function(name).map_err(failed)
}
