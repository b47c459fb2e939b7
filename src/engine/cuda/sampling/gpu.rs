//! A GPU that searches rounds.

use std::sync::Arc;

use candle_core::cuda::cudarc::driver::{CudaSlice, CudaStream, DevicePtr};
use candle_core::{CudaDevice, Result};

use super::Machine;
use crate::engine::cuda::launch::{Arg, Launch};
use crate::engine::cuda::modules::{self, Module};
use crate::engine::cuda::{launch, prepare};

/// A GPU.
pub(in crate::engine::cuda) struct Gpu {
    device: CudaDevice,
    stream: Arc<CudaStream>,
}

impl Gpu {
    pub(in crate::engine::cuda) fn new(device: &CudaDevice) -> Result<Self> {
        let stream = device.cuda_stream();
        prepare(device, &stream)?;
        Ok(Self {
            device: device.clone(),
            stream,
        })
    }
}

impl Machine for Gpu {
    type Memory = CudaSlice<u8>;

    fn memory(&self, bytes: usize) -> Result<Self::Memory> {
        // SAFETY: the kernels write it before they read it.
        unsafe { self.device.alloc::<u8>(bytes.max(1)) }
    }

    fn upload(&self, bytes: &[u8]) -> Result<Self::Memory> {
        self.device.clone_htod(bytes)
    }

    fn at(&self, memory: &Self::Memory) -> u64 {
        memory.device_ptr(&self.stream).0
    }

    fn read(&self, memory: &Self::Memory, bytes: usize) -> Result<Vec<u8>> {
        let mut read = self.device.clone_dtoh(memory)?;
        read.truncate(bytes);
        Ok(read)
    }

    fn launch(&self, what: &Launch, args: &[Arg]) -> Result<()> {
        let function = modules::function(&self.device, Module::Sampling, what.kernel)?;
        // SAFETY: the arguments are the kernel's, and its memory is as long as it takes it to be.
        unsafe { launch(&self.stream, &function, what, args) }
    }
}
