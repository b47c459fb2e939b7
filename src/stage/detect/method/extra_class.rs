//! A class of their own for outliers.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::nn::{self, ResNet};
use crate::stage::Refusals;
use crate::stage::StageError;
use crate::stage::detect::recipe::{Beside, Regularizer, Section, Setup};
use crate::stage::training::{Objective, Step, Training};

/// CE over K + 1 classes, the last of which is that of outliers: CE(ID) + beta * CE(outliers, class K + 1).
/// Chen et al., "ATOM: Robustifying Out-of-distribution Detection Using Outlier Mining", ECML PKDD 2021,
/// Eq. 1 with lambda 1, there on mined outliers.
///
/// The last output is no class of the classifier: it is stored beside the logits of the K classes, and the
/// score `extra-class` is the log-odds of not being in it. All other scores, and the accuracy, are those of
/// the K logits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtraClass {
    /// Weight of the loss.
    pub beta: f64,
    /// Outliers of a step, beside the ID images.
    pub batch_size: usize,
}

impl Section for ExtraClass {
    const NAME: &'static str = "extra-class";

    fn of_size(batch_size: usize) -> Self {
        Self {
            beta: 1.0,
            batch_size,
        }
    }
}

impl Regularizer for ExtraClass {
    fn check(&self, _: &Training, refusals: &mut Refusals) {
        super::check_sizes(self.beta, self.batch_size, refusals);
    }

    fn beside(&self) -> Option<Beside> {
        Some(Beside::outliers(self.batch_size))
    }

    fn extra_outputs(&self) -> usize {
        1
    }

    fn objective<'a>(&'a self, _: &Setup<'a>) -> Result<Box<dyn Objective + 'a>, StageError> {
        Ok(Box::new(OneMore(self)))
    }
}

struct OneMore<'a>(&'a ExtraClass);

impl Objective for OneMore<'_> {
    fn logits(&self, outputs: Tensor) -> nn::Result<Tensor> {
        Ok(outputs.narrow(1, 0, outputs.dim(1)? - 1)?)
    }

    fn loss(&self, network: &ResNet, step: &Step<'_>) -> Result<Tensor, StageError> {
        let [images, outliers] = super::together(network, step)?;
        let (n, outputs) = outliers.dims2()?;
        let last = vec![outputs as u32 - 1; n];
        let rejection = nn::cross_entropy(&outliers, &last)?;
        Ok((step.cross_entropy(&images)? + (rejection * self.0.beta)?)?)
    }
}
