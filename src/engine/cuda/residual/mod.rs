//! Residual networks as one operation of candle's graph, as on the CPU: convolutions by cuDNN over
//! channels-last numbers, batch norm, ReLU, residual sums, pooling and their gradients by kernels of our own
//! (`kernels.cu`), one flat gradient.
//!
//! Everything is launched on candle's stream and nothing waits for the GPU. Sums have orders that shapes
//! decide; cuDNN's ways are chosen by its heuristic among the deterministic ones. So bits are equal on the
//! same kind of GPU with the same cuDNN.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use candle_core::cuda::cudarc::cublas::CudaBlas;
use candle_core::cuda::cudarc::driver::{CudaFunction, CudaSlice, CudaStream, DevicePtr};
use candle_core::{CudaDevice, Tensor};

use super::modules::{self, Module};
use super::prepare;
use crate::engine::composed;
use crate::engine::layers::Residual;
use crate::engine::options::Precision;
use crate::engine::plan::{Plan, Variables};
use crate::engine::raw::Run;

macro_rules! launch {
    ($stream:expr, $function:expr, $grid:expr, $block:expr; $($arg:expr),* $(,)?) => {{
        let mut builder = $stream.launch_builder(&$function);
        $(let arg = $arg; builder.arg(&arg);)*
        let config = LaunchConfig { grid_dim: $grid, block_dim: $block, shared_mem_bytes: 0 };
        unsafe { builder.launch(config) }.map_err(failed)?;
    }};
}

mod backward;
mod cudnn;
mod forward;
mod frame;
mod op;
mod pass;

use self::cudnn::{Cudnn, Prepared, Shape};

/// Largest workspace of a convolution.
const ROOM: usize = 1 << 30;
/// Blocks of a kernel that sums, and of one that only maps.
const SUMMING: usize = 768;
const MAPPING: usize = 4096;

fn failed(error: impl fmt::Display) -> candle_core::Error {
    candle_core::Error::Cuda(error.to_string().into())
}

macro_rules! kernels {
    ($($name:ident)* ; $($plain:ident)*) => {
        #[derive(Debug)]
        struct Kernels { $($name: CudaFunction,)* $($plain: CudaFunction,)* }
        impl Kernels {
            fn load(device: &CudaDevice, suffix: &str) -> candle_core::Result<Self> {
                let get = |name: String| modules::function(device, Module::Residual, &name);
                Ok(Self {
                    $($name: get(format!("{}_{suffix}", stringify!($name)))?,)*
                    $($plain: get(stringify!($plain).to_owned())?,)*
                })
            }
        }
    };
}

kernels! {
    pack_picture pack_weights unpack_gradients moments
    normalize normalize_add normalize_two normalize_pool mean_area
    sums_inner sums_block sums_block_two sums_top sums_top_two sums_pool norm_gradient norm_gradient_masked;
    moments_join norm_of_running bias_rows bias_gradient gradient_join
}

/// A network, and its engine once it has run.
#[derive(Debug)]
pub(super) struct Network {
    plan: Plan,
    device: CudaDevice,
    precision: Precision,
    engine: OnceLock<Result<Arc<Engine>, String>>,
    /// For what the engine cannot do.
    composed: Box<dyn Residual>,
}

impl Network {
    pub(super) fn new(plan: &Plan, device: &CudaDevice, precision: Precision) -> Self {
        Self {
            plan: plan.clone(),
            device: device.clone(),
            precision,
            engine: OnceLock::new(),
            composed: composed::residual(plan, composed::conv2d),
        }
    }

    /// The engine, if it can run this network on `x`: vectors of channels must be whole, and no gradient
    /// reaches the pictures.
    ///
    /// # Errors
    /// If there is no cuDNN.
    fn engine(&self, x: &Tensor) -> candle_core::Result<Option<&Arc<Engine>>> {
        if self.plan.stem.channels_out % 8 != 0 || x.track_op() {
            return Ok(None);
        }
        let made = self
            .engine
            .get_or_init(|| Engine::new(&self.device).map(Arc::new).map_err(|e| e.to_string()));
        made.as_ref().map(Some).map_err(failed)
    }
}

impl Residual for Network {
    fn forward(&self, variables: &Variables, x: &Tensor, run: Run) -> candle_core::Result<Tensor> {
        let Some(engine) = self.engine(x)? else {
            return self.composed.forward(variables, x, run);
        };
        op::apply(engine, (&self.plan, self.precision), variables, x, run)
    }

    fn last(&self, variables: &Variables, features: &Tensor) -> candle_core::Result<Tensor> {
        self.composed.last(variables, features)
    }
}

/// What stays from step to step: the library, the kernels, and memory.
pub(super) struct Engine {
    device: CudaDevice,
    stream: Arc<CudaStream>,
    blas: Arc<CudaBlas>,
    cudnn: Cudnn,
    kernels: [Kernels; 2],
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    convs: HashMap<(Shape, Precision), Arc<Prepared>>,
    segments: HashMap<Precision, CudaSlice<i64>>,
    workspace: Option<CudaSlice<u8>>,
    scratch: Option<CudaSlice<u8>>,
    arenas: Vec<CudaSlice<u8>>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine(cuDNN {})", self.cudnn.version())
    }
}

impl Engine {
    fn new(device: &CudaDevice) -> candle_core::Result<Self> {
        let stream = device.cuda_stream();
        prepare(device, &stream)?;
        Ok(Self {
            device: device.clone(),
            blas: device.cublas_handle(),
            cudnn: Cudnn::new(stream.cu_stream().cast()).map_err(failed)?,
            stream,
            kernels: [Kernels::load(device, "f32")?, Kernels::load(device, "bf16")?],
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at<T>(&self, slice: &CudaSlice<T>) -> u64 {
        slice.device_ptr(&self.stream).0
    }

    fn bytes(&self, len: usize) -> candle_core::Result<CudaSlice<u8>> {
        unsafe { self.device.alloc::<u8>(len.max(256)) }
    }
}
