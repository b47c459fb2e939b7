//! Logits of one length.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::nn::{self, ResNet};
use crate::stage::detect::recipe::{Beside, Regularizer, Section, Setup};
use crate::stage::training::{Objective, Step, Training};
use crate::stage::{Refusals, StageError};

/// The cross-entropy of f / (temperature * |f|), without outliers: Wei et al., "Mitigating Neural Network
/// Overconfidence with Logit Normalization", ICML 2022, Eq. 4. The logits themselves are what is stored and
/// scored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogitNorm {
    /// 0.04 in the authors' code for CIFAR-10.
    pub temperature: f64,
}

impl Section for LogitNorm {
    const NAME: &'static str = "logitnorm";

    fn of_size(_: usize) -> Self {
        Self { temperature: 0.04 }
    }
}

impl Regularizer for LogitNorm {
    fn check(&self, _: &Training, refusals: &mut Refusals) {
        let (key, found) = ("outlier.temperature", self.temperature);
        let usable = (1e-3..=100.0).contains(&found);
        refusals.require(usable, key, found, "0.001 to 100, such as 0.04");
    }

    fn beside(&self) -> Option<Beside> {
        None
    }

    fn objective<'a>(&'a self, _: &Setup<'a>) -> Result<Box<dyn Objective + 'a>, StageError> {
        Ok(Box::new(Normalised(self.temperature)))
    }
}

struct Normalised(f64);

impl Objective for Normalised {
    fn loss(&self, network: &ResNet, step: &Step<'_>) -> Result<Tensor, StageError> {
        let logits = network.forward(step.images, true)?;
        Ok(step.cross_entropy(&nn::logit_norm(&logits, self.0)?)?)
    }
}
