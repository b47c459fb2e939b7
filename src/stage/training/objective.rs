//! What a training minimises.

use candle_core::{Tensor, Var};

use crate::nn::{self, ResNet};
use crate::stage::StageError;

/// One step of training, for the loss to look at.
pub(in crate::stage) struct Step<'a> {
    /// The images, augmented: `[batch, 3, size, size]`.
    pub images: &'a Tensor,
    /// Their labels.
    pub labels: &'a [u32],
    /// The pictures beside them for this step, if there are any.
    pub beside: Option<&'a Tensor>,
    /// The labels of these pictures, where they have some.
    pub beside_labels: &'a [u32],
    /// The labels of the images that these are mixed with, and the share that is left of the images
    /// themselves, where they are mixed.
    pub mixed: Option<(&'a [u32], f64)>,
    /// The number of the step, counted from the first epoch.
    pub number: usize,
}

impl Step<'_> {
    /// The pictures beside the images.
    ///
    /// # Errors
    /// If there are none.
    pub fn pictures(&self) -> Result<&Tensor, StageError> {
        let missing = || StageError::Mismatch("the step has no pictures beside the images".into());
        self.beside.ok_or_else(missing)
    }

    /// The mean cross-entropy of the images' logits with their labels, or with as much of each label as there
    /// is of it in a mixed image.
    pub fn cross_entropy(&self, logits: &Tensor) -> nn::Result<Tensor> {
        let own = nn::cross_entropy(logits, self.labels)?;
        let Some((partners, share)) = self.mixed else {
            return Ok(own);
        };
        let other = nn::cross_entropy(logits, partners)?;
        Ok(((own * share)? + (other * (1.0 - share))?)?)
    }
}

/// What a training minimises, and the parameters that it has beside the network's.
pub(in crate::stage) trait Objective {
    /// The parameters, by the names that they have in checkpoints.
    fn parameters(&self) -> Vec<(String, Var)> {
        Vec::new()
    }

    /// Prepares for an epoch, of the network as it is before the first step.
    fn begin_epoch(&mut self, _network: &ResNet, _epoch: usize) -> Result<(), StageError> {
        Ok(())
    }

    /// Returns the logits `[n, classes]` that the network's outputs `[n, outputs]` stand for.
    fn logits(&self, outputs: Tensor) -> nn::Result<Tensor> {
        Ok(outputs)
    }

    /// Returns the loss of a step, with gradients.
    fn loss(&self, network: &ResNet, step: &Step<'_>) -> Result<Tensor, StageError>;
}

/// The plain classifier's: cross-entropy.
pub(in crate::stage) struct CrossEntropy;

impl Objective for CrossEntropy {
    fn loss(&self, network: &ResNet, step: &Step<'_>) -> Result<Tensor, StageError> {
        Ok(step.cross_entropy(&network.forward(step.images, true)?)?)
    }
}
