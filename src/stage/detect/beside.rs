//! The imagined pictures in training.

use dream_schema::Run;

use super::recipe::Beside;
use crate::nn::schedule;
use crate::rng::domain;
use crate::stage::pictures::{HELD_BYTES, Look, Pictures};
use crate::stage::training::Training;
use crate::stage::{Context, StageError};

/// Imagined pictures, so many of them a step.
pub(super) struct Imagined<'a> {
    pictures: Pictures<'a>,
    batch_size: usize,
    /// Whether their classes are their labels.
    labelled: bool,
}

impl<'a> Imagined<'a> {
    /// Opens the pictures that a run reads.
    ///
    /// # Errors
    /// If it reads none, or one cannot be read.
    pub(super) fn load(
        ctx: &'a Context<'_>,
        run: &Run,
        beside: &Beside,
        training: &Training,
    ) -> Result<Self, StageError> {
        let imagined = super::super::required_input(run, &beside.role)?;
        // As the ID images are: colour or scale must not tell them apart.
        let (preparation, whole) = (training.preparation(), training.resized_crop.is_none());
        let pictures = Pictures::of_run(ctx.store, imagined, preparation, whole, HELD_BYTES)?;
        Ok(Self {
            pictures,
            batch_size: beside.batch_size,
            labelled: beside.labelled,
        })
    }

    /// The pictures of the step `number`, and their labels where they have some.
    pub(super) fn batch(
        &self,
        look: &Look,
        seed: u64,
        number: usize,
    ) -> Result<(Vec<f32>, Vec<u32>), StageError> {
        let samples = self.samples(seed, number * self.batch_size);
        // The ID images draw from the streams 0, 1, .. of their epochs; these from the upper half.
        let pictures = self
            .pictures
            .batch(look, &samples, seed, 1 << 31 | number as u32)?;
        let labels = self.pictures.labels().filter(|_| self.labelled);
        let labels = labels.map(|labels| samples.iter().map(|s| labels[*s as usize]).collect());
        Ok((pictures, labels.unwrap_or_default()))
    }

    /// Returns one step's pictures, the `start`-th and on, of an endless sequence of shuffled passes over all
    /// of them.
    fn samples(&self, seed: u64, start: usize) -> Vec<u32> {
        let n = self.pictures.len();
        let end = start + self.batch_size;
        let passes = (start / n)..=((end - 1) / n);
        let shuffled =
            passes.flat_map(|pass| schedule::permutation(n, seed, domain::DETECT_OUTLIER_ORDER, pass as u64));
        shuffled.skip(start % n).take(end - start).collect()
    }
}
