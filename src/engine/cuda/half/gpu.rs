//! The kernels for half precision: what a device needs once, and a function for each layer. A call costs the
//! host one allocation and one or two launches: no parameters are uploaded, and workspaces are made once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use candle_core::cuda::DeviceId;
use candle_core::cuda::cudarc::driver::{
    CudaFunction, CudaSlice, CudaStream, DevicePtr, DeviceRepr, LaunchConfig, PushKernelArg, sys,
};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, DType, Result, Shape, Storage, Tensor};
use half::f16;

use super::lt::Lt;
use crate::engine::cuda::{failed, prepare};

const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/kernels.ptx"));
/// For compute capability 9.0 alone.
const HOPPER: &str = include_str!(concat!(env!("OUT_DIR"), "/hopper.ptx"));
/// Bytes for the parts of split convolutions: 264 blocks of 128 x 160 sums, two for each multiprocessor of
/// the largest GPU.
const PARTS: usize = 24 << 20;
/// Numbers for the sums of group norms.
const SUMS: usize = 1 << 20;

/// Width of a head, keys of a step and queries of a block of the kernels for Hopper.
const HOPPER_ATTENTION: [(usize, usize, usize); 2] = [(40, 128, 128), (80, 64, 128)];

/// Channels that a convolution takes at once; fewer are filled up with zeros.
pub(super) const CHANNELS: usize = 64;

#[repr(C)]
#[derive(Clone, Copy)]
struct ConvArgs {
    x: u64,
    w: u64,
    y: u64,
    parts: u64,
    bias: u64,
    extra: u64,
    residual: u64,
    rows: i32,
    outputs: i32,
    channels: i32,
    height: i32,
    width: i32,
    out_height: i32,
    out_width: i32,
    kernel: i32,
    stride: i32,
    before: i32,
    twice: i32,
    splits: i32,
}
// SAFETY: plain numbers, laid out as the kernel's `Conv`.
unsafe impl DeviceRepr for ConvArgs {}

#[repr(C)]
#[derive(Clone, Copy)]
struct AttentionArgs {
    q: u64,
    k: u64,
    v: u64,
    out: u64,
    tokens: i32,
    others: i32,
    q_stride: i32,
    kv_stride: i32,
    channels: i32,
    scale: f32,
}
// SAFETY: plain numbers, laid out as the kernel's `Attention`.
unsafe impl DeviceRepr for AttentionArgs {}

#[repr(C)]
#[derive(Clone, Copy)]
struct GroupArgs {
    x: u64,
    y: u64,
    parts: u64,
    weight: u64,
    bias: u64,
    pixels: i32,
    channels: i32,
    groups: i32,
    chunks: i32,
    chunk_pixels: i32,
    epsilon: f32,
    silu: i32,
}
// SAFETY: plain numbers, laid out as the kernel's `GroupNorm`.
unsafe impl DeviceRepr for GroupArgs {}

/// What a convolution does, in the kernel's terms.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) before: usize,
    pub(super) twice: bool,
    pub(super) to: [usize; 2],
}

/// Queries, keys and values: tensors, first column, and columns of a token.
pub(super) struct Side<'a>(pub(super) &'a Tensor, pub(super) usize);

/// A kernel for convolutions: its function and the rows and columns of a block.
struct Tile {
    function: CudaFunction,
    rows: usize,
    columns: usize,
    threads: usize,
    memory: usize,
}

/// A kernel for attention: queries of a block.
struct Flash {
    function: CudaFunction,
    queries: usize,
    threads: usize,
    memory: usize,
}

struct Functions {
    hopper: bool,
    /// Blocks of 160 outputs: the small and the large.
    conv160: [Tile; 2],
    conv128: [Tile; 2],
    conv16: Tile,
    conv_sum: CudaFunction,
    /// By the width of a head.
    attention: HashMap<usize, Flash>,
    group_sums: CudaFunction,
    group_apply: CudaFunction,
    layer_norm: CudaFunction,
    geglu: CudaFunction,
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gpu")
            .field("hopper", &self.functions.hopper)
            .finish_non_exhaustive()
    }
}

/// What a device needs once.
pub(super) struct Gpu {
    device: CudaDevice,
    stream: Arc<CudaStream>,
    functions: Functions,
    lt: Lt,
    parts: CudaSlice<u8>,
    sums: CudaSlice<f32>,
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
fn address(x: &Tensor, dtype: DType) -> Result<u64> {
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

fn half(x: &Tensor) -> Result<u64> {
    address(x, DType::F16)
}

fn int(n: usize) -> Result<i32> {
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
        let function = |name: &str, memory: usize| -> Result<CudaFunction> {
            let (module, ptx) = match name.starts_with("hopper") {
                true => ("dream hopper", HOPPER),
                false => ("dream diffusion", PTX),
            };
            let function = device
                .get_or_load_custom_func(name, module, ptx)?
                .into_cuda_function();
            if memory > 48 << 10 {
                let attribute =
                    sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
                function.set_attribute(attribute, memory as i32).map_err(failed)?;
            }
            Ok(function)
        };
        let tile = |name: &str, [rows, columns, threads, stages]: [usize; 4]| -> Result<Tile> {
            let memory = stages * (rows + columns) * 128 + 1024;
            Ok(Tile {
                function: function(name, memory)?,
                rows,
                columns,
                threads,
                memory,
            })
        };
        let major = sys::CUdevice_attribute_enum::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR;
        let hopper = hopper && stream.context().attribute(major).map_err(failed)? == 9;
        let mut attention = HashMap::new();
        for (width, queries) in [(40_usize, 128_usize), (64, 128), (80, 128), (160, 64)] {
            let padded = width.div_ceil(16) * 16;
            let row = if padded / 8 % 2 == 1 { padded } else { padded + 8 };
            let memory = (queries + 4 * 64) * row * 2;
            let flash = Flash {
                function: function(&format!("attention_{width}x{queries}"), memory)?,
                queries,
                threads: 128,
                memory,
            };
            attention.insert(width, flash);
        }
        for (width, keys, queries) in HOPPER_ATTENTION.into_iter().filter(|_| hopper) {
            let memory = width.div_ceil(64) * (queries + 4 * keys) * 128 + 1024;
            let flash = Flash {
                function: function(&format!("hopper_attention_{width}x{keys}x{queries}"), memory)?,
                queries,
                threads: 2 * queries,
                memory,
            };
            attention.insert(width, flash);
        }
        let functions = Functions {
            hopper,
            conv160: match hopper {
                true => [
                    tile("hopper_128x160", [128, 160, 256, 5])?,
                    tile("hopper_256x160", [256, 160, 256, 4])?,
                ],
                false => [
                    tile("conv_64x160", [64, 160, 128, 3])?,
                    tile("conv_128x160", [128, 160, 128, 3])?,
                ],
            },
            conv128: match hopper {
                true => [
                    tile("hopper_128x128", [128, 128, 256, 5])?,
                    tile("hopper_256x128", [256, 128, 256, 4])?,
                ],
                false => [
                    tile("conv_128x128", [128, 128, 128, 3])?,
                    tile("conv_128x128", [128, 128, 128, 3])?,
                ],
            },
            conv16: tile("conv_128x16", [128, 16, 128, 3])?,
            conv_sum: function("conv_sum", 0)?,
            attention,
            group_sums: function("group_sums", 64 << 10)?,
            group_apply: function("group_apply", 0)?,
            layer_norm: function("layer_norm", 0)?,
            geglu: function("geglu", 0)?,
        };
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

    fn output(&self, count: usize) -> Result<(CudaSlice<f16>, u64)> {
        // SAFETY: every caller's kernel writes all of it.
        let out = unsafe { self.device.alloc::<f16>(count)? };
        let at = out.device_ptr(&self.stream).0;
        Ok((out, at))
    }

    fn finish(&self, out: CudaSlice<f16>, shape: impl Into<Shape>) -> Tensor {
        let storage = CudaStorage::wrap_cuda_slice(out, self.device.clone());
        Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false)
    }

    fn launch<T: DeviceRepr>(
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

    /// `x` `[batch, h, w, channels]`, `weight` `[outputs, channels / 64, taps, 64]`, `bias` f32 `[outputs]`.
    pub(super) fn conv(
        &self,
        x: &Tensor,
        [weight, bias]: [&Tensor; 2],
        window: Window,
        extra: Option<&Tensor>,
        residual: Option<&Tensor>,
    ) -> Result<Tensor> {
        let (batch, height, width, channels) = x.dims4()?;
        let outputs = weight.dim(0)?;
        let [out_height, out_width] = window.to;
        let rows = batch * out_height * out_width;
        let steps = channels / CHANNELS * window.kernel * window.kernel;
        let f = &self.functions;
        let blocks = |t: &Tile| rows.div_ceil(t.rows) * outputs.div_ceil(t.columns);
        // Blocks that run side by side: one a multiprocessor of the large Hopper tiles, else two. (132
        // multiprocessors are assumed.)
        let side_by_side = if f.hopper && outputs >= 64 { 132 } else { 264 };
        let tile = match outputs {
            0..64 => &f.conv16,
            _ => {
                let [small, large] = match outputs % 160 != 0 && outputs % 128 == 0 {
                    true => &f.conv128,
                    false => &f.conv160,
                };
                let is_small = match f.hopper {
                    true => blocks(small) <= side_by_side,
                    false => blocks(large) < 16,
                };
                if is_small { small } else { large }
            }
        };
        let most = (PARTS / (4 * rows * outputs)).max(1);
        let splits = (side_by_side / blocks(tile))
            .clamp(1, 16)
            .min(steps / 4)
            .min(most);
        let splits = if outputs % 4 == 0 { splits.max(1) } else { 1 };
        let (out, y) = self.output(rows * outputs)?;
        let args = ConvArgs {
            x: half(x)?,
            w: half(weight)?,
            y,
            parts: self.parts.device_ptr(&self.stream).0,
            bias: address(bias, DType::F32)?,
            extra: extra.map(half).transpose()?.unwrap_or(0),
            residual: residual.map(half).transpose()?.unwrap_or(0),
            rows: int(rows)?,
            outputs: int(outputs)?,
            channels: int(channels)?,
            height: int(height)?,
            width: int(width)?,
            out_height: int(out_height)?,
            out_width: int(out_width)?,
            kernel: int(window.kernel)?,
            stride: int(window.stride)?,
            before: int(window.before)?,
            twice: i32::from(window.twice),
            splits: int(splits)?,
        };
        let grid = [outputs.div_ceil(tile.columns), rows.div_ceil(tile.rows), splits];
        if grid[1] > 65_535 {
            candle_core::bail!("a convolution of {rows} pixels at once: choose a smaller batch");
        }
        self.launch(&tile.function, grid, tile.threads, tile.memory, &args)?;
        if splits > 1 {
            let grid = [(rows * outputs).div_ceil(1024).min(2048), 1, 1];
            self.launch(&f.conv_sum, grid, 256, 0, &args)?;
        }
        Ok(self.finish(out, (batch, out_height, out_width, outputs)))
    }

    /// `y = x w^T + bias + residual`: `x` `[.., inputs]`, `weight` `[outputs, inputs]`.
    pub(super) fn linear(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
        residual: Option<&Tensor>,
    ) -> Result<Tensor> {
        let (outputs, inputs) = weight.dims2()?;
        let rows = x.elem_count() / inputs;
        let mut dims = x.dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = outputs;
        }
        let (out, y) = self.output(rows * outputs)?;
        self.lt.product(
            [rows, outputs, inputs],
            [half(x)?, half(weight)?, y],
            bias.map(half).transpose()?,
            residual.map(half).transpose()?,
        )?;
        Ok(self.finish(out, dims))
    }

    /// Whether [`Self::attention`] can.
    pub(super) fn attends(&self, width: usize) -> bool {
        self.functions.attention.contains_key(&width)
    }

    /// Attention of `heads` heads, `channels` in all.
    pub(super) fn attention(
        &self,
        q: Side,
        k: Side,
        v: Side,
        channels: usize,
        heads: usize,
    ) -> Result<Tensor> {
        let width = channels / heads;
        let Some(flash) = self.functions.attention.get(&width) else {
            candle_core::bail!("attention heads of {width}");
        };
        let (batch, tokens, q_stride) = q.0.dims3()?;
        let (_, others, kv_stride) = k.0.dims3()?;
        let at = |side: &Side| Ok::<_, candle_core::Error>(half(side.0)? + 2 * side.1 as u64);
        let (out, y) = self.output(batch * tokens * channels)?;
        let args = AttentionArgs {
            q: at(&q)?,
            k: at(&k)?,
            v: at(&v)?,
            out: y,
            tokens: int(tokens)?,
            others: int(others)?,
            q_stride: int(q_stride)?,
            kv_stride: int(kv_stride)?,
            channels: int(channels)?,
            scale: std::f32::consts::LOG2_E / (width as f32).sqrt(),
        };
        let grid = [tokens.div_ceil(flash.queries), heads, batch];
        self.launch(&flash.function, grid, flash.threads, flash.memory, &args)?;
        Ok(self.finish(out, (batch, tokens, channels)))
    }

    /// Group norm of `[batch, .., channels]`; `weight` and `bias` f32.
    pub(super) fn group_norm(
        &self,
        x: &Tensor,
        [weight, bias]: [&Tensor; 2],
        groups: usize,
        epsilon: f64,
        silu: bool,
    ) -> Result<Tensor> {
        let (batch, channels) = (x.dim(0)?, weight.dim(0)?);
        let pixels = x.elem_count() / (batch * channels);
        let columns = channels / 8;
        let mut rows = (512 / columns).max(1);
        while columns * rows % 32 != 0 {
            rows += 1;
        }
        if channels % 8 != 0 || columns * rows > 1024 || groups % 4 != 0 {
            candle_core::bail!("a group norm of {channels} channels in {groups} groups");
        }
        let cut = |blocks: usize| {
            let most = pixels.div_ceil(rows).min(blocks.div_ceil(batch)).max(1);
            let each = pixels.div_ceil(most);
            (pixels.div_ceil(each), each)
        };
        let (chunks, chunk_pixels) = cut(528.min(64 * batch));
        if batch * chunks * groups * 2 > SUMS {
            candle_core::bail!("a group norm of {batch} images at once");
        }
        let (out, y) = self.output(x.elem_count())?;
        let args = GroupArgs {
            x: half(x)?,
            y,
            parts: self.sums.device_ptr(&self.stream).0,
            weight: address(weight, DType::F32)?,
            bias: address(bias, DType::F32)?,
            pixels: int(pixels)?,
            channels: int(channels)?,
            groups: int(groups)?,
            chunks: int(chunks)?,
            chunk_pixels: int(chunk_pixels)?,
            epsilon: epsilon as f32,
            silu: i32::from(silu),
        };
        let f = &self.functions;
        let threads = columns * rows;
        self.launch(
            &f.group_sums,
            [chunks, batch, 1],
            threads,
            2 * rows * channels * 4,
            &args,
        )?;
        let (blocks, chunk_pixels) = cut(1056);
        let args = GroupArgs {
            chunk_pixels: int(chunk_pixels)?,
            ..args
        };
        self.launch(
            &f.group_apply,
            [blocks, batch, 1],
            threads,
            (2 * channels + 2 * groups) * 4,
            &args,
        )?;
        Ok(self.finish(out, x.shape()))
    }

    /// Layer norm of `[.., channels]`; `weight` and `bias` f32.
    pub(super) fn layer_norm(
        &self,
        x: &Tensor,
        [weight, bias]: [&Tensor; 2],
        epsilon: f64,
    ) -> Result<Tensor> {
        let channels = weight.dim(0)?;
        if channels % 8 != 0 || channels > 1280 {
            candle_core::bail!("a layer norm of {channels} channels");
        }
        let rows = x.elem_count() / channels;
        let (out, y) = self.output(x.elem_count())?;
        let config = LaunchConfig {
            grid_dim: (rows.div_ceil(8) as u32, 1, 1),
            block_dim: (256, 1, 1),
            shared_mem_bytes: 0,
        };
        let (x_at, w, b) = (half(x)?, address(weight, DType::F32)?, address(bias, DType::F32)?);
        let (rows, channels, epsilon) = (int(rows)?, int(channels)?, epsilon as f32);
        let mut launch = self.stream.launch_builder(&self.functions.layer_norm);
        launch
            .arg(&x_at)
            .arg(&y)
            .arg(&w)
            .arg(&b)
            .arg(&rows)
            .arg(&channels)
            .arg(&epsilon);
        // SAFETY: the arguments are the kernel's.
        unsafe { launch.launch(config) }.map_err(failed)?;
        Ok(self.finish(out, x.shape()))
    }

    /// `[.., 2n] -> [.., n]`.
    pub(super) fn geglu(&self, x: &Tensor) -> Result<Tensor> {
        let mut dims = x.dims().to_vec();
        let Some(last) = dims.last_mut() else {
            candle_core::bail!("a number has no gate");
        };
        *last /= 2;
        let n = *last;
        if n % 8 != 0 {
            candle_core::bail!("a gate of {n} channels");
        }
        let rows = x.elem_count() / (2 * n);
        let (out, y) = self.output(rows * n)?;
        let config = LaunchConfig {
            grid_dim: ((rows * n).div_ceil(2048).min(2640) as u32, 1, 1),
            block_dim: (256, 1, 1),
            shared_mem_bytes: 0,
        };
        let (x_at, rows, n) = (half(x)?, rows as i64, int(n)?);
        let mut launch = self.stream.launch_builder(&self.functions.geglu);
        launch.arg(&x_at).arg(&y).arg(&rows).arg(&n);
        // SAFETY: the arguments are the kernel's.
        unsafe { launch.launch(config) }.map_err(failed)?;
        Ok(self.finish(out, dims))
    }
}
