//! What candle lacks for training: a convolution with a fast backward pass, residual networks, SGD with
//! momentum, a learning-rate schedule, losses made only of operations that have a gradient, and seeded
//! augmentation.
//!
//! The arithmetic is an [`Engine`](crate::engine::Engine)'s: on the CPU every sum has an order that depends
//! on shapes alone, so that results are the same bits on any number of threads.

pub mod augment;
mod conv;
mod error;
mod fit;
pub mod loss;
pub mod mix;
mod optim;
mod resnet;
pub mod schedule;
mod state;
mod tensors;

pub use conv::{ConvOptions, conv2d};
pub use error::{Error, Result};
pub use fit::Misfit;
pub use loss::{
    binary_cross_entropy_with_logits, cross_entropy, cross_entropy_to_uniform, energy_margins, l2_normalize,
    logit_norm, logsumexp,
};
pub use optim::{Sgd, SgdOptions};
pub use resnet::{Form, Inner, ResNet, ResNetConfig, Stem};
pub use state::{State, StateFile, from_safetensors, read_state, to_safetensors};
pub use tensors::{Init, Spec, Tensors};
