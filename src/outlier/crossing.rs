//! Features moved across the decision boundary of their class, after BOOD (Liao et al., "BOOD: Boundary-based Out-Of-Distribution
//! Data Generation", ICML 2025): the features that lie closest to the boundary, perturbed until the classifier takes them for
//! another class, and a few steps further.
//!
//! The classifier is the cosine head of Eq. 2: the logits of z are cos(T_j, z)/t. With s_j = cos(T_j, z), p = softmax(s/t),
//! g_j = p_j - [j = y], w = sum_j g_j T_j/|T_j| and u = z/|z|, the gradient of the cross-entropy of class y in z is
//! (w - (w . u) u) / (t |z|). A step moves every coordinate by `step` along its sign. The distance of a feature to the boundary
//! is the number of steps that it takes; features that the classifier already takes for another class are left out.

use super::boundary::neighbours;
use super::error::{OutlierError, require};
use super::geometry::{Features, Vectors, normalised, product, squared_norm};
use super::params::{Sampled, shortest};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

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
        let sizes = [
            ("count", self.count),
            ("max_steps", self.max_steps),
            ("k", self.k),
        ];
        for (what, value) in sizes {
            require(
                (1..=u32::MAX as usize).contains(&value),
                what,
                "at least 1",
                value,
            )?;
        }
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

/// The classifier's weights: one unit vector a class.
pub struct Head {
    /// `[classes, m]`.
    unit: Vec<f32>,
    classes: usize,
    m: usize,
}

impl Head {
    /// Takes the class embeddings T(y), in the order of the labels; they are normalised inside.
    ///
    /// # Errors
    /// Fewer than two classes, embeddings of different widths, zero or not finite.
    pub fn new(embeddings: &[&[f32]]) -> Result<Self, OutlierError> {
        let m = embeddings.first().map_or(0, |e| e.len());
        require(
            embeddings.len() >= 2,
            "the number of classes",
            "at least 2: one class has no decision boundary",
            embeddings.len(),
        )?;
        for embedding in embeddings {
            require(
                embedding.len() == m,
                "the width of a class embedding",
                m.to_string(),
                embedding.len(),
            )?;
            let usable = embedding.iter().all(|v| v.is_finite()) && embedding.iter().any(|v| *v != 0.0);
            require(
                usable,
                "a class embedding",
                "finite and not zero",
                "something else",
            )?;
        }
        let unit = embeddings
            .iter()
            .map(|e| normalised(e.iter().map(|v| f64::from(*v))));
        Ok(Self {
            classes: embeddings.len(),
            unit: unit.flatten().collect(),
            m,
        })
    }
}

/// A feature on its way.
#[derive(Clone)]
struct Walker {
    /// Its index in the class.
    feature: u32,
    /// Its lead over the runner-up, as cosine, before the first step.
    lead: f64,
    /// Steps until the classifier took it for another class; none if it has not yet.
    crossed: Option<u32>,
    vector: Vec<f32>,
}

/// Returns a vector across the decision boundary for each of the `params.count` features of a class that take the fewest steps
/// there (among equals those with the smaller lead at the start, then the lower index), in that order.
///
/// `features` is `[n, m]`, those of the class with the number `label` in `head`. `anchor` is the feature that was moved, `round`
/// the number of its steps to the boundary; the k-NN distance is that of the final, normalised vector. No random number is drawn.
///
/// # Errors
/// Features that [`boundary`](super::boundary()) refuses, a parameter outside its range, a label that the head does not have, or
/// fewer than `count` features that cross within `max_steps`.
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

/// One step up the cross-entropy of a class.
struct Step<'a> {
    head: &'a Head,
    label: usize,
    temperature: f64,
    size: f32,
}

impl Step<'_> {
    /// Asks `moves` of every walker, with its lead over the runner-up (a cosine) and whether that is positive, and moves it by
    /// one step if so.
    fn take(&self, block: &mut [Walker], moves: impl Fn(&mut Walker, f64, bool) -> bool) {
        let (m, classes) = (self.head.m, self.head.classes);
        let flat: Vec<f32> = block.iter().flat_map(|w| w.vector.iter().copied()).collect();
        let mut logits = vec![0.0; block.len() * classes]; // [block, classes]: T_j/|T_j| . z, then g_j
        product(
            &flat,
            m,
            Vectors::rows(&self.head.unit, m),
            1.0,
            &mut logits,
            classes,
        );
        let mut moving = vec![false; block.len()];
        for ((walker, row), moving) in block
            .iter_mut()
            .zip(logits.chunks_exact_mut(classes))
            .zip(&mut moving)
        {
            let norm = squared_norm(&walker.vector).max(1e-24).sqrt();
            let cosines: Vec<f64> = row.iter().map(|v| f64::from(*v) / norm).collect();
            let own = cosines[self.label]; // the label is below the number of classes: `crossing` has checked it
            let others = cosines.iter().enumerate().filter(|(j, _)| *j != self.label);
            let other = others.map(|(_, s)| *s).fold(f64::NEG_INFINITY, f64::max);
            *moving = moves(walker, own - other, own > other);
            residual(&cosines, self.label, self.temperature, row);
        }
        let mut along = vec![0.0; flat.len()]; // [block, m]: w
        let columns = Vectors::columns(&self.head.unit, m, 0..m);
        product(&logits, classes, columns, 1.0, &mut along, m);
        let rows = block.iter_mut().zip(along.chunks_exact(m)).zip(moving);
        for ((walker, w), _) in rows.filter(|(_, moving)| *moving) {
            climb(&mut walker.vector, w, self.size);
        }
    }
}

/// Writes g_j = p_j - [j = label] of cosines s, p = softmax(s / t).
fn residual(cosines: &[f64], label: usize, temperature: f64, out: &mut [f32]) {
    let largest = cosines.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exps = cosines.iter().map(|s| ((s - largest) / temperature).exp());
    let exps: Vec<f64> = exps.collect();
    let sum: f64 = exps.iter().sum();
    let others: f64 = exps
        .iter()
        .enumerate()
        .filter(|(j, _)| *j != label)
        .map(|(_, e)| e)
        .sum();
    for ((j, out), e) in out.iter_mut().enumerate().zip(&exps) {
        // p_y - 1 as minus the rest, which keeps its digits where p_y is nearly 1.
        *out = if j == label { -others / sum } else { e / sum } as f32;
    }
}

/// Moves every coordinate of z by `size` along the sign of w - (w . u) u, u = z/|z|.
fn climb(z: &mut [f32], w: &[f32], size: f32) {
    let square = squared_norm(z).max(1e-24);
    let dot: f64 = w
        .iter()
        .zip(z.iter())
        .map(|(w, z)| f64::from(*w) * f64::from(*z))
        .sum();
    for (z, w) in z.iter_mut().zip(w) {
        let slope = f64::from(*w) - dot / square * f64::from(*z);
        if slope != 0.0 {
            *z += size.copysign(slope as f32);
        }
    }
}
