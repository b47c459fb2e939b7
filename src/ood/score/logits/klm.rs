//! KL matching.

use crate::ood::observed::same;
use crate::ood::score::softmax::{argmax, softmax};
use crate::ood::score::{Card, Fitted, Needs, Paper, Reference, Score, ScoreError, Values, each_row, fitted};

/// The negative divergence of p from the nearest class template: the mean softmax of the validation pictures
/// that were *predicted* as the class. A class that none was predicted as has no template.
///
/// OpenOOD takes such a class's unit vector for its template, from which the divergence of every p but itself
/// is infinite. Probabilities of a template are taken to be at least 2e-308, which keeps divergences finite
/// where a softmax vanishes. pytorch-ood groups the pictures by their label instead.
#[derive(Clone, Copy, Debug)]
pub struct Klm;

static CARD: Card = Card {
    name: "klm",
    paper: Paper {
        title: "Scaling Out-of-Distribution Detection for Real-World Settings",
        venue: "ICML 2022",
        url: "https://arxiv.org/abs/1911.11132",
    },
    formula: "-min_k KL(p || d_k), d_k the mean p of validation pictures predicted as k, over the classes k \
              that some are predicted as",
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
        let seen = sums.iter().zip(counts).filter(|(_, count)| *count > 0);
        let template = |(sum, count): (&Vec<f64>, usize)| {
            let mean = sum.iter().map(|p| p / count as f64);
            mean.map(|p| p.max(f64::MIN_POSITIVE).ln()).collect()
        };
        let templates: Vec<Vec<f64>> = seen.map(template).collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ood::Observed;

    /// Values are `scipy.stats.entropy`'s over the classes that some validation picture is predicted as;
    /// OpenOOD's unit vector of another class is infinitely far.
    #[test]
    fn a_class_without_a_validation_picture_draws_nothing_to_it() {
        let validation = Observed::of_logits(&[3.0, 0.0, 0.0, 2.0, 1.0, 0.0, 0.0, 3.0, 1.0], 3).unwrap();
        let reference = Reference {
            validation: Some(validation),
            ..Reference::default()
        };
        let klm = Klm.fit(&Klm.values(&[]).unwrap(), &reference).unwrap();
        // The second is sure of the class that no validation picture is predicted as.
        let scored = Observed::of_logits(&[2.5, 0.5, 0.0, 0.0, 0.0, 12.0], 3).unwrap();
        let found = klm.score(&scored).unwrap();
        for (found, expected) in found.iter().zip([-0.005024086, -2.169680128]) {
            assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} {expected}");
        }
    }
}
