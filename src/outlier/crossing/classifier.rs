//! The cosine head of Eq. 2 as a classifier, and a step up its cross-entropy.
//!
//! The logits of z are cos(T_j, z)/t. With s_j = cos(T_j, z), p = softmax(s/t), g_j = p_j - [j = y], w =
//! sum_j g_j T_j/|T_j| and u = z/|z|, the gradient of the cross-entropy of class y in z is (w - (w . u) u) /
//! (t |z|).

use crate::engine::simd::{Packed, product};
use crate::outlier::error::{OutlierError, require, require_direction};
use crate::outlier::geometry::{normalised, squared_norm};

/// The classifier's weights: one unit vector a class.
pub struct Head {
    /// The weights as columns, `[m, classes]`, and as rows, `[classes, m]`.
    columns: Packed,
    rows: Packed,
    pub(super) classes: usize,
    pub(super) m: usize,
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
            require_direction("a class embedding", embedding)?;
        }
        let unit = embeddings
            .iter()
            .map(|e| normalised(e.iter().map(|v| f64::from(*v))));
        let unit: Vec<Vec<f32>> = unit.collect();
        Ok(Self {
            columns: Packed::from_columns(m, unit.len(), |class| &unit[class]),
            rows: Packed::from_rows(unit.len(), m, |class| &unit[class]),
            classes: unit.len(),
            m,
        })
    }
}

/// A feature on its way.
#[derive(Clone)]
pub(super) struct Walker {
    /// Its index in the class.
    pub(super) feature: u32,
    /// Its lead over the runner-up, as cosine, before the first step.
    pub(super) lead: f64,
    /// Steps until the classifier took it for another class; none if it has not yet.
    pub(super) crossed: Option<u32>,
    pub(super) vector: Vec<f32>,
}

/// One step up the cross-entropy of a class.
pub(super) struct Step<'a> {
    pub(super) head: &'a Head,
    pub(super) label: usize,
    pub(super) temperature: f64,
    pub(super) size: f32,
}

impl Step<'_> {
    /// Asks `moves` of every walker, with its lead over the runner-up (a cosine) and whether that is
    /// positive, and moves it by one step if so.
    pub(super) fn take(&self, block: &mut [Walker], moves: impl Fn(&mut Walker, f64, bool) -> bool) {
        let (m, classes) = (self.head.m, self.head.classes);
        let flat: Vec<f32> = block.iter().flat_map(|w| w.vector.iter().copied()).collect();
        let mut logits = vec![0.0; block.len() * classes]; // [block, classes]: T_j/|T_j| . z, then g_j
        product(&flat, &self.head.columns, 0..classes, &mut logits, classes);
        let mut moving = vec![false; block.len()];
        for ((walker, row), moving) in block
            .iter_mut()
            .zip(logits.chunks_exact_mut(classes))
            .zip(&mut moving)
        {
            let norm = squared_norm(&walker.vector).max(1e-24).sqrt();
            let cosines: Vec<f64> = row.iter().map(|v| f64::from(*v) / norm).collect();
            // The label is below the number of classes: `crossing` has checked it.
            let own = cosines[self.label];
            let others = cosines.iter().enumerate().filter(|(j, _)| *j != self.label);
            let other = others.map(|(_, s)| *s).fold(f64::NEG_INFINITY, f64::max);
            *moving = moves(walker, own - other, own > other);
            residual(&cosines, self.label, self.temperature, row);
        }
        let mut along = vec![0.0; flat.len()]; // [block, m]: w
        product(&logits, &self.head.rows, 0..m, &mut along, m);
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
