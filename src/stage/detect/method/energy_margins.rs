//! Margins between the energies of images and outliers.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::nn::{self, ResNet};
use crate::stage::Refusals;
use crate::stage::StageError;
use crate::stage::detect::recipe::{Beside, Regularizer, Section, Setup};
use crate::stage::training::{Objective, Step, Training};

/// CE(ID) + beta * (mean over ID of max(0, E(x) - margin_in)^2 + mean over outliers of max(0, margin_out -
/// E(x))^2), here with the authors' sign E(x) = -logsumexp f(x): Liu et al., "Energy-based
/// Out-of-distribution Detection", NeurIPS 2020, Eqs. 8 and 9. Defaults are those of the authors' code:
/// beta 0.1, margins -25 and -7. They fine-tune a classifier so, for 10 epochs from a learning rate of 0.001.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnergyMargins {
    /// Weight of the loss.
    pub beta: f64,
    /// Outliers of a step, beside the ID images.
    pub batch_size: usize,
    /// The energy above which an ID image is penalised.
    pub margin_in: f64,
    /// The energy below which an outlier is penalised; above `margin_in`.
    pub margin_out: f64,
}

impl Section for EnergyMargins {
    const NAME: &'static str = "energy-margins";

    fn of_size(batch_size: usize) -> Self {
        Self {
            beta: 0.1,
            batch_size,
            margin_in: -25.0,
            margin_out: -7.0,
        }
    }
}

impl Regularizer for EnergyMargins {
    fn check(&self, _: &Training, refusals: &mut Refusals) {
        super::check_sizes(self.beta, self.batch_size, refusals);
        let margins = [
            ("outlier.margin_in", self.margin_in),
            ("outlier.margin_out", self.margin_out),
        ];
        for (key, margin) in margins {
            let within = (-1000.0..=1000.0).contains(&margin);
            refusals.require(within, key, margin, "-1000 to 1000, such as -7");
        }
        if self.margin_in >= self.margin_out {
            let found = format!("{}, not above margin_in {}", self.margin_out, self.margin_in);
            let expected = "higher than margin_in: the energy of an ID image is the lower one";
            refusals.require(false, "outlier.margin_out", found, expected);
        }
    }

    fn beside(&self) -> Option<Beside> {
        Some(Beside::outliers(self.batch_size))
    }

    fn objective<'a>(&'a self, _: &Setup<'a>) -> Result<Box<dyn Objective + 'a>, StageError> {
        Ok(Box::new(Margins(self)))
    }
}

struct Margins<'a>(&'a EnergyMargins);

impl Objective for Margins<'_> {
    fn loss(&self, network: &ResNet, step: &Step<'_>) -> Result<Tensor, StageError> {
        let [images, outliers] = super::together(network, step)?;
        let margins = [self.0.margin_in, self.0.margin_out];
        let penalty = nn::energy_margins(&images, &outliers, margins)?;
        Ok((step.cross_entropy(&images)? + (penalty * self.0.beta)?)?)
    }
}
