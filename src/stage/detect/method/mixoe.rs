//! Images mixed with outliers.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::nn::{self, ResNet};
use crate::rng::{Stream, domain};
use crate::stage::Refusals;
use crate::stage::StageError;
use crate::stage::detect::recipe::{Beside, Regularizer, Section, Setup};
use crate::stage::training::{Mix, Objective, Step, Training};

/// CE(ID) + beta * CE(mixed, lambda * one-hot(y) + (1 - lambda) * uniform): Zhang et al., "Mixture Outlier
/// Exposure: Towards Out-of-Distribution Detection in Fine-grained Environments", WACV 2023, Eqs. 4 and 5.
/// lambda ~ Beta(alpha, alpha), one a step; the rectangle of CutMix covers 1 - lambda of the area and is cut
/// at the border, after which lambda is the share that is left of the image. Defaults are OpenOOD's: CutMix,
/// alpha 0.1, beta 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixOe {
    /// Weight of the loss.
    pub beta: f64,
    /// Outliers of a step, of which each is mixed with an image; not more than there are images.
    pub batch_size: usize,
    /// Both parameters of the distribution of lambda.
    pub alpha: f64,
    /// How they are mixed.
    pub mix: Mix,
}

impl Section for MixOe {
    const NAME: &'static str = "mixoe";

    fn of_size(batch_size: usize) -> Self {
        Self {
            beta: 1.0,
            batch_size,
            alpha: 0.1,
            mix: Mix::Cutmix,
        }
    }
}

impl Regularizer for MixOe {
    fn check(&self, training: &Training, refusals: &mut Refusals) {
        super::check_sizes(self.beta, self.batch_size, refusals);
        let alpha = (1e-3..=1000.0).contains(&self.alpha);
        refusals.require(alpha, "outlier.alpha", self.alpha, "0.001 to 1000, such as 0.1");
        let expected = format!("at most the {} images of a step", training.batch_size);
        if training.mix.is_some() {
            let found = "set beside the method mixoe, which mixes images itself";
            refusals.require(false, "training.mix", found, "left out");
        }
        let enough = self.batch_size <= training.batch_size;
        refusals.require(enough, "outlier.batch_size", self.batch_size, &expected);
    }

    fn beside(&self) -> Option<Beside> {
        Some(Beside::outliers(self.batch_size))
    }

    fn objective<'a>(&'a self, setup: &Setup<'a>) -> Result<Box<dyn Objective + 'a>, StageError> {
        let seed = setup.seed;
        Ok(Box::new(Mixed { loss: self, seed }))
    }
}

struct Mixed<'a> {
    loss: &'a MixOe,
    seed: u64,
}

impl Objective for Mixed<'_> {
    fn loss(&self, network: &ResNet, step: &Step<'_>) -> Result<Tensor, StageError> {
        let pictures = step.pictures()?;
        let (ids, n) = (step.labels.len(), pictures.dim(0)?);
        let images = step.images.narrow(0, 0, n)?;
        let mut stream = Stream::new(self.seed, domain::DETECT_MIX, 0, step.number as u64);
        let (mixed, lambda) = (self.loss.mix).of(&images, pictures, self.loss.alpha, &mut stream)?;
        let outputs = network.forward(&Tensor::cat(&[step.images, &mixed], 0)?, true)?;
        let mixed = outputs.narrow(0, ids, n)?;
        let own = (nn::cross_entropy(&mixed, &step.labels[..n])? * lambda)?;
        let uniform = (nn::cross_entropy_to_uniform(&mixed)? * (1.0 - lambda))?;
        let classification = step.cross_entropy(&outputs.narrow(0, 0, ids)?)?;
        Ok((classification + ((own + uniform)? * self.loss.beta)?)?)
    }
}
