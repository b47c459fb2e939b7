//! Outlier exposure.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::nn::{self, ResNet};
use crate::stage::Refusals;
use crate::stage::StageError;
use crate::stage::detect::recipe::{Beside, Regularizer, Section, Setup};
use crate::stage::training::{Objective, Step, Training};

/// CE(ID) + beta * mean over outliers of the cross-entropy of the uniform distribution, H(U, softmax f(x)) =
/// logsumexp f(x) - mean_c f_c(x): Hendrycks et al., "Deep Anomaly Detection with Outlier Exposure", ICLR
/// 2019, Eq. 1 with beta 0.5.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutlierExposure {
    /// Weight of the loss.
    pub beta: f64,
    /// Outliers of a step, beside the ID images.
    pub batch_size: usize,
}

impl Section for OutlierExposure {
    const NAME: &'static str = "outlier-exposure";

    fn of_size(batch_size: usize) -> Self {
        Self {
            beta: 0.5,
            batch_size,
        }
    }
}

impl Regularizer for OutlierExposure {
    fn check(&self, _: &Training, refusals: &mut Refusals) {
        super::check_sizes(self.beta, self.batch_size, refusals);
    }

    fn beside(&self) -> Option<Beside> {
        Some(Beside::outliers(self.batch_size))
    }

    fn objective<'a>(&'a self, _: &Setup<'a>) -> Result<Box<dyn Objective + 'a>, StageError> {
        Ok(Box::new(Exposed(self)))
    }
}

struct Exposed<'a>(&'a OutlierExposure);

impl Objective for Exposed<'_> {
    fn loss(&self, network: &ResNet, step: &Step<'_>) -> Result<Tensor, StageError> {
        let [images, outliers] = super::together(network, step)?;
        let exposure = nn::cross_entropy_to_uniform(&outliers)?;
        Ok((step.cross_entropy(&images)? + (exposure * self.0.beta)?)?)
    }
}
