//! A function for each layer. A call costs the host one allocation and one or two launches: no parameters are
//! uploaded.

use candle_core::cuda::cudarc::driver::{DevicePtr, DeviceRepr, LaunchConfig, PushKernelArg};
use candle_core::{DType, Result, Tensor};

use super::functions::Tile;
use super::gpu::{CHANNELS, Gpu, PARTS, SUMS, address, half, int};
use crate::engine::cuda::failed;

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

impl Gpu {
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
