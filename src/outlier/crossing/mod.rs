//! Features moved across the decision boundary of their class, after BOOD (Liao et al., "BOOD: Boundary-based
//! Out-Of-Distribution Data Generation", ICML 2025): the features that lie closest to the boundary, perturbed
//! until the classifier takes them for another class, and a few steps further.
//!
//! The classifier is the cosine head of Eq. 2 (`classifier.rs`), and a step moves every coordinate along the
//! sign of its gradient. The distance of a feature to the boundary is the number of steps that it takes;
//! features that the classifier already takes for another class are left out.

mod classifier;

pub use self::classifier::Head;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use self::classifier::{Step, Walker};
use super::boundary::neighbours;
use super::error::{OutlierError, require, require_counts};
use super::geometry::{Features, normalised};
use super::params::{Sampled, shortest};

/// Features that are moved together: two small matrix products a step.
const BLOCK: usize = 64;

/// Parameters of [`crossing`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrossingParams {
    /// Vectors to make: of each of the `count` features closest to the boundary, one.
    pub count: usize,
    /// Change of every coordinate in one step (of a feature of length 1).
    #[serde(serialize_with = "shortest")]
    pub step: f32,
    /// Steps after the boundary is crossed.
    pub extra_steps: usize,
    /// Steps within which a feature must cross to be used.
    pub max_steps: usize,
    /// The temperature t of Eq. 2; none means that of the encoder which made the features.
    #[serde(default)]
    pub temperature: Option<f64>,
    /// Neighbours of the k-NN distance that is reported.
    pub k: usize,
}

impl CrossingParams {
    /// Steps of 0.015, 2 of them beyond the boundary; how many vectors is the caller's choice.
    pub const DEFAULT: Self = Self {
        count: 50,
        step: 0.015,
        extra_steps: 2,
        max_steps: 100,
        temperature: None,
        k: 300,
    };

    /// Checks all that does not depend on the features.
    ///
    /// # Errors
    /// The first parameter outside its range.
    pub fn check(&self) -> Result<(), OutlierError> {
        require_counts(&[
            ("count", self.count),
            ("max_steps", self.max_steps),
            ("k", self.k),
        ])?;
        require(
            self.extra_steps <= 1000,
            "extra_steps",
            "at most 1000",
            self.extra_steps,
        )?;
        require(
            self.max_steps <= 100_000,
            "max_steps",
            "at most 100000",
            self.max_steps,
        )?;
        require(
            self.step > 0.0 && self.step <= 1.0,
            "step",
            "above 0 and at most 1",
            self.step,
        )?;
        let temperature = self.temperature.unwrap_or(1.0);
        require(
            temperature > 0.0 && temperature.is_finite(),
            "temperature",
            "above 0 and finite",
            temperature,
        )
    }
}

/// Returns a vector across the decision boundary for each of the `params.count` features of a class that take
/// the fewest steps there (among equals those with the smaller lead at the start, then the lower index), in
/// that order.
///
/// `features` is `[n, m]`, those of the class with the number `label` in `head`. `anchor` is the feature that
/// was moved, `round` the number of its steps to the boundary; the k-NN distance is that of the final,
/// normalised vector. No random number is drawn.
///
/// # Errors
/// Features that [`boundary`](super::boundary()) refuses, a parameter outside its range, a label that the
/// head does not have, or fewer than `count` features that cross within `max_steps`.
pub fn crossing(
    features: &[f32],
    head: &Head,
    label: usize,
    params: &CrossingParams,
    class: u32,
) -> Result<Vec<Sampled>, OutlierError> {
    params.check()?;
    let features = Features::new(features, head.m, class)?;
    features.check_k(params.k, class)?;
    require(
        label < head.classes,
        "label",
        format!("below {}", head.classes),
        label,
    )?;
    let temperature = params.temperature.ok_or_else(|| OutlierError::Parameter {
        what: "temperature",
        expected: "that of the encoder".into(),
        actual: "none".into(),
    })?;
    let step = Step {
        head,
        label,
        temperature,
        size: params.step,
    };
    let crossed = walk(&features, &step, params);
    if crossed.len() < params.count {
        return Err(OutlierError::TooFewCross {
            class,
            crossed: crossed.len(),
            max_steps: params.max_steps,
            count: params.count,
        });
    }
    let mut walkers = crossed;
    for _ in 0..params.extra_steps {
        walkers
            .par_chunks_mut(BLOCK)
            .for_each(|block| step.take(block, |_, _, _| true));
    }
    let vectors: Vec<Vec<f32>> = walkers
        .iter()
        .map(|w| normalised(w.vector.iter().map(|v| f64::from(*v))))
        .collect();
    let found = neighbours(&vectors.concat(), &features, params.k);
    let rows = walkers.iter().zip(vectors).zip(found);
    Ok(rows
        .map(|((walker, vector), found)| Sampled {
            vector,
            anchor: walker.feature,
            round: walker.crossed.unwrap_or_default(),
            knn_distance: found.distance,
        })
        .collect())
}

/// Moves all features until `params.count` of them have crossed, and returns those, the closest first.
fn walk(features: &Features, step: &Step<'_>, params: &CrossingParams) -> Vec<Walker> {
    let mut walking: Vec<Walker> = (0..features.n)
        .map(|row| Walker {
            feature: row as u32,
            lead: 0.0,
            crossed: None,
            vector: features.row(row).to_vec(),
        })
        .collect();
    let mut crossed: Vec<Walker> = Vec::new();
    for number in 0..=params.max_steps as u32 {
        walking.par_chunks_mut(BLOCK).for_each(|block| {
            step.take(block, |walker, lead, own| {
                if number == 0 {
                    walker.lead = lead;
                }
                if !own {
                    walker.crossed = Some(number);
                }
                own
            });
        });
        for walker in walking.extract_if(.., |walker| walker.crossed.is_some()) {
            // What the classifier got wrong from the start is not on this side of the boundary.
            if number > 0 {
                crossed.push(walker);
            }
        }
        if crossed.len() >= params.count || walking.is_empty() {
            break;
        }
    }
    crossed.sort_by(|a, b| {
        let steps = a.crossed.cmp(&b.crossed);
        steps
            .then(a.lead.total_cmp(&b.lead))
            .then(a.feature.cmp(&b.feature))
    });
    crossed.truncate(params.count);
    crossed
}
