//! The backward pass.

use super::frame::Place;
use super::machine::Matrix;
use super::pass::{Pass, Rows};
use super::shape::{Direction, bytes};
use crate::engine::cuda::launch::Launch;
use crate::engine::plan::{Block, Plan, Unit};
use crate::engine::raw::Head;

/// Where a backward pass keeps what it works with: addresses in the scratch memory, and of the gradient.
struct Desk {
    /// Sums over chunks of rows.
    part: u64,
    /// A norm's three numbers per channel; `shortcut` those of a projection.
    coefficients: u64,
    shortcut: u64,
    /// The gradient of the pooled vectors.
    dpooled: u64,
    /// Gradients of the packed weights, and the bytes of one number.
    dweights: u64,
    bytes: usize,
    /// Four number fields. Between blocks `s` + `p` is the gradient of the last block's input.
    p: u64,
    q: u64,
    r: u64,
    s: u64,
    /// The gradient of the flat variables: what the pass is for.
    grad: u64,
}

impl Desk {
    /// The gradient of a unit's packed weights.
    fn dweight(&self, place: &Place) -> u64 {
        self.dweights + (place.weights * self.bytes) as u64
    }
}

/// What the sums of a unit are joined to.
struct Joined {
    /// Chunks that were summed apart.
    chunks: usize,
    /// Sums a channel, and which of them belongs to the norm beside the first.
    sums: i32,
    which: i32,
    /// The norm's numbers, and where its coefficients go.
    norm: u64,
    coefficients: u64,
}

impl Pass<'_> {
    pub(in crate::engine::cuda) fn run_backward(
        &mut self,
        plan: &Plan,
        head: Head,
        dout: u64,
        grad: u64,
    ) -> candle_core::Result<()> {
        let mut desk = self.desk(plan, grad)?;
        match head {
            Head::Features => desk.dpooled = dout,
            Head::Logits => self.head_gradient(plan, dout, &desk)?,
        }
        for index in (0..plan.blocks.len()).rev() {
            self.block_gradient(&plan.blocks[index], index, &mut desk)?;
        }
        self.stem_gradient(plan, &desk)?;
        let segments = self.segments(plan)?;
        let (count, dweights) = (plan.units().count(), desk.dweights);
        launch!(self, self.kernels.unpack_gradients, [64, count, 1], [256, 1, 1];
            grad, dweights, segments);
        Ok(())
    }

    /// Divides the scratch memory.
    fn desk(&mut self, plan: &Plan, grad: u64) -> candle_core::Result<Desk> {
        let frame = self.frame;
        let bytes = bytes(frame.precision);
        let [large, stem_len] = frame.largest();
        let units = frame
            .blocks
            .iter()
            .flat_map(|(units, projection)| units.iter().chain(projection));
        let units = std::iter::once(&frame.stem).chain(units);
        let part_len = units
            .map(|p| self.summing(p.rows, p.channels).chunks * 3 * p.channels * 4)
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
        let round = |len: usize| len.div_ceil(256) * 256;
        let mut at = self.machine.scratch(lens.iter().map(|len| round(*len)).sum())?;
        let [part, coefficients, shortcut, dpooled, dweights, p, q, r, s] = lens.map(|len| {
            let this = at;
            at += round(len) as u64;
            this
        });
        Ok(Desk {
            part,
            coefficients,
            shortcut,
            dpooled,
            dweights,
            bytes,
            p,
            q,
            r,
            s,
            grad,
        })
    }

    /// The gradients of the last linear layer, and of the pooled vectors that it reads.
    fn head_gradient(&self, plan: &Plan, dout: u64, desk: &Desk) -> candle_core::Result<()> {
        let (n, f, o) = (self.frame.samples, plan.features, plan.outputs);
        let pooled = self.arena + self.frame.pooled as u64;
        let at = |at: usize| desk.grad + 4 * at as u64;
        let matrix = |at, rows, turned| Matrix { at, rows, turned };
        self.machine.multiply(
            [f, o, n],
            [matrix(pooled, f, false), matrix(dout, o, true)],
            0.0,
            at(plan.fc_weight),
        )?;
        launch!(self, self.kernels.bias_gradient, [o.div_ceil(64), 1, 1], [64, 1, 1];
            dout, at(plan.fc_bias), n as i32, o as i32);
        self.machine.multiply(
            [f, n, o],
            [
                matrix(self.flat(plan.fc_weight), f, false),
                matrix(dout, o, false),
            ],
            0.0,
            desk.dpooled,
        )
    }

    /// From the gradient of a block's output (`s` + `p`, or of the mean of the last one's) to that of its
    /// input (`s` + `p` again).
    fn block_gradient(&mut self, block: &Block, index: usize, desk: &mut Desk) -> candle_core::Result<()> {
        let frame = self.frame;
        let (places, projection) = &frame.blocks[index];
        let input = match index.checked_sub(1).and_then(|i| frame.blocks[i].0.last()) {
            Some(place) => self.of(place)[1],
            None => self.arena + frame.entry as u64,
        };
        self.output_gradient(block, index, desk)?;
        // The last unit: p -> q (gradient of its convolution's output) -> r (of its input).
        let last = places.len() - 1;
        let before = |pass: &Self, i: usize| match i {
            0 => input,
            _ => pass.of(&places[i - 1])[1],
        };
        let place = places[last];
        self.norm_gradient(&place, desk.p, desk.coefficients, desk.q, false)?;
        let x = before(self, last);
        self.convolve(&place, Direction::Weight, [x, desk.dweight(&place), desk.q])?;
        let weights = self.weights(&place);
        self.convolve(&place, Direction::Input, [desk.r, weights, desk.q])?;
        for i in (0..last).rev() {
            let x = before(self, i);
            self.unit_gradient(&block.units[i], &places[i], x, desk)?;
        }
        // The input's gradient is in r now; the next block takes s and p.
        std::mem::swap(&mut desk.r, &mut desk.s);
        if let Some(place) = projection {
            self.norm_gradient(place, desk.p, desk.shortcut, desk.q, false)?;
            self.convolve(place, Direction::Weight, [input, desk.dweight(place), desk.q])?;
            let weights = self.weights(place);
            self.convolve(place, Direction::Input, [desk.p, weights, desk.q])?;
        }
        Ok(())
    }

    /// The gradient of a block's output, masked, into `p`, and the coefficients of the norms before it.
    fn output_gradient(&self, block: &Block, index: usize, desk: &Desk) -> candle_core::Result<()> {
        let k = self.kernels;
        let (places, projection) = &self.frame.blocks[index];
        let last = places.len() - 1;
        let place = places[last];
        let [y, z, norm] = self.of(&place);
        let Rows {
            grid,
            block: threads,
            per,
            chunks,
        } = self.summing(place.rows, place.channels);
        let (rows, c) = (place.rows as i64, place.channels as i32);
        let projected = projection.as_ref().map(|place| self.of(place));
        let [h, w] = place.shape.out().map(|side| side as i32);
        let &Desk {
            part, dpooled, p, s, ..
        } = desk;
        match (index + 1 == self.frame.blocks.len(), projected) {
            (true, None) => {
                launch!(self, k.sums_top, grid, threads; dpooled, h, w, z, y, norm, p, part, rows, c, per)
            }
            (true, Some([y2, _, norm2])) => {
                launch!(self, k.sums_top_two, grid, threads;
                    dpooled, h, w, z, y, norm, y2, norm2, p, part, rows, c, per);
            }
            (false, None) => {
                launch!(self, k.sums_block, grid, threads; s, p, z, y, norm, p, part, rows, c, per)
            }
            (false, Some([y2, _, norm2])) => {
                launch!(self, k.sums_block_two, grid, threads;
                    s, p, z, y, norm, y2, norm2, p, part, rows, c, per);
            }
        }
        let joined = Joined {
            chunks,
            sums: if projected.is_some() { 3 } else { 2 },
            which: 1,
            norm,
            coefficients: desk.coefficients,
        };
        self.join(&block.units[last], &place, desk, &joined)?;
        if let Some(([_, _, norm2], unit)) = projected.zip(block.projection.as_ref()) {
            let joined = Joined {
                which: 2,
                norm: norm2,
                coefficients: desk.shortcut,
                ..joined
            };
            self.join(unit, &place, desk, &joined)?;
        }
        Ok(())
    }

    /// A unit that is not its block's last: from the gradient of its output in `r` to that of its input `x`,
    /// which is in `r` in the end too.
    fn unit_gradient(
        &mut self,
        unit: &Unit,
        place: &Place,
        x: u64,
        desk: &mut Desk,
    ) -> candle_core::Result<()> {
        let [y, _, norm] = self.of(place);
        let Rows {
            grid,
            block,
            per,
            chunks,
        } = self.summing(place.rows, place.channels);
        let (part, r) = (desk.part, desk.r);
        launch!(self, self.kernels.sums_inner, grid, block;
            r, y, norm, part, place.rows as i64, place.channels as i32, per);
        let joined = Joined {
            chunks,
            sums: 2,
            which: 1,
            norm,
            coefficients: desk.coefficients,
        };
        self.join(unit, place, desk, &joined)?;
        self.norm_gradient(place, r, desk.coefficients, r, true)?;
        self.convolve(place, Direction::Weight, [x, desk.dweight(place), r])?;
        let weights = self.weights(place);
        self.convolve(place, Direction::Input, [desk.s, weights, r])?;
        std::mem::swap(&mut desk.r, &mut desk.s);
        Ok(())
    }

    /// The stem: `s` + `p`, through the pooling or not.
    fn stem_gradient(&mut self, plan: &Plan, desk: &Desk) -> candle_core::Result<()> {
        let (k, frame) = (self.kernels, self.frame);
        let stem = frame.stem;
        let [y, z, norm] = self.of(&stem);
        let Rows {
            grid,
            block,
            per,
            chunks,
        } = self.summing(stem.rows, stem.channels);
        let (rows, c) = (stem.rows as i64, stem.channels as i32);
        let &Desk { part, p, q, s, .. } = desk;
        if plan.pool {
            let [h, w] = stem.shape.out();
            let [oh, ow] = frame.entry_size;
            let chosen = self.arena + frame.chosen as u64;
            launch!(self, k.sums_pool, grid, block;
                s, p, chosen, h as i32, w as i32, oh as i32, ow as i32, y, norm, q, part, rows, c, per);
        } else {
            launch!(self, k.sums_block, grid, block; s, p, z, y, norm, q, part, rows, c, per);
        }
        let joined = Joined {
            chunks,
            sums: 2,
            which: 1,
            norm,
            coefficients: desk.coefficients,
        };
        self.join(&plan.stem, &stem, desk, &joined)?;
        self.norm_gradient(&stem, q, desk.coefficients, q, false)?;
        let x = self.arena + frame.x as u64;
        self.convolve(&stem, Direction::Weight, [x, desk.dweight(&stem), q])
    }

    fn join(&self, unit: &Unit, place: &Place, desk: &Desk, joined: &Joined) -> candle_core::Result<()> {
        let c = place.channels;
        let &Desk { part, grad, .. } = desk;
        let &Joined {
            chunks,
            sums,
            which,
            norm,
            coefficients,
        } = joined;
        launch!(self, self.kernels.gradient_join, [c.div_ceil(32), 1, 1], [32, 32, 1];
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
        let Rows { grid, block, per, .. } = self.mapping(place.rows, place.channels);
        let kernel = if masked {
            self.kernels.norm_gradient_masked
        } else {
            self.kernels.norm_gradient
        };
        launch!(self, kernel, grid, block;
            dz, y, norm, coefficients, dy, place.rows as i64, place.channels as i32, per);
        Ok(())
    }
}
