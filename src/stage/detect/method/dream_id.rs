//! Imagined pictures of the classes as more of the training set.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::nn::{self, ResNet};
use crate::stage::detect::recipe::{Beside, Regularizer, Section, Setup};
use crate::stage::training::{Objective, Step, Training};
use crate::stage::{Refusals, StageError};

/// DREAM-ID: the cross-entropy of the images of a step and of labelled pictures imagined from inlier
/// embeddings, the mean over all of both: Du et al., "Dream the Impossible", NeurIPS 2023, Sec. 4.2. 160
/// images and 256 pictures a step for ImageNet-100.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DreamId {
    /// Pictures of a step, beside the images.
    pub batch_size: usize,
}

impl Section for DreamId {
    const NAME: &'static str = "dream-id";

    fn of_size(batch_size: usize) -> Self {
        Self { batch_size }
    }
}

impl Regularizer for DreamId {
    fn check(&self, _: &Training, refusals: &mut Refusals) {
        super::check_batch(self.batch_size, refusals);
    }

    fn beside(&self) -> Option<Beside> {
        Some(Beside::inliers(self.batch_size))
    }

    fn objective<'a>(&'a self, _: &Setup<'a>) -> Result<Box<dyn Objective + 'a>, StageError> {
        Ok(Box::new(Both))
    }
}

struct Both;

impl Objective for Both {
    fn loss(&self, network: &ResNet, step: &Step<'_>) -> Result<Tensor, StageError> {
        let [images, pictures] = super::together(network, step)?;
        let (n, m) = (step.labels.len() as f64, step.beside_labels.len() as f64);
        let images = (step.cross_entropy(&images)? * (n / (n + m)))?;
        let pictures = (nn::cross_entropy(&pictures, step.beside_labels)? * (m / (n + m)))?;
        Ok((images + pictures)?)
    }
}
