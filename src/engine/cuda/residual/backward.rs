//! The backward pass.

use candle_core::cuda::cudarc::cublas::sys::cublasOperation_t as Op;
use candle_core::cuda::cudarc::driver::{LaunchConfig, PushKernelArg};

use super::cudnn::{Direction, bytes};
use super::frame::Place;
use super::pass::Pass;
use super::{MAPPING, SUMMING, failed};
use crate::engine::plan::{Plan, Unit};
use crate::engine::raw::Head;

impl Pass<'_> {
    pub(super) fn run_backward(
        &mut self,
        plan: &Plan,
        head: Head,
        dout: u64,
        grad: u64,
    ) -> candle_core::Result<()> {
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
