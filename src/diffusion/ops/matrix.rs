//! Matrix products over packed weights, and the linear layer. Work is cut into blocks of rows; where a block begins does
//! not change a bit.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::{Backend, View, cuda, on_cpu, on_cpu2};
use crate::diffusion::error;
use crate::diffusion::weights::Scope;
use crate::simd::{LANES, Packed, ROWS, accumulate};
use half::f16;

/// Depth worked on at once, so that a panel's part stays in the first-level cache.
const DEPTH_BLOCK: usize = 640;
/// Most rows of a task.
const ROW_BLOCK: usize = 8 * ROWS;

/// Where the left rows of a product are.
pub(crate) trait Rows<'a>: Sync {
    /// Calls `set` once for each tap in order with that tap's slice of a row.
    fn taps(&self, row: usize, set: impl FnMut(&'a [f32]));
}

/// One product: `out[r, n] = bias[n] + sum over taps and depth + residual[r, n]`.
pub(crate) struct Product<'a> {
    pub(crate) taps: usize,
    pub(crate) depth: usize,
    pub(crate) packed: &'a Packed,
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) residual: Option<&'a [f32]>,
}

impl Product<'_> {
    /// Fills `out` (rows of the packed matrix's width), in parallel over blocks of rows.
    pub(crate) fn run<'r>(&self, rows: &impl Rows<'r>, out: &mut [f32]) {
        let columns = self.packed.columns();
        let count = out.len() / columns;
        let share = count.div_ceil(2 * rayon::current_num_threads());
        let block = (share.div_ceil(ROWS) * ROWS).clamp(ROWS, ROW_BLOCK);
        if count <= block {
            return self.block(rows, 0, out);
        }
        out.par_chunks_mut(block * columns)
            .enumerate()
            .for_each(|(i, out)| self.block(rows, i * block, out));
    }

    /// The rows from `first` on, as many as `out` holds.
    pub(crate) fn block<'r>(&self, rows: &impl Rows<'r>, first: usize, out: &mut [f32]) {
        let columns = self.packed.columns();
        let count = out.len() / columns;
        let tiles = count.div_ceil(ROWS);
        let mut pointers: Vec<[&[f32]; ROWS]> = vec![[&[]; ROWS]; tiles * self.taps];
        for row in 0..tiles * ROWS {
            let mut tap = row / ROWS * self.taps;
            // The last tile is filled up with copies of the last row, whose sums are thrown away.
            rows.taps(first + row.min(count - 1), |slice| {
                pointers[tap][row % ROWS] = slice;
                tap += 1;
            });
        }
        let taps_at_once = (DEPTH_BLOCK / self.depth).clamp(1, self.taps);
        for panel in 0..self.packed.panels() {
            let column = panel * LANES;
            let width = LANES.min(columns - column);
            for tap in (0..self.taps).step_by(taps_at_once) {
                let taps = taps_at_once.min(self.taps - tap);
                for start in (0..self.depth).step_by(DEPTH_BLOCK) {
                    let depth = DEPTH_BLOCK.min(self.depth - start);
                    // Either `taps` is 1, or `depth` is the whole depth: the lanes are consecutive.
                    let lanes = self.packed.rows(panel, tap * self.depth + start, taps * depth);
                    let begins = tap == 0 && start == 0;
                    let ends = tap + taps == self.taps && start + depth == self.depth;
                    for tile in 0..tiles {
                        let from = tile * self.taps + tap;
                        let mut sums = [[0.0; LANES]; ROWS];
                        let here = (tile * ROWS..count.min((tile + 1) * ROWS)).map(|r| r * columns + column);
                        if !begins {
                            for (at, sum) in here.clone().zip(&mut sums) {
                                sum[..width].copy_from_slice(&out[at..at + width]);
                            }
                        } else if let Some(bias) = self.bias {
                            for sum in &mut sums {
                                sum[..width].copy_from_slice(&bias[column..column + width]);
                            }
                        }
                        accumulate(
                            &pointers[from..from + taps],
                            start..start + depth,
                            lanes,
                            &mut sums,
                        );
                        for (at, sum) in here.zip(&sums) {
                            let out = &mut out[at..at + width];
                            match self.residual {
                                Some(residual) if ends => {
                                    let at = at + first * columns;
                                    for ((o, s), r) in out.iter_mut().zip(sum).zip(&residual[at..at + width])
                                    {
                                        *o = s + r;
                                    }
                                }
                                _ => out.copy_from_slice(&sum[..width]),
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What is added to a layer's result.
#[derive(Clone, Copy)]
pub(crate) enum Plus<'a> {
    /// Nothing.
    Nothing,
    /// One number a channel, `[channels]`.
    Channels(&'a Tensor),
    /// A tensor of the result's shape.
    Residual(&'a Tensor),
}

enum Weight {
    Packed {
        weight: Packed,
        bias: Option<Vec<f32>>,
    },
    Plain {
        weight: Tensor,
        bias: Option<Tensor>,
    },
    /// f16 `[outputs, inputs]`, both multiples of 8.
    Half {
        weight: Tensor,
        bias: Option<Tensor>,
    },
}

/// Runs a packed layer: `rows` makes the left side from the input; `dims` is the shape of the output.
pub(super) fn run_packed<F>(
    x: &Tensor,
    name: &'static str,
    plus: Plus,
    dims: &[usize],
    run: F,
) -> Result<Tensor>
where
    F: Fn(View, Option<&[f32]>, Option<&[f32]>, &mut [f32]),
{
    let size = dims.iter().product();
    match plus {
        Plus::Nothing => on_cpu(x, name, |x| {
            let mut out = vec![0.0; size];
            run(x, None, None, &mut out);
            Ok((out, dims.into()))
        }),
        Plus::Channels(c) => on_cpu2(x, c, name, |x, c| {
            let mut out = vec![0.0; size];
            run(x, Some(c.data), None, &mut out);
            Ok((out, dims.into()))
        }),
        Plus::Residual(r) if r.dims() != dims => {
            candle_core::bail!("residual {:?} against {dims:?}", r.dims())
        }
        Plus::Residual(r) => on_cpu2(x, r, name, |x, r| {
            let mut out = vec![0.0; size];
            run(x, None, Some(r.data), &mut out);
            Ok((out, dims.into()))
        }),
    }
}

pub(super) fn add_bias(bias: Option<&Vec<f32>>, channels: Option<&[f32]>) -> Option<Vec<f32>> {
    match (bias, channels) {
        (Some(b), Some(c)) => Some(b.iter().zip(c).map(|(b, c)| b + c).collect()),
        (Some(b), None) => Some(b.clone()),
        (None, c) => c.map(<[f32]>::to_vec),
    }
}

pub(super) fn add_plain(y: Tensor, bias: Option<&Tensor>, plus: Plus) -> Result<Tensor> {
    let y = match bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    };
    match plus {
        Plus::Nothing => Ok(y),
        Plus::Channels(c) => y.broadcast_add(c),
        Plus::Residual(r) => y + r,
    }
}

/// `y = x W^T + b` over the last dimension.
pub(crate) struct Linear {
    inputs: usize,
    outputs: usize,
    weight: Weight,
}

struct Dense<'a> {
    data: &'a [f32],
    depth: usize,
}

impl<'a> Rows<'a> for Dense<'a> {
    fn taps(&self, row: usize, mut set: impl FnMut(&'a [f32])) {
        set(&self.data[row * self.depth..][..self.depth]);
    }
}

impl Linear {
    /// Reads `weight` `[outputs, inputs]` (or a 1x1 convolution's `[outputs, inputs, 1, 1]`) and, if asked, `bias`.
    pub(crate) fn load(scope: &Scope, inputs: usize, outputs: usize, bias: bool) -> error::Result<Self> {
        Self::load_stacked(std::slice::from_ref(scope), inputs, outputs, bias)
    }

    /// Reads several layers of the same input and puts their outputs side by side: `[each][outputs]`.
    pub(crate) fn load_stacked(
        scopes: &[Scope],
        inputs: usize,
        outputs: usize,
        bias: bool,
    ) -> error::Result<Self> {
        let Some(first) = scopes.first() else {
            return Err(candle_core::Error::Msg("a stack of no layers".into()).into());
        };
        let (two, four) = ([outputs, inputs], [outputs, inputs, 1, 1]);
        for scope in scopes {
            scope.expect("weight", &[&two, &four])?;
        }
        let mut scratch = first.scratch();
        let weights = scratch.numbers(scopes.len() * outputs * inputs);
        let mut biases = Vec::new();
        for (scope, weights) in scopes.iter().zip(weights.chunks_exact_mut(outputs * inputs)) {
            scope.read("weight", &[&two, &four], weights)?;
            if bias {
                biases.extend(scope.tensor("bias", &[outputs])?);
            }
        }
        let outputs = outputs * scopes.len();
        let weights = &*weights;
        let weight = match first.backend() {
            Backend {
                device, half: true, ..
            } => {
                let weights: Vec<f16> = weights.par_iter().map(|w| f16::from_f32(*w)).collect();
                let biases: Vec<f16> = biases.iter().map(|b| f16::from_f32(*b)).collect();
                let weight = Tensor::from_vec(weights, (outputs, inputs), device)?;
                let bias = bias
                    .then(|| Tensor::from_vec(biases, outputs, device))
                    .transpose()?;
                match inputs % 8 == 0 && outputs % 8 == 0 {
                    true => Weight::Half { weight, bias },
                    false => Weight::Plain {
                        weight: weight.t()?.contiguous()?,
                        bias,
                    },
                }
            }
            Backend {
                device, fused: false, ..
            } => Weight::Plain {
                weight: Tensor::from_slice(weights, (outputs, inputs), device)?
                    .t()?
                    .contiguous()?,
                bias: bias
                    .then(|| Tensor::from_vec(biases, outputs, device))
                    .transpose()?,
            },
            _ => Weight::Packed {
                weight: Packed::from_columns(inputs, outputs, |n| &weights[n * inputs..][..inputs]),
                bias: bias.then_some(biases),
            },
        };
        Ok(Self {
            inputs,
            outputs,
            weight,
        })
    }

    /// Applies the layer to `[.., inputs]`.
    pub(crate) fn forward(&self, x: &Tensor, plus: Plus) -> Result<Tensor> {
        let mut dims = x.dims().to_vec();
        match dims.last_mut() {
            Some(last) if *last == self.inputs => *last = self.outputs,
            _ => candle_core::bail!(
                "a linear layer of {} inputs cannot take {:?}",
                self.inputs,
                x.dims()
            ),
        }
        match &self.weight {
            Weight::Half { weight, bias } => {
                let x = x.contiguous()?;
                let gpu = cuda::gpu(x.device())?;
                match plus {
                    Plus::Nothing => gpu.linear(&x, weight, bias.as_ref(), None),
                    Plus::Residual(r) => gpu.linear(&x, weight, bias.as_ref(), Some(r)),
                    Plus::Channels(c) => gpu.linear(&x, weight, bias.as_ref(), None)?.broadcast_add(c),
                }
            }
            Weight::Plain { weight, bias } => {
                let y = x
                    .contiguous()?
                    .flatten_to(x.rank() - 2)?
                    .matmul(weight)?
                    .reshape(dims)?;
                add_plain(y, bias.as_ref(), plus)
            }
            Weight::Packed { weight, bias } => {
                run_packed(x, "linear", plus, &dims, |x, channels, residual, out| {
                    let bias = add_bias(bias.as_ref(), channels);
                    let product = Product {
                        taps: 1,
                        depth: self.inputs,
                        packed: weight,
                        bias: bias.as_deref(),
                        residual,
                    };
                    product.run(
                        &Dense {
                            data: x.data,
                            depth: self.inputs,
                        },
                        out,
                    );
                })
            }
        }
    }
}
