//! Scores that run the network themselves, because they need gradients or the maps between its layers.
//!
//! They are as other scores are, but for what they read: a [`Lens`] on the network and batches of pictures as
//! it takes them. What they learn comes from an [`Album`] of pictures.

mod adascale;
mod gram;
mod grood;
mod lens;
mod mahalanobis;
mod rankfeat;
mod step;
#[cfg(test)]
mod tests;

use candle_core::Tensor;

pub use lens::Lens;

use super::{Card, Needs, ScoreError, Values};
use crate::nn;

/// Why a score that runs the network has no value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// As of any score.
    #[error(transparent)]
    Score(#[from] ScoreError),
    /// The network failed.
    #[error(transparent)]
    Network(#[from] nn::Error),
    /// Pictures could not be had.
    #[error(transparent)]
    Pictures(Box<dyn std::error::Error + Send + Sync>),
}

impl From<candle_core::Error> for NetworkError {
    fn from(error: candle_core::Error) -> Self {
        Self::Network(error.into())
    }
}

/// Takes a batch of pictures: their numbers in the album, and `[n, channels, h, w]`.
pub type Take<'a> = &'a mut dyn FnMut(&[u32], &Tensor) -> Result<(), NetworkError>;

/// Pictures that a score learns from, as the network takes them.
pub trait Album {
    /// Number of pictures.
    fn len(&self) -> usize;

    /// Says whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Their classes, where all of them have one.
    fn labels(&self) -> Option<&[u32]>;

    /// Hands the pictures of these numbers to `take`, batch by batch and in order.
    ///
    /// # Errors
    /// If they cannot be read; whatever `take` fails with.
    fn each(&self, pictures: &[u32], take: Take<'_>) -> Result<(), NetworkError>;
}

/// What a score that runs the network learns from.
#[derive(Clone, Copy)]
pub struct Albums<'a> {
    /// Pictures that the classifier was trained on.
    pub train: Option<&'a dyn Album>,
    /// ID pictures that it was not trained on.
    pub validation: Option<&'a dyn Album>,
}

impl<'a> Albums<'a> {
    fn train(&self) -> Result<&'a dyn Album, ScoreError> {
        let what = "training pictures";
        self.train.ok_or(ScoreError::Missing { what })
    }

    fn validation(&self) -> Result<&'a dyn Album, ScoreError> {
        let what = "validation pictures";
        self.validation.ok_or(ScoreError::Missing { what })
    }
}

fn labels(album: &dyn Album) -> Result<&[u32], ScoreError> {
    let what = "labels of the training pictures";
    album.labels().ok_or(ScoreError::Missing { what })
}

fn everything(album: &dyn Album) -> Vec<u32> {
    (0..album.len() as u32).collect()
}

/// A way to tell in-distribution pictures from others by running the network.
pub trait NetworkScore: Send + Sync {
    /// What there is to know of it.
    fn card(&self) -> &'static Card;

    /// Refuses values that do not go together.
    ///
    /// # Errors
    /// [`ScoreError::Range`].
    fn check(&self, _values: &Values) -> Result<(), ScoreError> {
        Ok(())
    }

    /// Learns what it must from `albums`.
    ///
    /// # Errors
    /// An album or labels that it needs and that are not there; fewer pictures than it needs.
    fn fit(
        &self,
        values: &Values,
        lens: &Lens<'_>,
        albums: &Albums<'_>,
    ) -> Result<Box<dyn NetworkFitted>, NetworkError>;
}

/// A score that has learnt what it must.
pub trait NetworkFitted: Send + Sync {
    /// Returns the score of each picture `x` `[n, channels, h, w]`: larger for in-distribution pictures, and
    /// finite. It does not depend on the others but for the rounding of sums.
    ///
    /// # Errors
    /// If the network fails.
    fn score(&self, lens: &Lens<'_>, x: &Tensor) -> Result<Vec<f32>, NetworkError>;
}

/// Reads pictures, and no others; runs the network.
const NETWORK: Needs = Needs {
    network: true,
    ..Needs::NOTHING
};

/// All scores that run the network, in the order in which they are listed.
pub static NETWORK_SCORES: &[&dyn NetworkScore] = &[
    &step::Odin,
    &step::IOdin,
    &step::GOdin,
    &mahalanobis::Mahalanobis,
    &mahalanobis::MdsEns,
    &gram::Gram,
    &rankfeat::RankFeat,
    &grood::Grood,
    &adascale::AdaScaleA,
    &adascale::AdaScaleL,
];
