//! DREAM-OOD's own: phi of the energy tells images from outliers.

use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};

use crate::nn::{self, ResNet};
use crate::stage::detect::recipe::{Beside, Regularizer, Section, Setup};
use crate::stage::phi::{PhiName, TrainedPhi};
use crate::stage::training::{Objective, Step, Training};
use crate::stage::{Refusals, StageError};

/// CE(ID) + beta * BCE(phi(E(x)), x is ID), with E(x) = logsumexp f(x): Du et al., "Dream the Impossible",
/// NeurIPS 2023, Eqs. 7 and 8.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhiLoss {
    /// Weight of the loss: 2.5 for CIFAR-100, 1.0 for ImageNet-100.
    pub beta: f64,
    /// Outliers of a step, beside the ID images.
    pub batch_size: usize,
    /// phi, from an energy to the log-odds of being in-distribution.
    pub phi: PhiName,
}

impl Section for PhiLoss {
    const NAME: &'static str = "phi";

    fn of_size(batch_size: usize) -> Self {
        Self {
            beta: 1.0,
            batch_size,
            phi: PhiName::Linear,
        }
    }
}

impl Regularizer for PhiLoss {
    fn check(&self, _: &Training, refusals: &mut Refusals) {
        super::check_sizes(self.beta, self.batch_size, refusals);
    }

    fn beside(&self) -> Option<Beside> {
        Some(Beside::outliers(self.batch_size))
    }

    fn objective<'a>(&'a self, setup: &Setup<'a>) -> Result<Box<dyn Objective + 'a>, StageError> {
        let phi = TrainedPhi::new(&self.phi, setup.seed, setup.ctx.engine.device())?;
        Ok(Box::new(Trained { loss: self, phi }))
    }
}

struct Trained<'a> {
    loss: &'a PhiLoss,
    phi: TrainedPhi,
}

impl Objective for Trained<'_> {
    fn parameters(&self) -> Vec<(String, Var)> {
        self.phi.vars()
    }

    fn loss(&self, network: &ResNet, step: &Step<'_>) -> Result<Tensor, StageError> {
        let pictures = step.pictures()?;
        let ids = step.labels.len();
        let logits = network.forward(&Tensor::cat(&[step.images, pictures], 0)?, true)?;
        let classification = step.cross_entropy(&logits.narrow(0, 0, ids)?)?;
        let uncertainty = self.phi.uncertainty(&nn::logsumexp(&logits)?, ids)?;
        Ok((classification + (uncertainty * self.loss.beta)?)?)
    }
}
