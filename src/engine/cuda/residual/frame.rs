//! Where everything lies that a forward pass leaves for the backward pass.

use super::shape::{Shape, bytes};
use crate::engine::options::Precision;
use crate::engine::plan::{Plan, Unit, side};

/// Places of a unit's numbers, in bytes of the arena.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) shape: Shape,
    pub(super) rows: usize,
    pub(super) channels: usize,
    /// The convolution's output; the rectified (and added) norm of it; the norm's four numbers a channel.
    pub(super) y: usize,
    pub(super) z: usize,
    pub(super) norm: usize,
    /// Start of its packed weights, in numbers.
    pub(super) weights: usize,
}

/// Where everything lies that a forward pass leaves for the backward pass.
#[derive(Clone, Debug)]
pub(in crate::engine::cuda) struct Frame {
    pub(super) samples: usize,
    pub(super) size: [usize; 2],
    pub(super) padded: usize,
    pub(super) precision: Precision,
    pub(super) x: usize,
    pub(super) weights: usize,
    pub(super) weights_len: usize,
    /// The stem, then each block's units and its projection.
    pub(super) stem: Place,
    pub(super) blocks: Vec<(Vec<Place>, Option<Place>)>,
    /// The first block's input.
    pub(super) entry: usize,
    pub(super) entry_size: [usize; 2],
    pub(super) chosen: usize,
    pub(super) pooled: usize,
    pub(super) area: usize,
    pub(in crate::engine::cuda) total: usize,
}

impl Frame {
    pub(in crate::engine::cuda) fn new(
        plan: &Plan,
        samples: usize,
        size: [usize; 2],
        precision: Precision,
    ) -> Self {
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
    pub(super) fn largest(&self) -> [usize; 2] {
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
