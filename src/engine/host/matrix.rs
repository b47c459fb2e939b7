//! Matrix products over packed weights, and the linear layer. Work is cut into blocks of rows; where a block
//! begins does not change a bit.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::op::{View, on_cpu, on_cpu2};
use crate::engine::layers::Weighted;
use crate::engine::raw::{Plus, RawLinear};
use crate::engine::simd::{LANES, Packed, ROWS, accumulate};

/// Depth worked on at once, so that a panel's part stays in the first-level cache.
const DEPTH_BLOCK: usize = 640;
/// Most rows of a task.
const ROW_BLOCK: usize = 8 * ROWS;

/// Where the left rows of a product are.
pub(super) trait Rows<'a>: Sync {
    /// Calls `set` once for each tap in order with that tap's slice of a row.
    fn taps(&self, row: usize, set: impl FnMut(&'a [f32]));
}

/// One product: `out[r, n] = bias[n] + sum over taps and depth + residual[r, n]`.
pub(super) struct Product<'a> {
    pub(super) taps: usize,
    pub(super) depth: usize,
    pub(super) packed: &'a Packed,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) residual: Option<&'a [f32]>,
}

impl Product<'_> {
    /// Fills `out` (rows of the packed matrix's width), in parallel over blocks of rows.
    pub(super) fn run<'r>(&self, rows: &impl Rows<'r>, out: &mut [f32]) {
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
    pub(super) fn block<'r>(&self, rows: &impl Rows<'r>, first: usize, out: &mut [f32]) {
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
        Plus::Residual(r) => on_cpu2(x, r, name, |x, r| {
            let mut out = vec![0.0; size];
            run(x, None, Some(r.data), &mut out);
            Ok((out, dims.into()))
        }),
    }
}

pub(super) fn add_bias(bias: Option<&[f32]>, channels: Option<&[f32]>) -> Option<Vec<f32>> {
    match (bias, channels) {
        (Some(b), Some(c)) => Some(b.iter().zip(c).map(|(b, c)| b + c).collect()),
        (Some(b), None) => Some(b.to_vec()),
        (None, c) => c.map(<[f32]>::to_vec),
    }
}

/// A linear layer over a packed matrix.
pub(super) struct Linear {
    inputs: usize,
    weight: Packed,
    bias: Option<Vec<f32>>,
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
    pub(super) fn new(raw: &RawLinear) -> Self {
        let inputs = raw.inputs;
        Self {
            inputs,
            weight: Packed::from_columns(inputs, raw.outputs, |n| &raw.weight[n * inputs..][..inputs]),
            bias: raw.bias.map(<[f32]>::to_vec),
        }
    }
}

impl Weighted for Linear {
    fn forward(&self, x: &Tensor, plus: Plus, dims: &[usize]) -> Result<Tensor> {
        run_packed(x, "linear", plus, dims, |x, channels, residual, out| {
            let bias = add_bias(self.bias.as_deref(), channels);
            let product = Product {
                taps: 1,
                depth: self.inputs,
                packed: &self.weight,
                bias: bias.as_deref(),
                residual,
            };
            let rows = Dense {
                data: x.data,
                depth: self.inputs,
            };
            product.run(&rows, out);
        })
    }
}
