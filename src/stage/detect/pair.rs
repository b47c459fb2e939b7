//! The two classifiers that are compared: the plain one, and the one with a loss on imagined outliers.

use super::{Detect, Inputs, Params, ask};
use crate::stage::{Asked, ImageSource, Input, StateSource};

/// What both trainings are asked.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// Parameters of the training with outliers; the plain one has them without the loss.
    pub params: &'a Params,
    /// The seed of all random numbers of either.
    pub seed: u64,
    /// The training images.
    pub images: &'a ImageSource,
    /// Weights that both start from.
    pub weights: Option<&'a StateSource>,
}

impl Pair<'_> {
    /// Says whether the training with outliers goes on from the plain classifier.
    pub fn fine_tunes(&self) -> bool {
        let loss = self.params.outlier.as_ref();
        loss.is_some_and(|loss| loss.fine_tune.is_some()) && self.weights.is_none()
    }

    /// Asks for the plain classifier.
    pub fn plain(&self) -> Asked<Detect> {
        let params = Params {
            outlier: None,
            ..self.params.clone()
        };
        self.ask(&params, None, None)
    }

    /// Asks for the classifier with outliers; `plain` is the plain one, if it is asked for as well.
    pub fn with_outliers(&self, outliers: Input, plain: Option<Input>) -> Asked<Detect> {
        let initial = plain.filter(|_| self.fine_tunes());
        self.ask(self.params, Some(outliers), initial)
    }

    fn ask(&self, params: &Params, outliers: Option<Input>, initial: Option<Input>) -> Asked<Detect> {
        let from = Inputs {
            outliers,
            initial,
            weights: self.weights.cloned(),
        };
        ask(params, self.seed, from, self.images)
    }
}
