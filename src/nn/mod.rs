//! What candle lacks for training: a convolution with a fast backward pass, residual networks, SGD with momentum, a
//! learning-rate schedule, losses made only of operations that have a gradient, and seeded augmentation.
//!
//! On the CPU the hot paths are our own kernels on rayon; every sum has an order that depends on shapes alone, so that
//! results are the same bits on any number of threads. On other devices the same functions are composed of candle's
//! operations.

pub mod augment;
mod conv;
mod error;
pub mod loss;
mod optim;
mod params;
mod resnet;
pub mod schedule;
mod state;
mod upload;

pub use conv::conv2d;
pub use error::{Error, Result};
pub use loss::{binary_cross_entropy_with_logits, cross_entropy, l2_normalize, logsumexp};
pub use optim::Sgd;
pub use params::{Init, Params, Spec};
#[cfg(feature = "cuda")]
pub use resnet::{Precision, set_precision};
pub use resnet::{ResNet, ResNetConfig, Stem};
pub use state::{State, from_safetensors, read_state, to_safetensors};
pub use upload::Uploads;
