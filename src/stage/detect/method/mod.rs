//! What is minimised in place of the plain cross-entropy, a file a method.

mod dream_id;
mod energy_margins;
mod extra_class;
mod feature_space;
mod logit_norm;
mod mixoe;
mod npos;
mod outlier_exposure;
mod phi;
mod vos;

use candle_core::Tensor;

use crate::nn::ResNet;
use crate::stage::training::Step;
use crate::stage::{Refusals, StageError};

pub use dream_id::DreamId;
pub use energy_margins::EnergyMargins;
pub use extra_class::ExtraClass;
pub use logit_norm::LogitNorm;
pub use mixoe::MixOe;
pub use npos::Npos;
pub use outlier_exposure::OutlierExposure;
pub use phi::PhiLoss;
pub use vos::Vos;

/// Refuses a weight or a number of pictures that cannot be meant.
fn check_sizes(beta: f64, batch_size: usize, refusals: &mut Refusals) {
    check_weight(beta, refusals);
    check_batch(batch_size, refusals);
}

fn check_batch(batch_size: usize, refusals: &mut Refusals) {
    let batch = (1..=65_536).contains(&batch_size);
    refusals.require(batch, "outlier.batch_size", batch_size, "1 to 65536");
}

fn check_weight(beta: f64, refusals: &mut Refusals) {
    // At 0 the classifier would be the plain one, under another name.
    let within = beta > 0.0 && beta <= 1000.0;
    refusals.require(
        within,
        "outlier.beta",
        beta,
        "more than 0 and at most 1000, such as 1",
    );
}

/// Outputs of the images and of the pictures beside them, over one forward pass of both, so that batch norm
/// sees them together.
fn together(network: &ResNet, step: &Step<'_>) -> Result<[Tensor; 2], StageError> {
    let pictures = step.pictures()?;
    let (ids, n) = (step.labels.len(), pictures.dim(0)?);
    let outputs = network.forward(&Tensor::cat(&[step.images, pictures], 0)?, true)?;
    Ok([outputs.narrow(0, 0, ids)?, outputs.narrow(0, ids, n)?])
}
