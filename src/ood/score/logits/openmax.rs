//! OpenMax.

use super::weibull::Weibull;
use crate::ood::observed::same;
use crate::ood::score::softmax::{argmax, log_sum_exp_of};
use crate::ood::score::{
    Card, Fitted, Hyperparameter, Needs, Paper, Range, Reference, Score, ScoreError, Values, each_row, fitted,
};

/// OpenMax: the probability of "unknown", negated.
///
/// A class's mean logits are those of its correctly classified training pictures, and a Weibull distribution
/// is fitted to the largest distances from it (as libMR does). The logits of the likeliest classes are
/// lowered by how improbable the picture's distance is, and what was taken away is the logit of "unknown".
///
/// A class of whose distances fewer than two differ, or that has no correctly classified picture, is never
/// lowered. OpenOOD computes the softmax without a shift, which overflows from logits of 709 on; in
/// pytorch-ood the distance to a class as which no picture of the scored batch is predicted is 0, so that its
/// scores depend on the batch.
#[derive(Clone, Copy, Debug)]
pub struct OpenMax;

const TAIL: Hyperparameter = Hyperparameter {
    name: "tail",
    about: "number of largest distances that the Weibull distribution is fitted to",
    range: Range::Whole(2),
    default: 20.0,
    search: &[20.0],
};
const ALPHA: Hyperparameter = Hyperparameter {
    name: "alpha",
    about: "number of likeliest classes whose logits are lowered",
    range: Range::Whole(1),
    default: 3.0,
    search: &[3.0],
};

static CARD: Card = Card {
    name: "openmax",
    paper: Paper {
        title: "Towards Open Set Deep Networks",
        venue: "CVPR 2016",
        url: "https://arxiv.org/abs/1511.06233",
    },
    formula: "-softmax(f', u)_u, f'_c = f_c (1 - w_c omega_c), u = sum_c (f_c - f'_c), w_c the Weibull \
              probability of the distance to the class's mean logits, omega_c = (alpha + 1 - rank) / alpha",
    needs: Needs {
        train: true,
        labels: true,
        ..Needs::LOGITS
    },
    hyperparameters: &[TAIL, ALPHA],
};

struct Class {
    mean: Vec<f64>,
    weibull: Weibull,
}

impl Score for OpenMax {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn fit(&self, values: &Values, reference: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        let (tail, alpha) = (values.whole(&TAIL), values.whole(&ALPHA));
        let train = reference.train()?;
        let (logits, labels) = (train.logits()?, train.labels()?);
        let count = logits.width();
        let mut right = vec![Vec::new(); count];
        for (row, label) in logits.iter().zip(labels) {
            if argmax(row) == *label as usize {
                right[*label as usize].push(row);
            }
        }
        let classes: Vec<Option<Class>> = right.iter().map(|rows| class(rows, count, tail)).collect();
        fitted(move |observed| {
            let logits = observed.logits()?;
            same("classes", count, logits.width())?;
            Ok(each_row(logits.len(), |row| {
                -unknown(logits.row(row), &classes, alpha)
            }))
        })
    }
}

/// Mean logits and Weibull distribution of a class with these correctly classified `rows`.
fn class(rows: &[&[f32]], width: usize, tail: usize) -> Option<Class> {
    let mut mean = vec![0.0; width];
    for row in rows {
        mean.iter_mut()
            .zip(*row)
            .for_each(|(sum, x)| *sum += f64::from(*x));
    }
    mean.iter_mut().for_each(|sum| *sum /= rows.len() as f64);
    let distances = rows.iter().map(|row| distance(&mean, row)).collect();
    let weibull = Weibull::of_largest(distances, tail)?;
    Some(Class { mean, weibull })
}

fn distance(mean: &[f64], row: &[f32]) -> f64 {
    let squares = mean.iter().zip(row).map(|(m, x)| (m - f64::from(*x)).powi(2));
    squares.sum::<f64>().sqrt()
}

/// The probability of "unknown".
fn unknown(row: &[f32], classes: &[Option<Class>], alpha: usize) -> f64 {
    let mut ranked: Vec<usize> = (0..row.len()).collect();
    ranked.sort_by(|a, b| row[*b].total_cmp(&row[*a]));
    let mut lowered: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
    let mut taken = 0.0;
    for (rank, at) in ranked.iter().take(alpha).enumerate() {
        if let Some(class) = &classes[*at] {
            let omega = (alpha - rank) as f64 / alpha as f64;
            let lost = lowered[*at] * class.weibull.below(distance(&class.mean, row)) * omega;
            lowered[*at] -= lost;
            taken += lost;
        }
    }
    lowered.push(taken);
    (taken - log_sum_exp_of(&lowered)).exp()
}
