//! A GPU that runs residual networks, and a network there.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use candle_core::cuda::cudarc::cublas::{CudaBlas, result as blas, sys::cublasOperation_t as Op};
use candle_core::cuda::cudarc::driver::{CudaFunction, CudaSlice, CudaStream, DevicePtr};
use candle_core::{CudaDevice, Tensor};

use super::Kernels;
use super::cudnn::{Cudnn, Prepared};
use super::machine::{Machine, Matrix};
use super::op;
use super::shape::{Direction, Shape};
use crate::engine::composed;
use crate::engine::cuda::launch::{Arg, Launch};
use crate::engine::cuda::modules::{self, Module};
use crate::engine::cuda::{launch, prepare};
use crate::engine::layers::Residual;
use crate::engine::options::Precision;
use crate::engine::plan::{Plan, Variables};
use crate::engine::raw::Run;

/// Largest workspace of a convolution.
const ROOM: usize = 1 << 30;
pub(super) fn failed(error: impl fmt::Display) -> candle_core::Error {
    candle_core::Error::Cuda(error.to_string().into())
}

/// A network, and its engine once it has run.
#[derive(Debug)]
pub(in crate::engine::cuda) struct Network {
    plan: Plan,
    device: CudaDevice,
    precision: Precision,
    engine: OnceLock<Arc<Engine>>,
    /// For what the engine cannot do.
    composed: Box<dyn Residual>,
}

impl Network {
    pub(in crate::engine::cuda) fn new(plan: &Plan, device: &CudaDevice, precision: Precision) -> Self {
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
    /// If there is no cuDNN, or the GPU is too old.
    fn engine(&self, x: &Tensor) -> candle_core::Result<Option<&Arc<Engine>>> {
        if !self.plan.stem.channels_out.is_multiple_of(8) || x.track_op() {
            return Ok(None);
        }
        if let Some(engine) = self.engine.get() {
            return Ok(Some(engine));
        }
        let made = Arc::new(Engine::new(&self.device)?);
        Ok(Some(self.engine.get_or_init(|| made)))
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
    pub(super) device: CudaDevice,
    pub(super) stream: Arc<CudaStream>,
    blas: Arc<CudaBlas>,
    cudnn: Cudnn,
    functions: HashMap<&'static str, CudaFunction>,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    convs: HashMap<(Shape, Precision), Arc<Prepared>>,
    segments: HashMap<Precision, CudaSlice<i64>>,
    workspace: Option<CudaSlice<u8>>,
    scratch: Option<CudaSlice<u8>>,
    pub(super) arenas: Vec<CudaSlice<u8>>,
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
        let names = Kernels::F32.names().chain(Kernels::BF16.names());
        let load = |name| Ok((name, modules::function(device, Module::Residual, name)?));
        Ok(Self {
            device: device.clone(),
            functions: names.map(load).collect::<candle_core::Result<_>>()?,
            blas: device.cublas_handle(),
            cudnn: Cudnn::new(stream.clone()).map_err(failed)?,
            stream,
            state: Mutex::default(),
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn at<T>(&self, slice: &CudaSlice<T>) -> u64 {
        slice.device_ptr(&self.stream).0
    }

    pub(super) fn bytes(&self, len: usize) -> candle_core::Result<CudaSlice<u8>> {
        unsafe { self.device.alloc::<u8>(len.max(256)) }
    }
}

/// An engine at work on one pass, whose memory nobody else uses meanwhile.
pub(super) struct Held<'a> {
    engine: &'a Engine,
    state: MutexGuard<'a, State>,
}

impl<'a> Held<'a> {
    pub(super) fn new(engine: &'a Engine) -> Self {
        Self {
            engine,
            state: engine.state(),
        }
    }

    fn prepared(&mut self, shape: Shape, precision: Precision) -> candle_core::Result<Arc<Prepared>> {
        let key = (shape, precision);
        if let Some(found) = self.state.convs.get(&key) {
            return Ok(found.clone());
        }
        let prepared = self
            .engine
            .cudnn
            .prepare(shape, precision, ROOM)
            .map_err(failed)?;
        let prepared = Arc::new(prepared);
        self.state.convs.insert(key, prepared.clone());
        Ok(prepared)
    }
}

impl Machine for Held<'_> {
    fn launch(&self, what: &Launch, args: &[Arg]) -> candle_core::Result<()> {
        let Some(function) = self.engine.functions.get(what.kernel) else {
            candle_core::bail!("the kernel {} is not loaded", what.kernel);
        };
        // SAFETY: the arguments are the kernel's.
        unsafe { launch(&self.engine.stream, function, what, args) }
    }

    fn scratch(&mut self, len: usize) -> candle_core::Result<u64> {
        if self.state.scratch.as_ref().is_none_or(|s| s.len() < len) {
            self.state.scratch = None;
            self.state.scratch = Some(self.engine.bytes(len)?);
        }
        Ok(self.state.scratch.as_ref().map_or(0, |s| self.engine.at(s)))
    }

    fn segments(&mut self, precision: Precision, numbers: &dyn Fn() -> Vec<i64>) -> candle_core::Result<u64> {
        let segments = match self.state.segments.entry(precision) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(self.engine.device.clone_htod(&numbers())?),
        };
        Ok(self.engine.at(segments))
    }

    fn convolve(
        &mut self,
        shape: Shape,
        precision: Precision,
        direction: Direction,
        [x, w, y]: [u64; 3],
    ) -> candle_core::Result<()> {
        let prepared = self.prepared(shape, precision)?;
        let way = prepared.ways[direction as usize];
        if self.state.workspace.as_ref().is_none_or(|s| s.len() < way.room) {
            self.state.workspace = None;
            self.state.workspace = Some(self.engine.bytes(way.room)?);
        }
        let room = self.state.workspace.as_ref().map_or(0, |s| self.engine.at(s));
        self.engine
            .cudnn
            .run(&prepared, direction, way, x, w, y, room)
            .map_err(failed)
    }

    fn multiply(
        &self,
        [m, n, k]: [usize; 3],
        [a, b]: [Matrix; 2],
        beta: f32,
        c: u64,
    ) -> candle_core::Result<()> {
        let handle = *self.engine.blas.handle();
        let one = 1.0_f32;
        let op = |x: Matrix| {
            if x.turned {
                Op::CUBLAS_OP_T
            } else {
                Op::CUBLAS_OP_N
            }
        };
        // SAFETY: the addresses are of matrices of these sizes.
        unsafe {
            blas::sgemm(
                handle,
                op(a),
                op(b),
                m as i32,
                n as i32,
                k as i32,
                &one,
                a.at as *const f32,
                a.rows as i32,
                b.at as *const f32,
                b.rows as i32,
                &beta,
                c as *mut f32,
                m as i32,
            )
        }
        .map_err(failed)
    }
}
