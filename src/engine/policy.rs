//! How a batch is cut, and what is alive at the same time.
//!
//! Where the CPU's kernels run, images do not see each other, so a cut changes no bit.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::options::{Precision, Processor};

/// Bytes of one full-size activation that a part of a batch may have.
const PART_BYTES: usize = 1 << 18;
/// Bytes alive in the decoding of an image up to which the CPU takes images side by side. A larger one fills
/// all threads by itself, and two of them would only take twice the memory.
const SIDE_BY_SIDE: u64 = 64 << 20;

/// How an engine goes through a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Images that are at work side by side (the CPU's threads); none where the whole batch is taken at once.
    pub threads: Option<usize>,
    /// When attention keeps the scores of all pairs of pixels in memory.
    pub scores: Scores,
    /// Whether convolutions unfold what they take: `kernel^2` numbers for one.
    pub unfolds: bool,
    /// Bytes of a number of the activations.
    pub number: u64,
    /// The most numbers that a tensor may have.
    pub largest: u64,
}

/// When attention keeps the scores of all pairs of pixels in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scores {
    /// Always.
    Kept,
    /// Where heads have another width than these.
    KeptBut(&'static [usize]),
    /// Never.
    NotKept,
}

impl Policy {
    /// The batch as a whole, attention composed of products: what candle's operations do.
    pub const WHOLE: Self = Self {
        threads: None,
        scores: Scores::Kept,
        unfolds: true,
        number: 4,
        // Candle's kernels, and ours for GPUs, count in 32 bits.
        largest: i32::MAX as u64,
    };

    /// The kernels for GPUs in half precision: attention keeps no scores for heads of the widths that they
    /// know.
    pub const HALF: Self = Self {
        scores: Scores::KeptBut(&[40, 64, 80, 160]),
        unfolds: false,
        number: 2,
        ..Self::WHOLE
    };

    /// The CPU's kernels with so many threads.
    pub fn host(threads: usize) -> Self {
        Self {
            threads: Some(threads),
            scores: Scores::NotKept,
            unfolds: false,
            number: 4,
            largest: u64::MAX,
        }
    }

    /// What a diffusion model is evaluated by; `threads`: of the CPU.
    pub fn of(processor: Processor, precision: Precision, threads: usize) -> Self {
        match (processor, precision) {
            (Processor::Cpu, _) => Self::host(threads),
            (Processor::Cuda, Precision::F16) => Self::HALF,
            (Processor::Cuda, Precision::F32 | Precision::Tf32 | Precision::Bf16) => Self::WHOLE,
        }
    }

    /// Whether attention over heads of this width keeps scores.
    pub fn keeps_scores(self, head: usize) -> bool {
        match self.scores {
            Scores::Kept => true,
            Scores::KeptBut(widths) => !widths.contains(&head),
            Scores::NotKept => false,
        }
    }

    /// Images decoded at the same time, of a batch, where each has so many bytes alive.
    pub fn decoded_together(self, batch: u64, active_bytes: u64) -> u64 {
        match self.threads {
            Some(threads) if active_bytes <= SIDE_BY_SIDE => batch.min(threads as u64),
            Some(_) | None => 1,
        }
    }

    /// Joins what `work` makes of parts of the batch, given by their first image and length. `image_bytes`:
    /// one full-size activation of an image.
    pub(crate) fn in_parts(
        self,
        batch: usize,
        image_bytes: usize,
        work: impl Fn(usize, usize) -> Result<Tensor> + Sync,
    ) -> Result<Tensor> {
        let part = self.threads.map_or(batch, |threads| {
            let fits = (PART_BYTES / image_bytes).max(1);
            // As many parts for every thread, where there are images enough.
            let parts = batch.div_ceil(fits).next_multiple_of(threads.max(1));
            batch.div_ceil(parts.max(1)).max(1)
        });
        if part >= batch {
            return work(0, batch);
        }
        let parts: Vec<Tensor> = (0..batch.div_ceil(part))
            .into_par_iter()
            .map(|i| work(i * part, part.min(batch - i * part)))
            .collect::<Result<_>>()?;
        Tensor::cat(&parts, 0)
    }

    /// Joins what `work` makes of every image, of which each has so many bytes alive. A batch of decoders
    /// does not fit where one does, so a device takes one image after another, too.
    pub(crate) fn one_by_one(
        self,
        batch: usize,
        active_bytes: u64,
        work: impl Fn(usize) -> Result<Tensor> + Sync,
    ) -> Result<Tensor> {
        if batch <= 1 {
            return work(0);
        }
        let images: Vec<Tensor> = if self.decoded_together(batch as u64, active_bytes) > 1 {
            (0..batch).into_par_iter().map(&work).collect::<Result<_>>()?
        } else {
            (0..batch).map(work).collect::<Result<_>>()?
        };
        Tensor::cat(&images, 0)
    }
}
