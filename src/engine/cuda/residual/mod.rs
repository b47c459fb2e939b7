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

use candle_core::cuda::cudarc::cublas::{CudaBlas, result as blas, sys::cublasOperation_t as Op};
use candle_core::cuda::cudarc::driver::{
    CudaFunction, CudaSlice, CudaStream, DevicePtr, LaunchConfig, PushKernelArg,
};
use candle_core::cuda_backend::CudaStorage;
use candle_core::{CpuStorage, CudaDevice, CustomOp2, Layout, Storage, Tensor};

use super::prepare;
use crate::engine::composed;
use crate::engine::layers::Residual;
use crate::engine::options::Precision;
use crate::engine::plan::{EPSILON, MOMENTUM, Plan, Unit, Variables, side};
use crate::engine::raw::{Head, Run};

mod cudnn;

use cudnn::{Cudnn, Direction, Prepared, Shape, bytes};

pub(super) const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/resnet.ptx"));
pub(super) const MODULE: &str = "dream-resnet";
/// Largest workspace of a convolution.
const ROOM: usize = 1 << 30;
/// Blocks of a kernel that sums, and of one that only maps.
const SUMMING: usize = 768;
const MAPPING: usize = 4096;

fn failed(error: impl fmt::Display) -> candle_core::Error {
    candle_core::Error::Msg(error.to_string())
}

macro_rules! kernels {
    ($($name:ident)* ; $($plain:ident)*) => {
        #[derive(Debug)]
        struct Kernels { $($name: CudaFunction,)* $($plain: CudaFunction,)* }
        impl Kernels {
            fn load(device: &CudaDevice, suffix: &str) -> candle_core::Result<Self> {
                let get = |name: String| {
                    let function = device.get_or_load_custom_func(&name, MODULE, PTX)?;
                    Ok::<_, candle_core::Error>(function.into_cuda_function())
                };
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

macro_rules! launch {
    ($stream:expr, $function:expr, $grid:expr, $block:expr; $($arg:expr),* $(,)?) => {{
        let mut builder = $stream.launch_builder(&$function);
        $(let arg = $arg; builder.arg(&arg);)*
        let config = LaunchConfig { grid_dim: $grid, block_dim: $block, shared_mem_bytes: 0 };
        unsafe { builder.launch(config) }.map_err(failed)?;
    }};
}

/// A network, and its engine once it has run.
#[derive(Debug)]
pub(super) struct Network {
    plan: Plan,
    device: CudaDevice,
    precision: Precision,
    engine: OnceLock<Option<Arc<Engine>>>,
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
    fn engine(&self, x: &Tensor) -> Option<&Arc<Engine>> {
        if self.plan.stem.channels_out % 8 != 0 || x.track_op() {
            return None;
        }
        self.engine
            .get_or_init(|| Engine::new(&self.device).ok().map(Arc::new))
            .as_ref()
    }
}

impl Residual for Network {
    fn forward(&self, variables: &Variables, x: &Tensor, run: Run) -> candle_core::Result<Tensor> {
        let Some(engine) = self.engine(x) else {
            return self.composed.forward(variables, x, run);
        };
        let op = Operation {
            engine: engine.clone(),
            plan: self.plan.clone(),
            precision: self.precision,
            buffers: variables.buffers.as_tensor().clone(),
            run,
            tape: Mutex::new(None),
        };
        x.contiguous()?.apply_op2(&variables.flat, op)
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

/// Places of a unit's numbers, in bytes of the arena.
#[derive(Clone, Copy, Debug)]
struct Place {
    shape: Shape,
    rows: usize,
    channels: usize,
    /// The convolution's output; the rectified (and added) norm of it; the norm's four numbers a channel.
    y: usize,
    z: usize,
    norm: usize,
    /// Start of its packed weights, in numbers.
    weights: usize,
}

/// Where everything lies that a forward pass leaves for the backward pass.
#[derive(Clone, Debug)]
struct Frame {
    samples: usize,
    size: [usize; 2],
    padded: usize,
    precision: Precision,
    x: usize,
    weights: usize,
    weights_len: usize,
    /// The stem, then each block's units and its projection.
    stem: Place,
    blocks: Vec<(Vec<Place>, Option<Place>)>,
    /// The first block's input.
    entry: usize,
    entry_size: [usize; 2],
    chosen: usize,
    pooled: usize,
    area: usize,
    total: usize,
}

impl Frame {
    fn new(plan: &Plan, samples: usize, size: [usize; 2], precision: Precision) -> Self {
        let bytes = bytes(precision);
        let vec = 16 / bytes;
        let padded = plan.stem.channels_in.div_ceil(vec) * vec;
        let mut total = 0;
        let mut take = |len: usize| {
            let at = total;
            total += len.div_ceil(256) * 256;
            at
        };
        let x = take(samples * size[0] * size[1] * padded * bytes);
        let mut weights_len = 0;
        let mut place = |unit: &Unit, channels_in: usize, [h, w]: [usize; 2], z: bool| {
            let shape = Shape {
                n: samples,
                c: channels_in,
                h,
                w,
                k: unit.channels_out,
                kernel: unit.kernel,
                stride: unit.stride,
            };
            let [oh, ow] = shape.out();
            let rows = samples * oh * ow;
            let len = rows * unit.channels_out * bytes;
            let place = Place {
                shape,
                rows,
                channels: unit.channels_out,
                y: take(len),
                z: if z { take(len) } else { 0 },
                norm: take(4 * 4 * unit.channels_out),
                weights: weights_len,
            };
            weights_len += (unit.channels_out * channels_in * unit.kernel * unit.kernel).div_ceil(128) * 128;
            (place, [oh, ow])
        };
        let (stem, mut size_now) = place(&plan.stem, padded, size, !plan.pool);
        if plan.pool {
            size_now = size_now.map(|s| side(s, 3, 2));
        }
        let entry_size = size_now;
        let mut blocks = Vec::new();
        for block in &plan.blocks {
            let first = size_now;
            let mut units = Vec::new();
            for unit in &block.units {
                let (done, next) = place(unit, unit.channels_in, size_now, true);
                units.push(done);
                size_now = next;
            }
            let projection = block
                .projection
                .as_ref()
                .map(|unit| place(unit, unit.channels_in, first, false).0);
            blocks.push((units, projection));
        }
        let entry_len = samples * entry_size[0] * entry_size[1] * plan.stem.channels_out;
        let (entry, chosen) = match plan.pool {
            true => (take(entry_len * bytes), take(entry_len)),
            false => (stem.z, 0),
        };
        let weights = take(weights_len * bytes);
        let pooled = take(samples * plan.features * 4);
        Self {
            samples,
            size,
            padded,
            precision,
            x,
            weights,
            weights_len,
            stem,
            blocks,
            entry,
            entry_size,
            chosen,
            pooled,
            area: size_now[0] * size_now[1],
            total,
        }
    }

    /// Bytes of the largest number field of the blocks, and of the stem's output.
    fn largest(&self) -> [usize; 2] {
        let bytes = bytes(self.precision);
        let units = self
            .blocks
            .iter()
            .flat_map(|(units, projection)| units.iter().chain(projection));
        let of = |p: &Place| (p.rows * p.channels).max(p.shape.n * p.shape.h * p.shape.w * p.shape.c) * bytes;
        let blocks = units.map(of).max().unwrap_or_default();
        [blocks, self.stem.rows * self.stem.channels * bytes]
    }
}

/// What a forward pass leaves. Its memory goes back to the engine.
struct Tape {
    engine: Arc<Engine>,
    arena: Option<CudaSlice<u8>>,
    frame: Frame,
    head: Head,
}

impl Drop for Tape {
    fn drop(&mut self) {
        if let Some(arena) = self.arena.take() {
            let mut state = self.engine.state();
            state.arenas.push(arena);
            // Two are enough for a forward pass beside one that still waits for its backward pass.
            if state.arenas.len() > 2 {
                state.arenas.sort_by_key(CudaSlice::len);
                state.arenas.remove(0);
            }
        }
    }
}

/// One run of a network.
struct Operation {
    engine: Arc<Engine>,
    plan: Plan,
    precision: Precision,
    buffers: Tensor,
    run: Run,
    tape: Mutex<Option<Tape>>,
}

/// One pass.
struct Pass<'a> {
    engine: &'a Engine,
    kernels: &'a Kernels,
    state: MutexGuard<'a, State>,
    frame: &'a Frame,
    arena: u64,
    flat: u64,
    buffers: u64,
}

/// Grid, block, rows a chunk, chunks.
type Rows = ((u32, u32, u32), (u32, u32, u32), i64, usize);

impl<'a> Pass<'a> {
    fn new(engine: &'a Engine, frame: &'a Frame, arena: u64, flat: u64, buffers: u64) -> Self {
        let kernels = &engine.kernels[usize::from(frame.precision == Precision::Bf16)];
        Self {
            engine,
            kernels,
            state: engine.state(),
            frame,
            arena,
            flat,
            buffers,
        }
    }

    fn rows(&self, rows: usize, channels: usize, blocks: usize) -> Rows {
        let vectors = channels / (16 / bytes(self.frame.precision));
        let lanes = vectors.min(32);
        let (height, across) = (256 / lanes, vectors.div_ceil(lanes));
        let each = if blocks == MAPPING { 4 } else { 8 };
        let chunks = rows.div_ceil(height * each).clamp(1, (blocks / across).max(1));
        let per = rows.div_ceil(chunks);
        let chunks = rows.div_ceil(per);
        let grid = (across as u32, chunks as u32, 1);
        (grid, (lanes as u32, height as u32, 1), per as i64, chunks)
    }

    /// An address of the scratch memory of `len` bytes, which the next call of this gives again.
    fn scratch(&mut self, len: usize) -> candle_core::Result<u64> {
        if self.state.scratch.as_ref().is_none_or(|s| s.len() < len) {
            self.state.scratch = None;
            self.state.scratch = Some(self.engine.bytes(len)?);
        }
        Ok(self.state.scratch.as_ref().map_or(0, |s| self.engine.at(s)))
    }

    fn prepared(&mut self, shape: Shape) -> candle_core::Result<Arc<Prepared>> {
        let key = (shape, self.frame.precision);
        if let Some(found) = self.state.convs.get(&key) {
            return Ok(found.clone());
        }
        let prepared = self.engine.cudnn.prepare(shape, key.1, ROOM).map_err(failed)?;
        let prepared = Arc::new(prepared);
        self.state.convs.insert(key, prepared.clone());
        Ok(prepared)
    }

    fn convolve(
        &mut self,
        place: &Place,
        direction: Direction,
        x: u64,
        w: u64,
        y: u64,
    ) -> candle_core::Result<()> {
        let prepared = self.prepared(place.shape)?;
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

    fn weights(&self, place: &Place) -> u64 {
        self.arena + (self.frame.weights + place.weights * bytes(self.frame.precision)) as u64
    }

    /// Addresses of the unit's output, of its rectified norm and of the norm's numbers.
    fn of(&self, place: &Place) -> [u64; 3] {
        [place.y, place.z, place.norm].map(|at| self.arena + at as u64)
    }

    fn flat(&self, at: usize) -> u64 {
        self.flat + 4 * at as u64
    }

    fn segments(&mut self, plan: &Plan) -> candle_core::Result<u64> {
        let precision = self.frame.precision;
        if !self.state.segments.contains_key(&precision) {
            let places = self
                .frame
                .blocks
                .iter()
                .flat_map(|(units, projection)| units.iter().chain(projection));
            let places = std::iter::once(&self.frame.stem).chain(places);
            let two = |low: usize, high: usize| (low | high << 32) as i64;
            let numbers: Vec<i64> = (plan.units().zip(places))
                .flat_map(|(unit, place)| {
                    [
                        unit.weight as i64,
                        place.weights as i64,
                        two(unit.channels_out, unit.channels_in),
                        two(place.shape.c, unit.kernel * unit.kernel),
                    ]
                })
                .collect();
            let slice = self.engine.device.clone_htod(&numbers)?;
            self.state.segments.insert(precision, slice);
        }
        Ok(self
            .state
            .segments
            .get(&precision)
            .map_or(0, |s| self.engine.at(s)))
    }

    // ---- forward

    /// A convolution, and the norm after it made ready.
    fn unit(&mut self, unit: &Unit, place: &Place, x: u64, train: bool) -> candle_core::Result<()> {
        let [y, _, norm] = self.of(place);
        let weights = self.weights(place);
        self.convolve(place, Direction::Forward, x, weights, y)?;
        let (c, engine, k) = (place.channels, self.engine, self.kernels);
        let (gamma, beta) = (self.flat(unit.gamma), self.flat(unit.beta));
        let [mean, var] = [unit.mean, unit.var].map(|at| self.buffers + 4 * at as u64);
        if !train {
            launch!(engine.stream, k.norm_of_running, ((c as u32).div_ceil(128), 1, 1), (128, 1, 1);
                c as i32, gamma, beta, mean, var, norm, EPSILON);
            return Ok(());
        }
        let (grid, block, per, chunks) = self.rows(place.rows, c, SUMMING);
        let part = self.scratch(chunks * 2 * c * 4)?;
        launch!(engine.stream, k.moments, grid, block; y, part, place.rows as i64, c as i32, per);
        launch!(engine.stream, k.moments_join, ((c as u32).div_ceil(32), 1, 1), (32, 32, 1);
            part, chunks as i32, place.rows as i64, per, c as i32, gamma, beta, norm, mean, var,
            MOMENTUM as f32, EPSILON);
        Ok(())
    }

    fn run_forward(
        &mut self,
        plan: &Plan,
        x: u64,
        train: bool,
        head: Head,
        out: u64,
    ) -> candle_core::Result<()> {
        let (engine, k, frame) = (self.engine, self.kernels, self.frame);
        let stream = &engine.stream;
        let [h, w] = frame.size;
        let packed = self.arena + frame.x as u64;
        let pixels = frame.samples * h * w;
        launch!(stream, k.pack_picture, ((pixels as u32).div_ceil(256).min(8192), 1, 1), (256, 1, 1);
            x, packed, plan.stem.channels_in as i32, frame.padded as i32, (h * w) as i32, pixels as i64);
        let segments = self.segments(plan)?;
        let count = plan.units().count() as u32;
        launch!(stream, k.pack_weights, (64, count, 1), (256, 1, 1);
            self.flat, self.arena + frame.weights as u64, segments);

        let stem = frame.stem;
        self.unit(&plan.stem, &stem, packed, train)?;
        let [y, z, norm] = self.of(&stem);
        let c = stem.channels;
        let entry = self.arena + frame.entry as u64;
        if plan.pool {
            let [sh, sw] = stem.shape.out();
            let [oh, ow] = frame.entry_size;
            let rows = frame.samples * oh * ow;
            let (grid, block, per, _) = self.rows(rows, c, MAPPING);
            let chosen = self.arena + frame.chosen as u64;
            launch!(stream, k.normalize_pool, grid, block;
                y, norm, entry, chosen, sh as i32, sw as i32, oh as i32, ow as i32,
                rows as i64, c as i32, per);
        } else {
            let (grid, block, per, _) = self.rows(stem.rows, c, MAPPING);
            launch!(stream, k.normalize, grid, block; y, norm, z, stem.rows as i64, c as i32, per);
        }
        let mut input = entry;
        for (block, (places, projection)) in plan.blocks.iter().zip(&frame.blocks) {
            let first = input;
            let shortcut = match block.projection.as_ref().zip(projection.as_ref()) {
                Some((unit, place)) => {
                    self.unit(unit, place, first, train)?;
                    Some(self.of(place))
                }
                None => None,
            };
            for (i, (unit, place)) in block.units.iter().zip(places).enumerate() {
                self.unit(unit, place, input, train)?;
                let [y, z, norm] = self.of(place);
                let (grid, shape, per, _) = self.rows(place.rows, place.channels, MAPPING);
                let (rows, c) = (place.rows as i64, place.channels as i32);
                if i + 1 < places.len() {
                    launch!(stream, k.normalize, grid, shape; y, norm, z, rows, c, per);
                } else if let Some([y2, _, norm2]) = shortcut {
                    launch!(stream, k.normalize_two, grid, shape; y, norm, y2, norm2, z, rows, c, per);
                } else {
                    launch!(stream, k.normalize_add, grid, shape; y, norm, first, z, rows, c, per);
                }
                input = z;
            }
        }
        let pooled = match head {
            Head::Features => out,
            Head::Logits => self.arena + frame.pooled as u64,
        };
        let vectors = plan.features / (16 / bytes(frame.precision));
        launch!(stream, k.mean_area, ((vectors as u32).div_ceil(64), frame.samples as u32, 1), (64, 1, 1);
            input, pooled, frame.area as i32, plan.features as i32);
        if head == Head::Logits {
            let (n, f, o) = (frame.samples, plan.features, plan.outputs);
            let bias = self.flat(plan.fc_bias);
            launch!(stream, k.bias_rows, (((n * o) as u32).div_ceil(256).min(1024), 1, 1), (256, 1, 1);
                out, bias, n as i32, o as i32);
            self.multiply(
                [Op::CUBLAS_OP_T, Op::CUBLAS_OP_N],
                [o, n, f],
                (self.flat(plan.fc_weight), f),
                (pooled, f),
                1.0,
                (out, o),
            )?;
        }
        Ok(())
    }

    /// c = op(a) op(b) + beta c, columns first.
    fn multiply(
        &self,
        [ta, tb]: [Op; 2],
        [m, n, k]: [usize; 3],
        (a, lda): (u64, usize),
        (b, ldb): (u64, usize),
        beta: f32,
        (c, ldc): (u64, usize),
    ) -> candle_core::Result<()> {
        let handle = *self.engine.blas.handle();
        let one = 1.0_f32;
        unsafe {
            blas::sgemm(
                handle,
                ta,
                tb,
                m as i32,
                n as i32,
                k as i32,
                &one,
                a as *const f32,
                lda as i32,
                b as *const f32,
                ldb as i32,
                &beta,
                c as *mut f32,
                ldc as i32,
            )
        }
        .map_err(failed)
    }

    // ---- backward

    fn run_backward(&mut self, plan: &Plan, head: Head, dout: u64, grad: u64) -> candle_core::Result<()> {
        let (engine, k, frame) = (self.engine, self.kernels, self.frame);
        let (stream, bytes) = (&engine.stream, bytes(frame.precision));
        let [large, stem_len] = frame.largest();
        // Parts of the scratch memory.
        let round = |len: usize| len.div_ceil(256) * 256;
        let units = frame
            .blocks
            .iter()
            .flat_map(|(units, projection)| units.iter().chain(projection));
        let units = std::iter::once(&frame.stem).chain(units);
        let part_len = units
            .map(|p| self.rows(p.rows, p.channels, SUMMING).3 * 3 * p.channels * 4)
            .max()
            .unwrap_or_default();
        let widest = frame
            .blocks
            .iter()
            .flat_map(|(units, _)| units)
            .map(|p| p.channels)
            .max()
            .unwrap_or_default();
        let lens = [
            part_len,
            3 * 4 * widest,
            3 * 4 * widest,
            frame.samples * plan.features * 4,
            frame.weights_len * bytes,
            large,
            large.max(stem_len),
            large,
            large,
        ];
        let mut at = self.scratch(lens.iter().map(|len| round(*len)).sum())?;
        let [
            part,
            coefficients,
            coefficients2,
            dpooled,
            dweights,
            mut p,
            q,
            mut r,
            mut s,
        ] = lens.map(|len| {
            let this = at;
            at += round(len) as u64;
            this
        });
        let dweight = |place: &Place| dweights + (place.weights * bytes) as u64;

        let dpooled = match head {
            Head::Features => dout,
            Head::Logits => {
                let (n, f, o) = (frame.samples, plan.features, plan.outputs);
                let pooled = self.arena + frame.pooled as u64;
                let at = |at: usize| grad + 4 * at as u64;
                let (no, yes) = (Op::CUBLAS_OP_N, Op::CUBLAS_OP_T);
                self.multiply(
                    [no, yes],
                    [f, o, n],
                    (pooled, f),
                    (dout, o),
                    0.0,
                    (at(plan.fc_weight), f),
                )?;
                launch!(stream, k.bias_gradient, ((o as u32).div_ceil(64), 1, 1), (64, 1, 1);
                    dout, at(plan.fc_bias), n as i32, o as i32);
                self.multiply(
                    [no, no],
                    [f, n, o],
                    (self.flat(plan.fc_weight), f),
                    (dout, o),
                    0.0,
                    (dpooled, f),
                )?;
                dpooled
            }
        };
        for (index, (block, (places, projection))) in plan.blocks.iter().zip(&frame.blocks).enumerate().rev()
        {
            let input = match index.checked_sub(1).and_then(|i| frame.blocks[i].0.last()) {
                Some(place) => self.of(place)[1],
                None => self.arena + frame.entry as u64,
            };
            let last = places.len() - 1;
            let place = places[last];
            let [y, z, norm] = self.of(&place);
            let (grid, shape, per, chunks) = self.rows(place.rows, place.channels, SUMMING);
            let (rows, c) = (place.rows as i64, place.channels as i32);
            let projected = projection.as_ref().map(|place| self.of(place));
            // The gradient of the block's output, masked, into p; it was s + p, or that of the mean.
            let [h, w] = place.shape.out().map(|side| side as i32);
            match (index + 1 == frame.blocks.len(), projected) {
                (true, None) => {
                    launch!(stream, k.sums_top, grid, shape; dpooled, h, w, z, y, norm, p, part, rows, c, per)
                }
                (true, Some([y2, _, norm2])) => {
                    launch!(stream, k.sums_top_two, grid, shape;
                        dpooled, h, w, z, y, norm, y2, norm2, p, part, rows, c, per);
                }
                (false, None) => {
                    launch!(stream, k.sums_block, grid, shape; s, p, z, y, norm, p, part, rows, c, per)
                }
                (false, Some([y2, _, norm2])) => {
                    launch!(stream, k.sums_block_two, grid, shape;
                        s, p, z, y, norm, y2, norm2, p, part, rows, c, per);
                }
            }
            let sums = if projected.is_some() { 3 } else { 2 };
            self.join(
                &block.units[last],
                &place,
                part,
                chunks,
                sums,
                1,
                norm,
                grad,
                coefficients,
            )?;
            if let Some(([_, _, norm2], unit)) = projected.zip(block.projection.as_ref()) {
                self.join(unit, &place, part, chunks, sums, 2, norm2, grad, coefficients2)?;
            }
            // The last unit: p -> q (gradient of its convolution's output) -> r (of its input).
            self.norm_gradient(&place, p, coefficients, q, false)?;
            let before = if last > 0 {
                self.of(&places[last - 1])[1]
            } else {
                input
            };
            self.convolve(&place, Direction::Weight, before, dweight(&place), q)?;
            let weights = self.weights(&place);
            self.convolve(&place, Direction::Input, r, weights, q)?;
            for i in (0..last).rev() {
                let place = places[i];
                let [y, _, norm] = self.of(&place);
                let (grid, shape, per, chunks) = self.rows(place.rows, place.channels, SUMMING);
                launch!(stream, k.sums_inner, grid, shape;
                    r, y, norm, part, place.rows as i64, place.channels as i32, per);
                self.join(
                    &block.units[i],
                    &place,
                    part,
                    chunks,
                    2,
                    1,
                    norm,
                    grad,
                    coefficients,
                )?;
                self.norm_gradient(&place, r, coefficients, r, true)?;
                let before = if i > 0 { self.of(&places[i - 1])[1] } else { input };
                self.convolve(&place, Direction::Weight, before, dweight(&place), r)?;
                let weights = self.weights(&place);
                self.convolve(&place, Direction::Input, s, weights, r)?;
                std::mem::swap(&mut r, &mut s);
            }
            // The input's gradient is in r now; the next block takes s and p.
            std::mem::swap(&mut r, &mut s);
            if let Some(place) = projection {
                self.norm_gradient(place, p, coefficients2, q, false)?;
                self.convolve(place, Direction::Weight, input, dweight(place), q)?;
                let weights = self.weights(place);
                self.convolve(place, Direction::Input, p, weights, q)?;
            }
        }
        // The stem: s + p, through the pooling or not.
        let stem = frame.stem;
        let [y, z, norm] = self.of(&stem);
        let (grid, shape, per, chunks) = self.rows(stem.rows, stem.channels, SUMMING);
        let (rows, c) = (stem.rows as i64, stem.channels as i32);
        if plan.pool {
            let [h, w] = stem.shape.out();
            let [oh, ow] = frame.entry_size;
            let chosen = self.arena + frame.chosen as u64;
            launch!(stream, k.sums_pool, grid, shape;
                s, p, chosen, h as i32, w as i32, oh as i32, ow as i32, y, norm, q, part, rows, c, per);
        } else {
            launch!(stream, k.sums_block, grid, shape; s, p, z, y, norm, q, part, rows, c, per);
        }
        self.join(&plan.stem, &stem, part, chunks, 2, 1, norm, grad, coefficients)?;
        self.norm_gradient(&stem, q, coefficients, q, false)?;
        self.convolve(
            &stem,
            Direction::Weight,
            self.arena + frame.x as u64,
            dweight(&stem),
            q,
        )?;
        let segments = self.segments(plan)?;
        let count = plan.units().count() as u32;
        launch!(stream, k.unpack_gradients, (64, count, 1), (256, 1, 1); grad, dweights, segments);
        // `p` ends here; said once so that no warning hides a mistake above.
        let _ = &mut p;
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    fn join(
        &self,
        unit: &Unit,
        place: &Place,
        part: u64,
        chunks: usize,
        sums: i32,
        which: i32,
        norm: u64,
        grad: u64,
        coefficients: u64,
    ) -> candle_core::Result<()> {
        let c = place.channels;
        launch!(self.engine.stream, self.kernels.gradient_join, ((c as u32).div_ceil(32), 1, 1), (32, 32, 1);
            part, chunks as i32, sums, which, place.rows as i64, c as i32, norm, self.flat(unit.gamma),
            grad + 4 * unit.gamma as u64, grad + 4 * unit.beta as u64, coefficients);
        Ok(())
    }

    fn norm_gradient(
        &self,
        place: &Place,
        dz: u64,
        coefficients: u64,
        dy: u64,
        masked: bool,
    ) -> candle_core::Result<()> {
        let [y, _, norm] = self.of(place);
        let (grid, block, per, _) = self.rows(place.rows, place.channels, MAPPING);
        let function = if masked {
            &self.kernels.norm_gradient_masked
        } else {
            &self.kernels.norm_gradient
        };
        launch!(self.engine.stream, *function, grid, block;
            dz, y, norm, coefficients, dy, place.rows as i64, place.channels as i32, per);
        Ok(())
    }
}

/// Address of a contiguous f32 tensor's first number.
fn address(storage: &CudaStorage, layout: &Layout, stream: &CudaStream) -> candle_core::Result<u64> {
    let Some((start, _)) = layout.contiguous_offsets() else {
        candle_core::bail!("dream-resnet: a contiguous tensor was promised");
    };
    Ok(storage.as_cuda_slice::<f32>()?.device_ptr(stream).0 + 4 * start as u64)
}

fn tensor_address(tensor: &Tensor, stream: &CudaStream) -> candle_core::Result<u64> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cuda(storage) => address(storage, layout, stream),
        _ => candle_core::bail!("dream-resnet: a CUDA tensor was promised"),
    }
}

impl CustomOp2 for Operation {
    fn name(&self) -> &'static str {
        "dream-resnet-cuda"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, candle_core::Shape)> {
        candle_core::bail!("dream-resnet-cuda: a CUDA tensor was promised")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        flat: &CudaStorage,
        flat_layout: &Layout,
    ) -> candle_core::Result<(CudaStorage, candle_core::Shape)> {
        let engine = &self.engine;
        let (x, flat) = (
            address(x, x_layout, &engine.stream)?,
            address(flat, flat_layout, &engine.stream)?,
        );
        let (n, _, h, w) = x_layout.shape().dims4()?;
        let frame = Frame::new(&self.plan, n, [h, w], self.precision);
        let arena = {
            let mut state = engine.state();
            let fits = state
                .arenas
                .iter()
                .position(|a| a.len() >= frame.total && a.len() <= 2 * frame.total.max(1 << 28));
            match fits {
                Some(i) => state.arenas.swap_remove(i),
                None => engine.bytes(frame.total)?,
            }
        };
        let width = match self.run.head {
            Head::Features => self.plan.features,
            Head::Logits => self.plan.outputs,
        };
        let out = unsafe { engine.device.alloc::<f32>(n * width)? };
        let (at, buffers) = (engine.at(&arena), tensor_address(&self.buffers, &engine.stream)?);
        let tape = Tape {
            engine: engine.clone(),
            arena: Some(arena),
            frame,
            head: self.run.head,
        };
        Pass::new(engine, &tape.frame, at, flat, buffers).run_forward(
            &self.plan,
            x,
            self.run.train,
            self.run.head,
            engine.at(&out),
        )?;
        if self.run.train {
            *self.tape.lock().unwrap_or_else(PoisonError::into_inner) = Some(tape);
        }
        Ok((
            CudaStorage::wrap_cuda_slice(out, engine.device.clone()),
            candle_core::Shape::from((n, width)),
        ))
    }

    fn bwd(
        &self,
        _: &Tensor,
        flat: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let tape = self.tape.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(tape) = tape.as_ref() else {
            candle_core::bail!(
                "backward through a network in evaluation mode: call forward with train = true, or detach \
                 its output"
            );
        };
        let engine = &self.engine;
        let grad = grad.contiguous()?;
        let dflat = engine.device.alloc_zeros::<f32>(flat.elem_count())?;
        let arena = tape.arena.as_ref().map_or(0, |a| engine.at(a));
        Pass::new(
            engine,
            &tape.frame,
            arena,
            tensor_address(flat, &engine.stream)?,
            0,
        )
        .run_backward(
            &self.plan,
            tape.head,
            tensor_address(&grad, &engine.stream)?,
            engine.at(&dflat),
        )?;
        let storage = Storage::Cuda(CudaStorage::wrap_cuda_slice(dflat, engine.device.clone()));
        let dflat = Tensor::from_storage(storage, flat.shape(), candle_core::op::BackpropOp::none(), false);
        Ok((None, Some(dflat)))
    }
}
