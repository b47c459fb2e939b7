//! Rounds of sampling outliers on a GPU: the noise of several rounds is drawn there, multiplied with all
//! features, and searched, and what is kept comes back. The bits are those of the CPU, whose order every
//! sum has.

#[cfg(feature = "cuda")]
mod gpu;

use candle_core::Result;

#[cfg(feature = "cuda")]
pub(super) use self::gpu::Gpu;
use super::launch::{Arg, Launch, SearchArgs};
use crate::engine::rounds::{Kept, RoundSearch, Rounds};

/// Bytes for the noise of the rounds that are searched at once, and its products.
const ROOM: usize = 256 << 20;
/// As in kernels.cu.
const THREADS: usize = 256;
const TILE: usize = 128;
const WARPS: usize = 8;
const MOST: usize = 64;

/// A GPU, or in tests what stands for one.
pub(super) trait Machine {
    /// Memory of it, which is given back when this goes.
    type Memory;

    fn memory(&self, bytes: usize) -> Result<Self::Memory>;
    fn upload(&self, bytes: &[u8]) -> Result<Self::Memory>;
    fn at(&self, memory: &Self::Memory) -> u64;
    /// The first of its bytes.
    fn read(&self, memory: &Self::Memory, bytes: usize) -> Result<Vec<u8>>;
    fn launch(&self, launch: &Launch, args: &[Arg]) -> Result<()>;
}

/// A class on a machine.
pub(super) struct Search<M: Machine> {
    machine: M,
    rounds: Rounds,
    at_once: usize,
    steps: M::Memory,
    gram: M::Memory,
    own: M::Memory,
    boundary: M::Memory,
    noise: M::Memory,
    squares: M::Memory,
    moved: M::Memory,
}

/// Whether the kernels can do it: a warp has room for so many candidates, and counts in 32 bits.
pub(super) fn able(rounds: &Rounds) -> bool {
    let int = |n: usize| i32::try_from(n).is_ok();
    let room = rounds.keep <= MOST || rounds.noise.div_ceil(WARPS) <= MOST;
    // Tiles of features are numbered by the second dimension of the grid.
    let tiles = rounds.features.div_ceil(TILE) <= 65_535;
    room && tiles
        && [rounds.features, rounds.width, rounds.noise, rounds.anchors]
            .into_iter()
            .all(int)
}

impl<M: Machine> Search<M> {
    /// Takes a class there, for which the kernels must be [`able`].
    pub(super) fn new(machine: M, rounds: Rounds) -> Result<Self> {
        let Rounds {
            features: n,
            width: m,
            noise,
            ..
        } = rounds;
        let at_once = (ROOM / (noise * (4 * (m + n) + 8))).clamp(1, 1024);
        let vectors = at_once * noise;
        Ok(Self {
            steps: machine.upload(bytemuck::cast_slice(&rounds.steps))?,
            gram: machine.upload(bytemuck::cast_slice(&rounds.gram))?,
            own: machine.upload(bytemuck::cast_slice(&rounds.squares))?,
            boundary: machine.upload(bytemuck::cast_slice(&rounds.boundary))?,
            noise: machine.memory(4 * vectors * m)?,
            squares: machine.memory(8 * vectors)?,
            moved: machine.memory(4 * vectors * n)?,
            machine,
            rounds,
            at_once,
        })
    }

    /// Draws the noise of `count` rounds, measures it, and takes its products with the features.
    fn draw(&self, first: u32, count: usize) -> Result<()> {
        let Rounds {
            features: n,
            width: m,
            noise,
            sigma,
            key,
            class,
            ..
        } = self.rounds;
        let [e, squares, moved, steps] =
            [&self.noise, &self.squares, &self.moved, &self.steps].map(|memory| self.machine.at(memory));
        let (numbers, vectors) = (noise * m, count * noise);
        let launch = |kernel, x: usize, y: usize| Launch {
            kernel,
            grid: [x, y, 1],
            block: [THREADS, 1, 1],
            memory: 0,
        };
        // Words, whose bits the kernels take as they are.
        let word = |word: u32| Arg::Int(word.cast_signed());
        self.machine.launch(
            &launch("sample_noise", numbers.div_ceil(4 * THREADS), count),
            &[
                e.into(),
                word(key[0]),
                word(key[1]),
                word(class),
                word(first),
                (numbers as i64).into(),
            ],
        )?;
        let [n, m] = [n, m].map(|n| n as i32);
        self.machine.launch(
            &launch("sample_squares", vectors.div_ceil(THREADS), 1),
            &[
                e.into(),
                squares.into(),
                (vectors as i64).into(),
                m.into(),
                sigma.into(),
            ],
        )?;
        self.machine.launch(
            &launch(
                "sample_product",
                vectors.div_ceil(TILE),
                self.rounds.features.div_ceil(TILE),
            ),
            &[
                e.into(),
                steps.into(),
                moved.into(),
                (vectors as i64).into(),
                n.into(),
                m.into(),
            ],
        )
    }
}

impl<M: Machine> RoundSearch for Search<M> {
    fn at_once(&self) -> usize {
        self.at_once
    }

    fn search(&mut self, first: u32, ranks: &[u32]) -> Result<Vec<Kept>> {
        let Rounds { anchors, keep, .. } = self.rounds;
        let count = ranks.len() / anchors;
        self.draw(first, count)?;
        let numbers = ranks.len() * keep;
        let ranks = self.machine.upload(bytemuck::cast_slice(ranks))?;
        let kept = self.machine.memory(2 * 4 * numbers)?;
        let at = |memory| self.machine.at(memory);
        let args = SearchArgs {
            moved: at(&self.moved),
            squares: at(&self.squares),
            gram: at(&self.gram),
            own: at(&self.own),
            boundary: at(&self.boundary),
            ranks: at(&ranks),
            kept: at(&kept),
            features: self.rounds.features as i32,
            k: self.rounds.k as i32,
            noise: self.rounds.noise as i32,
            anchors: anchors as i32,
            keep: keep as i32,
            nearest: i32::from(self.rounds.nearest),
            mixed: i32::from(self.rounds.mixed),
        };
        let launch = Launch {
            kernel: "sample_search",
            grid: [anchors, count, 1],
            block: [THREADS, 1, 1],
            memory: 0,
        };
        self.machine.launch(&launch, &[args.into()])?;
        let words: Vec<u32> = bytemuck::pod_collect_to_vec(&self.machine.read(&kept, 2 * 4 * numbers)?);
        let (noise, kths) = words.split_at(numbers);
        let pairs = noise.iter().zip(kths);
        Ok(pairs
            .map(|(noise, kth)| Kept {
                noise: *noise,
                kth: *kth,
            })
            .collect())
    }
}
