//! A GPU that runs the kernels for half precision: what it needs once. Workspaces are made once, too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use candle_core::cuda::DeviceId;
use candle_core::cuda::cudarc::driver::{CudaFunction, CudaSlice, CudaStream, DevicePtr, sys};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, DType, Device, Result, Shape, Storage, Tensor};
use half::f16;

use super::kernels;
use super::lt::Lt;
use super::machine::{Machine, PARTS, SUMS};
use super::record::Recorder;
use crate::engine::cuda::launch::{Arg, Launch};
use crate::engine::cuda::modules::{self, Module};
use crate::engine::cuda::{failed, launch, prepare};
use crate::engine::layers::Repeat;

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gpu")
            .field("hopper", &self.hopper)
            .finish_non_exhaustive()
    }
}

/// What a device needs once.
pub(in crate::engine::cuda) struct Gpu {
    device: CudaDevice,
    stream: Arc<CudaStream>,
    hopper: bool,
    /// Bytes that a block may have.
    shared: usize,
    functions: HashMap<&'static str, CudaFunction>,
    lt: Lt,
    parts: CudaSlice<u8>,
    sums: CudaSlice<f32>,
    trouble: Mutex<Option<String>>,
}

/// Returns what was made once for the device, with the kernels for Hopper or without.
pub(in crate::engine::cuda) fn gpu(device: &CudaDevice, hopper: bool) -> Result<Arc<Gpu>> {
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

/// Loads a kernel that takes so many bytes of shared memory.
fn load(device: &CudaDevice, name: &'static str, memory: usize) -> Result<CudaFunction> {
    let module = match name.starts_with("hopper") {
        true => Module::Hopper,
        false => Module::Diffusion,
    };
    let function = modules::function(device, module, name)?;
    if memory > 48 << 10 {
        let attribute = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        function.set_attribute(attribute, memory as i32).map_err(failed)?;
    }
    Ok(function)
}

impl Gpu {
    /// Keeps what made a recording fail, to be told.
    pub(super) fn keep_trouble(&self, error: &candle_core::Error) {
        let told = format!("steps of the model are not repeated as one, which costs time alone: {error}");
        self.trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(told);
    }

    /// The stream of all work.
    pub(super) fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    /// Loads the kernels; those for Hopper if they are wanted and the GPU is of that kind.
    fn new(device: &CudaDevice, hopper: bool) -> Result<Self> {
        let stream = device.cuda_stream();
        prepare(device, &stream)?;
        use sys::CUdevice_attribute_enum as Attribute;
        let attribute = |attribute| stream.context().attribute(attribute).map_err(failed);
        let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let shared = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?;
        let (hopper, shared) = (hopper && major == 9, shared as usize);
        let functions = kernels::all(hopper, shared)
            .into_iter()
            .map(|(name, memory)| Ok((name, load(device, name, memory)?)))
            .collect::<Result<_>>()?;
        Ok(Self {
            trouble: Mutex::default(),
            lt: Lt::new(device)?,
            // SAFETY: written before they are read.
            parts: unsafe { device.alloc(PARTS)? },
            sums: unsafe { device.alloc(SUMS)? },
            device: device.clone(),
            stream,
            hopper,
            shared,
            functions,
        })
    }
}

impl Machine for Gpu {
    fn hopper(&self) -> bool {
        self.hopper
    }

    fn shared(&self) -> usize {
        self.shared
    }

    fn address(&self, x: &Tensor, dtype: DType) -> Result<u64> {
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

    fn output(&self, shape: Shape, write: &dyn Fn(u64) -> Result<()>) -> Result<Tensor> {
        // SAFETY: `write` writes all of it.
        let out = unsafe { self.device.alloc::<f16>(shape.elem_count())? };
        write(out.device_ptr(&self.stream).0)?;
        let storage = Storage::Cuda(CudaStorage::wrap_cuda_slice(out, self.device.clone()));
        Ok(Tensor::from_storage(storage, shape, BackpropOp::none(), false))
    }

    fn parts(&self) -> u64 {
        self.parts.device_ptr(&self.stream).0
    }

    fn sums(&self) -> u64 {
        self.sums.device_ptr(&self.stream).0
    }

    fn launch(&self, what: &Launch, args: &[Arg]) -> Result<()> {
        let Some(function) = self.functions.get(what.kernel) else {
            candle_core::bail!("the kernel {} is not loaded", what.kernel);
        };
        // SAFETY: the arguments are the kernel's.
        unsafe { launch(&self.stream, function, what, args) }
    }

    fn product(
        &self,
        sizes: [usize; 3],
        at: [u64; 3],
        bias: Option<u64>,
        residual: Option<u64>,
    ) -> Result<()> {
        self.lt.product(sizes, at, bias, residual)
    }

    fn repeat(self: Arc<Self>) -> Box<dyn Repeat> {
        Box::new(Recorder::new(&Device::Cuda(self.device.clone()), &self))
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
