//! One pass over a network: addresses, and what both directions launch.

use super::Kernels;
use super::frame::{Frame, Place};
use super::machine::Machine;
use super::shape::{Direction, bytes};
use super::{MAPPING, SUMMING};
use crate::engine::plan::Plan;

/// One pass.
pub(in crate::engine::cuda) struct Pass<'a> {
    pub(super) machine: &'a mut dyn Machine,
    pub(super) kernels: &'static Kernels,
    pub(super) frame: &'a Frame,
    pub(super) arena: u64,
    pub(super) flat: u64,
    pub(super) buffers: u64,
}

/// How a kernel over rows of channels is launched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    pub(super) grid: [usize; 3],
    pub(super) block: [usize; 3],
    /// Rows of a chunk.
    pub(super) per: i64,
    pub(super) chunks: usize,
}

/// Divides rows of channels, of which a vector holds `vector`, into at most `blocks` blocks.
fn divide(rows: usize, channels: usize, vector: usize, blocks: usize) -> Rows {
    let vectors = channels / vector;
    let lanes = vectors.min(32);
    let (height, across) = (256 / lanes, vectors.div_ceil(lanes));
    let each = if blocks == MAPPING { 4 } else { 8 };
    let chunks = rows.div_ceil(height * each).clamp(1, (blocks / across).max(1));
    let per = rows.div_ceil(chunks);
    let chunks = rows.div_ceil(per);
    Rows {
        grid: [across, chunks, 1],
        block: [lanes, height, 1],
        per: per as i64,
        chunks,
    }
}

impl<'a> Pass<'a> {
    /// A pass over numbers at these addresses.
    pub(in crate::engine::cuda) fn new(
        machine: &'a mut dyn Machine,
        frame: &'a Frame,
        [arena, flat, buffers]: [u64; 3],
    ) -> Self {
        Self {
            machine,
            kernels: Kernels::of(frame.precision),
            frame,
            arena,
            flat,
            buffers,
        }
    }

    /// For a kernel that sums over rows.
    pub(super) fn summing(&self, rows: usize, channels: usize) -> Rows {
        divide(rows, channels, 16 / bytes(self.frame.precision), SUMMING)
    }

    /// For a kernel that only maps.
    pub(super) fn mapping(&self, rows: usize, channels: usize) -> Rows {
        divide(rows, channels, 16 / bytes(self.frame.precision), MAPPING)
    }

    /// A direction of a unit's convolution; `at`: addresses of input, weights and output.
    pub(super) fn convolve(
        &mut self,
        place: &Place,
        direction: Direction,
        at: [u64; 3],
    ) -> candle_core::Result<()> {
        let precision = self.frame.precision;
        self.machine.convolve(place.shape, precision, direction, at)
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

    /// The address of the kernels' `Segment`s.
    pub(super) fn segments(&mut self, plan: &Plan) -> candle_core::Result<u64> {
        let frame = self.frame;
        let numbers = || {
            let places = frame
                .blocks
                .iter()
                .flat_map(|(units, projection)| units.iter().chain(projection));
            let places = std::iter::once(&frame.stem).chain(places);
            let two = |low: usize, high: usize| (low | high << 32) as i64;
            (plan.units().zip(places))
                .flat_map(|(unit, place)| {
                    [
                        unit.weight as i64,
                        place.weights as i64,
                        two(unit.channels_out, unit.channels_in),
                        two(place.shape.c, unit.kernel * unit.kernel),
                    ]
                })
                .collect()
        };
        self.machine.segments(frame.precision, &numbers)
    }
}
