//! Shortcuts without tensors, as projections.
//!
//! Option A of He et al. 2016: where a stage begins, the shortcut takes every second pixel, and half of the
//! new channels, all zero, come before the old ones and half behind. A file cannot tell where the zeros go:
//! this is the usual place. As a projection, that is a 1x1 convolution by zeros and ones and a batch norm
//! that changes nothing.

use super::Wanted;
use crate::engine::EPSILON;

/// What is told of it.
pub(super) const NOTE: &str = "its shortcuts have no tensors: they take every second pixel, and the new \
                               channels, half before the old ones and half behind, are zero (option A of \
                               He et al.)";

/// Whether a tensor is part of a shortcut.
pub(super) fn is_shortcut(name: &str) -> bool {
    name.contains(".downsample.")
}

/// Whether the shortcuts of a network with these tensors pad: it has three stages, and none is trained.
pub(super) fn pads<'n>(mut names: impl Iterator<Item = &'n str>, wanted: &Wanted) -> bool {
    !wanted.keys().any(|name| name.starts_with("layer4.")) && !names.any(is_shortcut)
}

/// Returns the numbers of a tensor of such a shortcut; of a bias, zeros.
pub(in crate::nn) fn padded(name: &str, shape: &[usize]) -> Vec<f32> {
    match shape {
        &[out, channels, ..] => {
            let before = out.saturating_sub(channels) / 2;
            let one = |place: usize| place / channels == place % channels + before;
            let numbers = (0..out * channels).map(|place| if one(place) { 1.0 } else { 0.0 });
            numbers.collect()
        }
        shape => {
            let number = match name.rsplit('.').next() {
                Some("weight") => 1.0,
                // What is added to it makes it one.
                Some("running_var") => (1.0 - EPSILON) as f32,
                _ => 0.0,
            };
            vec![number; shape.iter().product()]
        }
    }
}
