//! Temperature scaling.

use crate::ood::observed::{Rows, same};
use crate::ood::score::softmax::{confidence, maximum};
use crate::ood::score::{Card, Fitted, Needs, Paper, Reference, Score, ScoreError, Values, each_row, fitted};
use rayon::prelude::*;

/// The largest softmax probability at the temperature that makes the labels of the validation pictures
/// likeliest.
///
/// The temperature is the exact minimum, found by bisection between 0.001 and 1000; it is the nearer end
/// where the minimum lies outside (all validation pictures right, or the classifier no better than chance).
/// OpenOOD and pytorch-ood stop after 50 steps of L-BFGS from 1.5, which may be short of it.
#[derive(Clone, Copy, Debug)]
pub struct Temperature;

static CARD: Card = Card {
    name: "temperature",
    paper: Paper {
        title: "On Calibration of Modern Neural Networks",
        venue: "ICML 2017",
        url: "https://arxiv.org/abs/1706.04599",
    },
    formula: "max_c softmax(f / T)_c, T the minimum of the validation set's negative log-likelihood",
    needs: Needs {
        validation: true,
        labels: true,
        ..Needs::LOGITS
    },
    hyperparameters: &[],
};

/// Halvings of the interval of ln T: beyond what an `f64` tells apart.
const HALVINGS: usize = 60;

impl Score for Temperature {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn fit(&self, _: &Values, reference: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        let validation = reference.validation()?;
        let logits = validation.logits()?;
        let classes = logits.width();
        let temperature = likeliest(logits, validation.labels()?);
        fitted(move |observed| {
            let own = observed.logits()?;
            same("classes", classes, own.width())?;
            Ok(each_row(own.len(), |row| confidence(own.row(row), temperature)))
        })
    }
}

/// The temperature under which `labels` are likeliest.
fn likeliest(logits: Rows<'_>, labels: &[u32]) -> f64 {
    let (mut cold, mut hot) = (1e-3_f64.ln(), 1e3_f64.ln());
    for _ in 0..HALVINGS {
        let middle = (cold + hot) / 2.0;
        // The likelihood has one maximum in 1 / T; its slope there is the mean logit expected less the
        // label's.
        match slope(logits, labels, middle.exp()) > 0.0 {
            true => cold = middle,
            false => hot = middle,
        }
    }
    ((cold + hot) / 2.0).exp()
}

/// The derivative of the negative log-likelihood by 1 / T, summed over the rows.
fn slope(logits: Rows<'_>, labels: &[u32], temperature: f64) -> f64 {
    let row = |(row, label): (&[f32], &u32)| {
        let max = maximum(row);
        let (mut sum, mut weighted) = (0.0, 0.0);
        for x in row {
            let above = f64::from(*x) - max;
            let e = (above / temperature).exp();
            sum += e;
            weighted += e * above;
        }
        weighted / sum - (f64::from(row[*label as usize]) - max)
    };
    let slopes: Vec<f64> = (0..labels.len())
        .into_par_iter()
        .map(|i| row((logits.row(i), &labels[i])))
        .collect();
    slopes.iter().sum()
}
