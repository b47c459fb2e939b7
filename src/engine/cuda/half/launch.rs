//! A function for each layer. A call costs the host one allocation and one or two launches: no parameters are
//! uploaded.

use candle_core::{DType, Result, Tensor, bail};

use super::kernels::{self, CHANNELS, NARROW, Tile};
use super::machine::{Machine, PARTS, SUMS};
use crate::engine::cuda::launch::{AttentionArgs, ConvArgs, GroupArgs, Launch};
use crate::engine::raw::Stride;

/// What a convolution does, in the kernel's terms.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) kernel: usize,
    stride: usize,
    /// Zeros above and on the left.
    before: usize,
    /// Whether each pixel counts as two by two.
    twice: bool,
    /// Height and width of the result.
    to: [usize; 2],
}

impl Window {
    pub(super) fn new(kernel: usize, stride: Stride, to: [usize; 2]) -> Self {
        let (pixels, before) = match stride {
            Stride::Same | Stride::Double => (1, kernel / 2),
            Stride::Half => (2, kernel / 2),
            Stride::HalfAfter => (2, 0),
        };
        Self {
            kernel,
            stride: pixels,
            before,
            twice: stride == Stride::Double,
            to,
        }
    }
}

/// Queries, keys and values: tensors, first column, and columns of a token.
pub(super) struct Side<'a>(pub(super) &'a Tensor, pub(super) usize);

fn int(n: usize) -> Result<i32> {
    i32::try_from(n).map_err(candle_core::Error::wrap)
}

/// The tile for so many pixels and outputs, and in how many parts the sum over so many steps is made.
fn divide(hopper: bool, shared: usize, [rows, outputs, steps]: [usize; 3]) -> (Tile, usize) {
    let blocks = |t: &Tile| rows.div_ceil(t.rows) * outputs.div_ceil(t.columns);
    // Blocks that run side by side: one a multiprocessor of the large Hopper tiles, else two. (132
    // multiprocessors are assumed.)
    let side_by_side = if hopper && outputs >= 64 { 132 } else { 264 };
    let tile = match outputs {
        0..64 => NARROW,
        _ => {
            let [small, large] = kernels::tiles(hopper, shared, outputs);
            let is_small = match hopper {
                true => blocks(&small) <= side_by_side,
                false => blocks(&large) < 16,
            };
            if is_small { small } else { large }
        }
    };
    let most = (PARTS / (4 * rows * outputs)).max(1);
    let splits = (side_by_side / blocks(&tile))
        .clamp(1, 16)
        .min(steps / 4)
        .min(most);
    (tile, if outputs % 4 == 0 { splits.max(1) } else { 1 })
}

impl dyn Machine {
    fn half(&self, x: &Tensor) -> Result<u64> {
        self.address(x, DType::F16)
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
        let (tile, splits) = divide(self.hopper(), self.shared(), [rows, outputs, steps]);
        let args = ConvArgs {
            x: self.half(x)?,
            w: self.half(weight)?,
            y: 0,
            parts: self.parts(),
            bias: self.address(bias, DType::F32)?,
            extra: extra.map(|x| self.half(x)).transpose()?.unwrap_or(0),
            residual: residual.map(|x| self.half(x)).transpose()?.unwrap_or(0),
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
        let multiply = Launch {
            kernel: tile.kernel,
            grid: [outputs.div_ceil(tile.columns), rows.div_ceil(tile.rows), splits],
            block: [tile.threads, 1, 1],
            memory: tile.memory(),
        };
        if multiply.grid[1] > 65_535 {
            bail!("a convolution of {rows} pixels at once: choose a smaller batch");
        }
        let add = Launch {
            kernel: "conv_sum",
            grid: [(rows * outputs).div_ceil(1024).min(2048), 1, 1],
            block: [256, 1, 1],
            memory: 0,
        };
        self.output((batch, out_height, out_width, outputs).into(), &|y| {
            let args = ConvArgs { y, ..args };
            self.launch(&multiply, &[args.into()])?;
            match splits {
                1 => Ok(()),
                _ => self.launch(&add, &[args.into()]),
            }
        })
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
        let [x, weight] = [self.half(x)?, self.half(weight)?];
        let bias = bias.map(|x| self.half(x)).transpose()?;
        let residual = residual.map(|x| self.half(x)).transpose()?;
        self.output(dims.into(), &|y| {
            self.product([rows, outputs, inputs], [x, weight, y], bias, residual)
        })
    }

    /// Whether [`Self::attention`] can.
    pub(super) fn attends(&self, width: usize) -> bool {
        kernels::attention(self.hopper(), self.shared(), width).is_some()
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
        let Some(flash) = kernels::attention(self.hopper(), self.shared(), width) else {
            bail!("attention heads of {width}");
        };
        let (batch, tokens, q_stride) = q.0.dims3()?;
        let (_, others, kv_stride) = k.0.dims3()?;
        let at = |side: &Side| Ok::<_, candle_core::Error>(self.half(side.0)? + 2 * side.1 as u64);
        let args = AttentionArgs {
            q: at(&q)?,
            k: at(&k)?,
            v: at(&v)?,
            out: 0,
            tokens: int(tokens)?,
            others: int(others)?,
            q_stride: int(q_stride)?,
            kv_stride: int(kv_stride)?,
            channels: int(channels)?,
            scale: std::f32::consts::LOG2_E / (width as f32).sqrt(),
        };
        let launch = Launch {
            kernel: flash.kernel,
            grid: [tokens.div_ceil(flash.queries), heads, batch],
            block: [flash.threads, 1, 1],
            memory: flash.memory(),
        };
        self.output((batch, tokens, channels).into(), &|out| {
            self.launch(&launch, &[AttentionArgs { out, ..args }.into()])
        })
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
        let Some((threads, rows)) = kernels::group_norm(channels) else {
            bail!("a group norm of {channels} channels");
        };
        let cut = |blocks: usize| {
            let most = pixels.div_ceil(rows).min(blocks.div_ceil(batch)).max(1);
            let each = pixels.div_ceil(most);
            (pixels.div_ceil(each), each)
        };
        let (chunks, chunk_pixels) = cut(528.min(64 * batch));
        if batch * chunks * groups * 2 > SUMS {
            bail!("a group norm of {batch} images at once");
        }
        let args = GroupArgs {
            x: self.half(x)?,
            y: 0,
            parts: self.sums(),
            weight: self.address(weight, DType::F32)?,
            bias: self.address(bias, DType::F32)?,
            pixels: int(pixels)?,
            channels: int(channels)?,
            groups: int(groups)?,
            chunks: int(chunks)?,
            chunk_pixels: int(chunk_pixels)?,
            epsilon: epsilon as f32,
            silu: i32::from(silu),
        };
        let sum = Launch {
            kernel: "group_sums",
            grid: [chunks, batch, 1],
            block: [threads, 1, 1],
            memory: 2 * rows * channels * 4,
        };
        let (blocks, chunk_pixels) = cut(1056);
        let apply = Launch {
            kernel: "group_apply",
            grid: [blocks, batch, 1],
            memory: (2 * channels + 2 * groups) * 4,
            ..sum
        };
        let chunk_pixels = int(chunk_pixels)?;
        self.output(x.shape().clone(), &|y| {
            self.launch(&sum, &[GroupArgs { y, ..args }.into()])?;
            self.launch(
                &apply,
                &[GroupArgs {
                    y,
                    chunk_pixels,
                    ..args
                }
                .into()],
            )
        })
    }

    /// Layer norm of `[.., channels]`; `weight` and `bias` f32.
    pub(super) fn layer_norm(
        &self,
        x: &Tensor,
        [weight, bias]: [&Tensor; 2],
        epsilon: f64,
    ) -> Result<Tensor> {
        let channels = weight.dim(0)?;
        if !kernels::layer_norm(channels) {
            bail!("a layer norm of {channels} channels");
        }
        let rows = x.elem_count() / channels;
        let launch = Launch {
            kernel: "layer_norm",
            grid: [rows.div_ceil(8), 1, 1],
            block: [256, 1, 1],
            memory: 0,
        };
        let [weight, bias] = [self.address(weight, DType::F32)?, self.address(bias, DType::F32)?];
        let (from, rows, channels) = (self.half(x)?, int(rows)?, int(channels)?);
        self.output(x.shape().clone(), &|y| {
            let args = [
                from.into(),
                y.into(),
                weight.into(),
                bias.into(),
                rows.into(),
                channels.into(),
                (epsilon as f32).into(),
            ];
            self.launch(&launch, &args)
        })
    }

    /// `[.., 2n] -> [.., n]`.
    pub(super) fn geglu(&self, x: &Tensor) -> Result<Tensor> {
        let mut dims = x.dims().to_vec();
        let Some(last) = dims.last_mut() else {
            bail!("a number has no gate");
        };
        *last /= 2;
        let n = *last;
        if n % 8 != 0 {
            bail!("a gate of {n} channels");
        }
        let rows = x.elem_count() / (2 * n);
        let launch = Launch {
            kernel: "geglu",
            grid: [(rows * n).div_ceil(2048).min(2640), 1, 1],
            block: [256, 1, 1],
            memory: 0,
        };
        let (from, rows, n) = (self.half(x)?, rows as i64, int(n)?);
        self.output(dims.into(), &|y| {
            self.launch(&launch, &[from.into(), y.into(), rows.into(), n.into()])
        })
    }
}
