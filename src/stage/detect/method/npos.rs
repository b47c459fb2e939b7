//! Virtual outliers at the rim of the classes.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::feature_space::{Common, Virtual};
use crate::engine::Engine;
use crate::outlier::{Knn, OutlierError, Sampling, SamplingParams, Side, sample_class};
use crate::stage::detect::recipe::{Beside, Regularizer, Section, Setup};
use crate::stage::phi::PhiName;
use crate::stage::training::{Objective, Training};
use crate::stage::{Refusals, StageError};

/// CE(ID) + beta * BCE(phi(E), is ID), where outliers are unit features at the rim of their class, by k-NN
/// distance, moved by noise, of which the furthest are kept: Tao et al., "Non-parametric Outlier Synthesis",
/// ICLR 2023, Eqs. 3 to 6, whose sampling is that of DREAM-OOD in another space. They are stretched to the
/// mean length of the features of the class. The loss of images stays the cross-entropy, where the paper
/// trains contrastively and phi reads the features. Defaults are OpenOOD's: loss 0.1, noise 0.1, 600
/// candidates, the 200 outermost of 1000 features with k 300.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Npos {
    /// Weight of the loss.
    pub beta: f64,
    /// Virtual outliers of a step.
    pub batch_size: usize,
    /// Share of the epochs before the first with the loss.
    pub start: f64,
    /// Features of each class that are looked at, at most.
    pub features_per_class: usize,
    /// Neighbours of the k-NN distance.
    pub k: usize,
    /// Features at the rim that are moved.
    pub select: usize,
    /// Noise vectors that every one is moved by.
    pub candidates: usize,
    /// Standard deviation of the noise in every coordinate of a unit feature.
    pub sigma: f64,
    /// phi, from an energy to the log-odds of being in-distribution.
    pub phi: PhiName,
}

impl Section for Npos {
    const NAME: &'static str = "npos";

    fn of_size(batch_size: usize) -> Self {
        Self {
            beta: 0.1,
            batch_size,
            start: 0.4,
            features_per_class: 1000,
            k: 300,
            select: 200,
            candidates: 600,
            sigma: 0.1,
            phi: PhiName::Linear,
        }
    }
}

impl Npos {
    fn common(&self) -> Common {
        Common {
            beta: self.beta,
            batch_size: self.batch_size,
            start: self.start,
            features_per_class: self.features_per_class,
            phi: self.phi,
        }
    }

    fn sampling(&self) -> SamplingParams {
        SamplingParams {
            kind: Side::Outlier,
            k: self.k,
            select: self.select,
            rounds: 1,
            noise_per_round: self.candidates,
            anchors_per_round: self.select,
            keep: 1,
            sigma: self.sigma as f32,
            knn: Knn::Paper,
            per_class: None,
        }
    }
}

impl Regularizer for Npos {
    fn check(&self, training: &Training, refusals: &mut Refusals) {
        self.common().check(training, refusals);
        for (key, count) in [("outlier.k", self.k), ("outlier.select", self.select)] {
            let expected = format!("1 to features_per_class, {}", self.features_per_class);
            refusals.require(
                (1..=self.features_per_class).contains(&count),
                key,
                count,
                &expected,
            );
        }
        let candidates = (1..=1_000_000).contains(&self.candidates);
        refusals.require(candidates, "outlier.candidates", self.candidates, "1 to 1000000");
        let sigma = self.sigma > 0.0 && self.sigma <= 100.0;
        refusals.require(sigma, "outlier.sigma", self.sigma, "above 0, such as 0.1");
    }

    fn beside(&self) -> Option<Beside> {
        None
    }

    fn least_images(&self) -> usize {
        self.k.max(self.select)
    }

    fn objective<'a>(&'a self, setup: &Setup<'a>) -> Result<Box<dyn Objective + 'a>, StageError> {
        let (ctx, names) = (setup.ctx, setup.classes);
        let make = move |classes: &[Vec<f32>], m: usize, seed: u64| {
            let of_class = |(class, features): (usize, &Vec<f32>)| {
                let length = |feature: &[f32]| feature.iter().map(|v| v * v).sum::<f32>().sqrt();
                let lengths: f32 = features.chunks_exact(m).map(length).sum();
                let mean = lengths / (features.len() / m) as f32;
                let sampling = Sampling {
                    features,
                    m,
                    params: &self.sampling(),
                    seed,
                    class: class as u32,
                    // Classes go in parallel, and a GPU is for one thread.
                    engine: &Engine::default(),
                    progress: &|_| (),
                    cancelled: &|| ctx.progress.cancelled(),
                };
                let sampled = match sample_class(&sampling) {
                    Err(OutlierError::Duplicates { .. } | OutlierError::Zero { .. }) => {
                        let name = &names[class];
                        ctx.progress.note(&format!(
                            "the features of the class `{name}` have one direction or none: it has no rim, \
                                 and gives no virtual outliers to this epoch"
                        ));
                        Vec::new()
                    }
                    sampled => sampled?,
                };
                Ok(sampled
                    .into_iter()
                    .flat_map(move |s| s.vector.into_iter().map(move |v| v * mean)))
            };
            let all: Result<Vec<_>, StageError> = classes.par_iter().enumerate().map(of_class).collect();
            Ok(all?.into_iter().flatten().collect())
        };
        Virtual::objective(setup, self.common(), self.least_images(), Box::new(make))
    }
}
