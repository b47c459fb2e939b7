//! The two classifiers that are compared: the plain one, and the one of a method.

use super::{Detect, Inputs, Params, ask};
use crate::stage::{Asked, ImageSource, Input, StateSource};

/// What both trainings are asked.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// Parameters of the training by the method; the plain one has them without it.
    pub params: &'a Params,
    /// The seed of all random numbers of either.
    pub seed: u64,
    /// The training images.
    pub images: &'a ImageSource,
    /// Weights that both start from.
    pub weights: Option<&'a StateSource>,
}

impl Pair<'_> {
    /// Says whether the training by the method goes on from the plain classifier.
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

    /// Asks for the classifier of the method, with `pictures` where it takes some; `plain` is the plain
    /// one, if it is asked for as well.
    pub fn with_method(&self, pictures: Option<Input>, plain: Option<Input>) -> Asked<Detect> {
        let initial = plain.filter(|_| self.fine_tunes());
        self.ask(self.params, pictures, initial)
    }

    fn ask(&self, params: &Params, pictures: Option<Input>, initial: Option<Input>) -> Asked<Detect> {
        let recipe = params.outlier.as_ref();
        let role = recipe
            .and_then(|recipe| recipe.method.beside())
            .map(|beside| beside.role);
        let from = Inputs {
            pictures: role.zip(pictures),
            initial,
            weights: self.weights.cloned(),
        };
        ask(params, self.seed, from, self.images)
    }
}
