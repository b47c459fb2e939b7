//! The forward pass.

use super::frame::Place;
use super::machine::Matrix;
use super::pass::{Pass, Rows};
use super::shape::{Direction, bytes};
use crate::engine::cuda::launch::Launch;
use crate::engine::plan::{Block, EPSILON, MOMENTUM, Plan, Unit};
use crate::engine::raw::Head;

impl Pass<'_> {
    /// A convolution, and the norm after it made ready.
    fn unit(&mut self, unit: &Unit, place: &Place, x: u64, train: bool) -> candle_core::Result<()> {
        let [y, _, norm] = self.of(place);
        let weights = self.weights(place);
        self.convolve(place, Direction::Forward, [x, weights, y])?;
        let (c, k) = (place.channels, self.kernels);
        let (gamma, beta) = (self.flat(unit.gamma), self.flat(unit.beta));
        let [mean, var] = [unit.mean, unit.var].map(|at| self.buffers + 4 * at as u64);
        if !train {
            launch!(self, k.norm_of_running, [c.div_ceil(128), 1, 1], [128, 1, 1];
                c as i32, gamma, beta, mean, var, norm, EPSILON);
            return Ok(());
        }
        let Rows {
            grid,
            block,
            per,
            chunks,
        } = self.summing(place.rows, c);
        let part = self.machine.scratch(chunks * 2 * c * 4)?;
        launch!(self, k.moments, grid, block; y, part, place.rows as i64, c as i32, per);
        launch!(self, k.moments_join, [c.div_ceil(32), 1, 1], [32, 32, 1];
            part, chunks as i32, place.rows as i64, per, c as i32, gamma, beta, norm, mean, var,
            MOMENTUM as f32, EPSILON);
        Ok(())
    }

    pub(in crate::engine::cuda) fn run_forward(
        &mut self,
        plan: &Plan,
        x: u64,
        train: bool,
        head: Head,
        out: u64,
    ) -> candle_core::Result<()> {
        self.pack(plan, x)?;
        let mut input = self.stem(plan, train)?;
        for (block, (places, projection)) in plan.blocks.iter().zip(&self.frame.blocks) {
            input = self.block(block, places, projection.as_ref(), input, train)?;
        }
        self.head(plan, head, input, out)
    }

    /// Pictures and weights in the order of the convolutions.
    fn pack(&mut self, plan: &Plan, x: u64) -> candle_core::Result<()> {
        let (k, frame) = (self.kernels, self.frame);
        let [h, w] = frame.size;
        let packed = self.arena + frame.x as u64;
        let pixels = frame.samples * h * w;
        launch!(self, k.pack_picture, [pixels.div_ceil(256).min(8192), 1, 1], [256, 1, 1];
            x, packed, plan.stem.channels_in as i32, frame.padded as i32, (h * w) as i32, pixels as i64);
        let segments = self.segments(plan)?;
        let count = plan.units().count();
        launch!(self, k.pack_weights, [64, count, 1], [256, 1, 1];
            self.flat, self.arena + frame.weights as u64, segments);
        Ok(())
    }

    /// The stem and the pooling after it. Returns the address of the first block's input.
    fn stem(&mut self, plan: &Plan, train: bool) -> candle_core::Result<u64> {
        let (k, frame) = (self.kernels, self.frame);
        let stem = frame.stem;
        self.unit(&plan.stem, &stem, self.arena + frame.x as u64, train)?;
        let [y, z, norm] = self.of(&stem);
        let c = stem.channels;
        let entry = self.arena + frame.entry as u64;
        if plan.pool {
            let [sh, sw] = stem.shape.out();
            let [oh, ow] = frame.entry_size;
            let rows = frame.samples * oh * ow;
            let Rows { grid, block, per, .. } = self.mapping(rows, c);
            let chosen = self.arena + frame.chosen as u64;
            launch!(self, k.normalize_pool, grid, block;
                y, norm, entry, chosen, sh as i32, sw as i32, oh as i32, ow as i32,
                rows as i64, c as i32, per);
        } else {
            let Rows { grid, block, per, .. } = self.mapping(stem.rows, c);
            launch!(self, k.normalize, grid, block; y, norm, z, stem.rows as i64, c as i32, per);
        }
        Ok(entry)
    }

    /// A block of `first`. Returns the address of its output.
    fn block(
        &mut self,
        block: &Block,
        places: &[Place],
        projection: Option<&Place>,
        first: u64,
        train: bool,
    ) -> candle_core::Result<u64> {
        let k = self.kernels;
        let shortcut = match block.projection.as_ref().zip(projection) {
            Some((unit, place)) => {
                self.unit(unit, place, first, train)?;
                Some(self.of(place))
            }
            None => None,
        };
        let mut input = first;
        for (i, (unit, place)) in block.units.iter().zip(places).enumerate() {
            self.unit(unit, place, input, train)?;
            let [y, z, norm] = self.of(place);
            let Rows { grid, block, per, .. } = self.mapping(place.rows, place.channels);
            let (rows, c) = (place.rows as i64, place.channels as i32);
            if i + 1 < places.len() {
                launch!(self, k.normalize, grid, block; y, norm, z, rows, c, per);
            } else if let Some([y2, _, norm2]) = shortcut {
                launch!(self, k.normalize_two, grid, block; y, norm, y2, norm2, z, rows, c, per);
            } else {
                launch!(self, k.normalize_add, grid, block; y, norm, first, z, rows, c, per);
            }
            input = z;
        }
        Ok(input)
    }

    /// The mean over pixels of the last block's output `input`, and the last linear layer of it, into `out`.
    fn head(&mut self, plan: &Plan, head: Head, input: u64, out: u64) -> candle_core::Result<()> {
        let (k, frame) = (self.kernels, self.frame);
        let pooled = match head {
            Head::Features => out,
            Head::Logits => self.arena + frame.pooled as u64,
        };
        let vectors = plan.features / (16 / bytes(frame.precision));
        launch!(self, k.mean_area, [vectors.div_ceil(64), frame.samples, 1], [64, 1, 1];
            input, pooled, frame.area as i32, plan.features as i32);
        if head == Head::Logits {
            let (n, f, o) = (frame.samples, plan.features, plan.outputs);
            let bias = self.flat(plan.fc_bias);
            launch!(self, k.bias_rows, [(n * o).div_ceil(256).min(1024), 1, 1], [256, 1, 1];
                out, bias, n as i32, o as i32);
            let weight = Matrix {
                at: self.flat(plan.fc_weight),
                rows: f,
                turned: true,
            };
            let pooled = Matrix {
                at: pooled,
                rows: f,
                turned: false,
            };
            self.machine.multiply([o, n, f], [weight, pooled], 1.0, out)?;
        }
        Ok(())
    }
}
