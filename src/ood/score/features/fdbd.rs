//! fDBD: how far the decision boundaries are.

use crate::ood::observed::same;
use crate::ood::score::linear::mean;
use crate::ood::score::softmax::argmax;
use crate::ood::score::{
    Card, Fitted, Hyperparameter, Needs, Paper, Range, Reference, Score, ScoreError, Values, each_row, fitted,
};

/// The distances from the features to the boundaries between the predicted class and the others, summed and
/// divided by how far the features are from the training mean.
///
/// A class whose weights are those of the predicted one has no boundary with it and is left out. The paper
/// takes the mean over the classes, OpenOOD the sum: the same order of pictures.
#[derive(Clone, Copy, Debug)]
pub struct Fdbd;

const FROM_MEAN: Hyperparameter = Hyperparameter {
    name: "from_mean",
    about: "1: divided by the distance from the training mean (the paper's), 0: by the norm of the features",
    range: Range::Choice(2),
    default: 1.0,
    search: &[1.0, 0.0],
};

static CARD: Card = Card {
    name: "fdbd",
    paper: Paper {
        title: "Fast Decision Boundary based Out-of-Distribution Detector",
        venue: "ICML 2024",
        url: "https://arxiv.org/abs/2312.11536",
    },
    formula: "sum over c != y of |f_y - f_c| / |w_y - w_c|, divided by |h - mu|, y = argmax f",
    needs: Needs {
        logits: true,
        head: true,
        ..Needs::TRAIN_FEATURES
    },
    hyperparameters: &[FROM_MEAN],
};

impl Score for Fdbd {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn fit(&self, values: &Values, reference: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        let from_mean = values.flag(&FROM_MEAN);
        let mean = mean(reference.train()?.features()?);
        fitted(move |observed| {
            let (features, logits) = (observed.features()?, observed.logits()?);
            let weight = observed.head()?.weight;
            same("width of the features", mean.len(), features.width())?;
            let apart = |a: usize, b: usize| {
                let pairs = weight.row(a).iter().zip(weight.row(b));
                let squares = pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
                squares.sum::<f64>().sqrt()
            };
            let classes = weight.len();
            let apart: Vec<f64> = (0..classes * classes)
                .map(|at| apart(at / classes, at % classes))
                .collect();
            Ok(each_row(features.len(), |row| {
                let f = logits.row(row);
                let predicted = argmax(f);
                let away = apart[predicted * classes..][..classes].iter().zip(f);
                let away = away.filter(|(apart, _)| **apart > 0.0);
                let sum: f64 = away
                    .map(|(apart, f_c)| (f64::from(f[predicted]) - f64::from(*f_c)) / apart)
                    .sum();
                let origin = |at: usize| if from_mean { mean[at] } else { 0.0 };
                let h = features.row(row).iter().enumerate();
                let length: f64 = h.map(|(at, x)| (f64::from(*x) - origin(at)).powi(2)).sum();
                sum / length.sqrt().max(f64::MIN_POSITIVE)
            }))
        })
    }
}
