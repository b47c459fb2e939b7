//! KL matching.

use crate::ood::observed::same;
use crate::ood::score::softmax::{argmax, softmax};
use crate::ood::score::{Card, Fitted, Needs, Paper, Reference, Score, ScoreError, Values, each_row, fitted};

/// The negative divergence of p from the nearest class template: the mean softmax of the validation pictures
/// that were *predicted* as the class, or the class's unit vector where there was none.
///
/// Probabilities of a template are taken to be at least 2e-308, which keeps every divergence finite.
/// pytorch-ood groups the pictures by their label instead.
#[derive(Clone, Copy, Debug)]
pub struct Klm;

static CARD: Card = Card {
    name: "klm",
    paper: Paper {
        title: "Scaling Out-of-Distribution Detection for Real-World Settings",
        venue: "ICML 2022",
        url: "https://arxiv.org/abs/1911.11132",
    },
    formula: "-min_k KL(p || d_k), d_k the mean p of validation pictures predicted as k",
    needs: Needs {
        validation: true,
        ..Needs::LOGITS
    },
    hyperparameters: &[],
};

impl Score for Klm {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn fit(&self, _: &Values, reference: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        let logits = reference.validation()?.logits()?;
        let classes = logits.width();
        let mut sums = vec![vec![0.0; classes]; classes];
        let mut counts = vec![0_usize; classes];
        for row in logits.iter() {
            let predicted = argmax(row);
            counts[predicted] += 1;
            let p = softmax(row);
            sums[predicted].iter_mut().zip(p).for_each(|(sum, p)| *sum += p);
        }
        let template = |(class, (mut sum, count)): (usize, (Vec<f64>, usize))| {
            match count {
                0 => sum[class] = 1.0,
                _ => sum.iter_mut().for_each(|p| *p /= count as f64),
            }
            sum.iter().map(|p| p.max(f64::MIN_POSITIVE).ln()).collect()
        };
        let templates: Vec<Vec<f64>> = sums.into_iter().zip(counts).enumerate().map(template).collect();
        fitted(move |observed| {
            let logits = observed.logits()?;
            same("classes", classes, logits.width())?;
            Ok(each_row(logits.len(), |row| {
                let p = softmax(logits.row(row));
                let own: f64 = p.iter().filter(|p| **p > 0.0).map(|p| p * p.ln()).sum();
                let cross = templates
                    .iter()
                    .map(|q| p.iter().zip(q).map(|(p, q)| p * q).sum::<f64>());
                cross.fold(f64::NEG_INFINITY, f64::max) - own
            }))
        })
    }
}
