//! The imagined pictures in training, and the loss on them.

use candle_core::Tensor;
use dream_schema::Run;

use super::{OutlierLoss, Params};
use crate::nn::{self, ResNet, schedule};
use crate::rng::domain;
use crate::stage::phi::TrainedPhi;
use crate::stage::pictures::{HELD_BYTES, Look, Pictures};
use crate::stage::training::{Step, Training};
use crate::stage::{Context, Role, StageError};

/// The imagined pictures and the loss on them.
pub(super) struct Outliers<'a> {
    pictures: Pictures<'a>,
    pub(super) loss: OutlierLoss,
    pub(super) phi: TrainedPhi,
}

impl<'a> Outliers<'a> {
    pub(super) fn load(
        ctx: &'a Context<'_>,
        run: &Run,
        params: &Params,
        training: &Training,
    ) -> Result<Option<Self>, StageError> {
        let (Some(loss), Some(imagined)) = (params.outlier.clone(), Role::Outliers.input_of(run)) else {
            return Ok(None);
        };
        // As the ID images are: colour or scale must not tell them apart.
        let (preparation, whole) = (training.preparation(), training.resized_crop.is_none());
        let pictures = Pictures::of_run(ctx.store, imagined, preparation, whole, HELD_BYTES)?;
        let phi = TrainedPhi::new(&loss.phi, run.spec.seed, ctx.engine.device())?;
        Ok(Some(Self { pictures, loss, phi }))
    }

    /// The pictures of the step `number`.
    pub(super) fn batch(&self, look: &Look, seed: u64, number: usize) -> Result<Vec<f32>, StageError> {
        let samples = self.samples(seed, number * self.loss.batch_size);
        // The ID images draw from the streams 0, 1, .. of their epochs; these from the upper half.
        self.pictures.batch(look, &samples, seed, 1 << 31 | number as u32)
    }

    /// Returns one step's pictures, the `start`-th and on, of an endless sequence of shuffled passes over all
    /// of them.
    fn samples(&self, seed: u64, start: usize) -> Vec<u32> {
        let n = self.pictures.len();
        let end = start + self.loss.batch_size;
        let passes = (start / n)..=((end - 1) / n);
        let shuffled =
            passes.flat_map(|pass| schedule::permutation(n, seed, domain::DETECT_OUTLIER_ORDER, pass as u64));
        shuffled.skip(start % n).take(end - start).collect()
    }
}

impl OutlierLoss {
    /// CE(ID) + beta * BCE(phi(E), is ID), over one forward pass of both, so that batch norm sees them
    /// together (Eqs. 7, 8).
    pub(super) fn of(
        &self,
        phi: &TrainedPhi,
        network: &ResNet,
        step: &Step<'_>,
        outliers: &Tensor,
    ) -> Result<Tensor, StageError> {
        let (ids, n) = (step.labels.len(), outliers.dim(0)?);
        let logits = network.forward(&Tensor::cat(&[step.images, outliers], 0)?, true)?;
        let classification = nn::cross_entropy(&logits.narrow(0, 0, ids)?, step.labels)?;
        let log_odds = phi.log_odds(&nn::logsumexp(&logits)?)?;
        let is_id: Vec<f32> = (0..ids + n).map(|i| if i < ids { 1.0 } else { 0.0 }).collect();
        let is_id = Tensor::from_vec(is_id, ids + n, logits.device())?;
        let uncertainty = nn::binary_cross_entropy_with_logits(&log_odds, &is_id)?;
        Ok((classification + (uncertainty * self.beta)?)?)
    }
}
