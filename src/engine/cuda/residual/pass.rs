//! One pass over a network: addresses, scratch memory, and what both directions launch.

use std::sync::{Arc, MutexGuard};

use candle_core::cuda::cudarc::cublas::{result as blas, sys::cublasOperation_t as Op};

use super::cudnn::{Direction, Prepared, Shape, bytes};
use super::frame::{Frame, Place};
use super::{Engine, Kernels, MAPPING, ROOM, State, failed};
use crate::engine::options::Precision;
use crate::engine::plan::Plan;

/// One pass.
pub(super) struct Pass<'a> {
    pub(super) engine: &'a Engine,
    pub(super) kernels: &'a Kernels,
    pub(super) state: MutexGuard<'a, State>,
    pub(super) frame: &'a Frame,
    pub(super) arena: u64,
    pub(super) flat: u64,
    pub(super) buffers: u64,
}

/// Grid, block, rows a chunk, chunks.
pub(super) type Rows = ((u32, u32, u32), (u32, u32, u32), i64, usize);

impl<'a> Pass<'a> {
    pub(super) fn new(engine: &'a Engine, frame: &'a Frame, arena: u64, flat: u64, buffers: u64) -> Self {
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

    pub(super) fn rows(&self, rows: usize, channels: usize, blocks: usize) -> Rows {
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
    pub(super) fn scratch(&mut self, len: usize) -> candle_core::Result<u64> {
        if self.state.scratch.as_ref().is_none_or(|s| s.len() < len) {
            self.state.scratch = None;
            self.state.scratch = Some(self.engine.bytes(len)?);
        }
        Ok(self.state.scratch.as_ref().map_or(0, |s| self.engine.at(s)))
    }

    pub(super) fn prepared(&mut self, shape: Shape) -> candle_core::Result<Arc<Prepared>> {
        let key = (shape, self.frame.precision);
        if let Some(found) = self.state.convs.get(&key) {
            return Ok(found.clone());
        }
        let prepared = self.engine.cudnn.prepare(shape, key.1, ROOM).map_err(failed)?;
        let prepared = Arc::new(prepared);
        self.state.convs.insert(key, prepared.clone());
        Ok(prepared)
    }

    pub(super) fn convolve(
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

    pub(super) fn weights(&self, place: &Place) -> u64 {
        self.arena + (self.frame.weights + place.weights * bytes(self.frame.precision)) as u64
    }

    /// Addresses of the unit's output, of its rectified norm and of the norm's numbers.
    pub(super) fn of(&self, place: &Place) -> [u64; 3] {
        [place.y, place.z, place.norm].map(|at| self.arena + at as u64)
    }

    pub(super) fn flat(&self, at: usize) -> u64 {
        self.flat + 4 * at as u64
    }

    pub(super) fn segments(&mut self, plan: &Plan) -> candle_core::Result<u64> {
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

    /// c = op(a) op(b) + beta c, columns first.
    pub(super) fn multiply(
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
}
