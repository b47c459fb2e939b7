//! NVIDIA GPUs.
//!
//! [`engine::Cuda`] is candle's and f32 but for training: a residual network is one operation over cuDNN and
//! kernels of our own ([`residual`]) in the precision that is asked for, an update of SGD one kernel, and
//! pictures travel through page-locked memory. [`half::Half`] is what UNet and autoencoder run on in f16.
//! Outliers are sampled by kernels that give the CPU's bits ([`sampling`]).
//!
//! All work goes to the stream of the device that the tensors were made on. One host thread must do it all:
//! candle's stream is a thread's own, and workspaces are shared.
//!
//! What is launched, on what and in what order, is decided by code that knows no GPU (`launch.rs`, and what a
//! `Machine` is in [`half`] and [`residual`]). In tests it launches the same kernels on the CPU
//! (`emulated`).

#[cfg(test)]
mod emulated;
#[cfg(feature = "cuda")]
mod engine;
mod half;
mod launch;
mod libraries;
#[cfg(feature = "cuda")]
mod modules;
mod residual;
mod sampling;
mod sgd;
#[cfg(feature = "cuda")]
mod uploads;

#[cfg(test)]
pub(super) use self::emulated::emulated;
#[cfg(feature = "cuda")]
pub(super) use self::engine::Cuda;
#[cfg(feature = "cuda")]
pub(super) use self::libraries::missing;

#[cfg(feature = "cuda")]
use self::engine::{failed, launch, prepare};

/// Whether tests run on a GPU (`DREAM_TEST_CUDA=1`). What needs the source tree or a compiler is left out
/// then: neither needs to be on the machine that has one.
#[cfg(test)]
pub(super) fn tested() -> bool {
    cfg!(feature = "cuda") && std::env::var("DREAM_TEST_CUDA").is_ok_and(|v| v == "1")
}
