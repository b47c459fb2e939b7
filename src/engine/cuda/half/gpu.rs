//! The kernels for half precision: what a device needs once. Workspaces are made once, too.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use candle_core::cuda::DeviceId;
use candle_core::cuda::cudarc::driver::{
    CudaFunction, CudaSlice, CudaStream, DevicePtr, DeviceRepr, LaunchConfig, PushKernelArg,
};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, DType, Result, Shape, Storage, Tensor};
use half::f16;

use super::functions::Functions;
use super::lt::Lt;
use crate::engine::cuda::{failed, prepare};

/// Bytes for the parts of split convolutions: 264 blocks of 128 x 160 sums, two for each multiprocessor of
/// the largest GPU.
pub(super) const PARTS: usize = 24 << 20;
/// Numbers for the sums of group norms.
pub(super) const SUMS: usize = 1 << 20;

/// Channels that a convolution takes at once; fewer are filled up with zeros.
pub(super) const CHANNELS: usize = 64;

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gpu")
            .field("hopper", &self.functions.hopper)
            .finish_non_exhaustive()
    }
}

/// What a device needs once.
pub(super) struct Gpu {
    pub(super) device: CudaDevice,
    pub(super) stream: Arc<CudaStream>,
    pub(super) functions: Functions,
    pub(super) lt: Lt,
    pub(super) parts: CudaSlice<u8>,
    pub(super) sums: CudaSlice<f32>,
}

/// Returns what was made once for the device, with the kernels for Hopper or without.
pub(super) fn gpu(device: &CudaDevice, hopper: bool) -> Result<Arc<Gpu>> {
    type Known = Vec<((DeviceId, bool), Arc<Gpu>)>;
    static GPUS: OnceLock<Mutex<Known>> = OnceLock::new();
    let mut gpus = GPUS
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let key = (device.id(), hopper);
    if let Some((_, gpu)) = gpus.iter().find(|(known, _)| *known == key) {
        return Ok(gpu.clone());
    }
    let gpu = Arc::new(Gpu::new(device, hopper)?);
    gpus.push((key, gpu.clone()));
    Ok(gpu)
}

/// The address of an f16 or f32 tensor's first number; it must be contiguous.
pub(super) fn address(x: &Tensor, dtype: DType) -> Result<u64> {
    let (storage, layout) = x.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else {
        candle_core::bail!("a tensor on another device");
    };
    if !layout.is_contiguous() || x.dtype() != dtype {
        candle_core::bail!("expected contiguous {dtype:?}, found {:?} {layout:?}", x.dtype());
    }
    let stream = storage.device.cuda_stream();
    let start = layout.start_offset() * dtype.size_in_bytes();
    let at = match dtype {
        DType::F16 => storage.as_cuda_slice::<f16>()?.device_ptr(&stream).0,
        DType::F32 => storage.as_cuda_slice::<f32>()?.device_ptr(&stream).0,
        _ => candle_core::bail!("unexpected {dtype:?}"),
    };
    Ok(at + start as u64)
}

pub(super) fn half(x: &Tensor) -> Result<u64> {
    address(x, DType::F16)
}

pub(super) fn int(n: usize) -> Result<i32> {
    i32::try_from(n).map_err(failed)
}

impl Gpu {
    /// The stream of all work.
    pub(super) fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    fn new(device: &CudaDevice, hopper: bool) -> Result<Self> {
        let stream = device.cuda_stream();
        prepare(device, &stream)?;
        let functions = Functions::load(device, hopper)?;
        Ok(Self {
            lt: Lt::new(device)?,
            // SAFETY: written before they are read.
            parts: unsafe { device.alloc(PARTS)? },
            sums: unsafe { device.alloc(SUMS)? },
            device: device.clone(),
            stream,
            functions,
        })
    }

    pub(super) fn output(&self, count: usize) -> Result<(CudaSlice<f16>, u64)> {
        // SAFETY: every caller's kernel writes all of it.
        let out = unsafe { self.device.alloc::<f16>(count)? };
        let at = out.device_ptr(&self.stream).0;
        Ok((out, at))
    }

    pub(super) fn finish(&self, out: CudaSlice<f16>, shape: impl Into<Shape>) -> Tensor {
        let storage = CudaStorage::wrap_cuda_slice(out, self.device.clone());
        Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false)
    }

    pub(super) fn launch<T: DeviceRepr>(
        &self,
        function: &CudaFunction,
        grid: [usize; 3],
        threads: usize,
        memory: usize,
        args: &T,
    ) -> Result<()> {
        let [x, y, z] = grid.map(|n| n as u32);
        let config = LaunchConfig {
            grid_dim: (x, y, z),
            block_dim: (threads as u32, 1, 1),
            shared_mem_bytes: memory as u32,
        };
        // SAFETY: the arguments are the kernel's.
        unsafe { self.stream.launch_builder(function).arg(args).launch(config) }.map_err(failed)?;
        Ok(())
    }
}
