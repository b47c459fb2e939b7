//! Virtual outliers of class Gaussians.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::feature_space::{Common, Virtual};
use crate::outlier::TiedGaussians;
use crate::rng::{Stream, domain};
use crate::stage::detect::recipe::{Beside, Regularizer, Section, Setup};
use crate::stage::phi::PhiName;
use crate::stage::training::{Objective, Training};
use crate::stage::{Refusals, StageError};

/// CE(ID) + beta * BCE(phi(E), is ID), where outliers are the least likely points of class Gaussians with one
/// covariance in the feature space: Du et al., "VOS: Learning What You Don't Know by Virtual Outlier
/// Synthesis", ICLR 2022, Eqs. 3 to 6. The energy is logsumexp f, without learned weights of the classes.
/// Defaults are the authors' (beta 0.1, 10,000 candidates, 1000 features a class, 1e-4 on the diagonal, from
/// 40 of 100 epochs on), but that 20 points of a class are kept an epoch, where they keep one a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vos {
    /// Weight of the loss.
    pub beta: f64,
    /// Virtual outliers of a step.
    pub batch_size: usize,
    /// Share of the epochs before the first with the loss.
    pub start: f64,
    /// Features of each class that the Gaussians are fitted to, at most.
    pub features_per_class: usize,
    /// Points of each class that are drawn before an epoch.
    pub candidates: usize,
    /// The least likely of them that are kept.
    pub select: usize,
    /// What is added to the diagonal of the covariance.
    pub ridge: f64,
    /// phi, from an energy to the log-odds of being in-distribution.
    pub phi: PhiName,
}

impl Section for Vos {
    const NAME: &'static str = "vos";

    fn of_size(batch_size: usize) -> Self {
        Self {
            beta: 0.1,
            batch_size,
            start: 0.4,
            features_per_class: 1000,
            candidates: 10_000,
            select: 20,
            ridge: 1e-4,
            phi: PhiName::Linear,
        }
    }
}

impl Vos {
    fn common(&self) -> Common {
        Common {
            beta: self.beta,
            batch_size: self.batch_size,
            start: self.start,
            features_per_class: self.features_per_class,
            phi: self.phi,
        }
    }
}

impl Regularizer for Vos {
    fn check(&self, training: &Training, refusals: &mut Refusals) {
        self.common().check(training, refusals);
        let candidates = (1..=1_000_000).contains(&self.candidates);
        refusals.require(candidates, "outlier.candidates", self.candidates, "1 to 1000000");
        let expected = format!("1 to candidates, {}", self.candidates);
        let select = (1..=self.candidates).contains(&self.select);
        refusals.require(select, "outlier.select", self.select, &expected);
        let ridge = self.ridge > 0.0 && self.ridge <= 1e3;
        refusals.require(ridge, "outlier.ridge", self.ridge, "above 0, such as 1e-4");
    }

    fn beside(&self) -> Option<Beside> {
        None
    }

    /// One image has no spread.
    fn least_images(&self) -> usize {
        2
    }

    fn objective<'a>(&'a self, setup: &Setup<'a>) -> Result<Box<dyn Objective + 'a>, StageError> {
        let make = |classes: &[Vec<f32>], m: usize, seed: u64| {
            let gaussians = TiedGaussians::fit(classes, m, self.ridge)?;
            let of_class = |class: usize| {
                let mut stream = Stream::new(seed, domain::DETECT_VIRTUAL, class as u32, 1);
                gaussians.least_likely(class, self.candidates, self.select, &mut stream)
            };
            let all: Vec<Vec<f32>> = (0..classes.len()).into_par_iter().map(of_class).collect();
            Ok(all.concat())
        };
        Virtual::objective(setup, self.common(), self.least_images(), Box::new(make))
    }
}
