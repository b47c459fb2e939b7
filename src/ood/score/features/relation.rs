//! The neural relation graph.

use super::neighbours::{Bank, scan, unit};
use crate::ood::observed::{Rows, same};
use crate::ood::score::softmax::softmax;
use crate::ood::score::{
    Card, Fitted, Hyperparameter, Needs, Paper, Range, Reference, Score, ScoreError, Values, each_row, fitted,
};

/// The sum of the relations to all training pictures: how alike features and predictions are. Relations of up
/// to 0.03 do not count.
#[derive(Clone, Copy, Debug)]
pub struct Relation;

const POWER: Hyperparameter = Hyperparameter {
    name: "power",
    about: "exponent of a relation",
    range: Range::Whole(1),
    default: 1.0,
    search: &[1.0, 2.0, 4.0, 6.0, 8.0],
};

/// The least relation that counts.
const LEAST: f32 = 0.03;

static CARD: Card = Card {
    name: "relation",
    paper: Paper {
        title: "Neural Relation Graph: A Unified Framework for Identifying Label Noise and Outlier Data",
        venue: "NeurIPS 2023",
        url: "https://arxiv.org/abs/2301.12321",
    },
    formula: "sum over training pictures i of r_i^power where r_i = relu(z . z_i) (p . p_i) is above 0.03, \
              z = h / |h|",
    needs: Needs {
        logits: true,
        ..Needs::TRAIN_FEATURES
    },
    hyperparameters: &[POWER],
};

fn probabilities(logits: Rows<'_>) -> Vec<f32> {
    logits
        .iter()
        .flat_map(|row| softmax(row).into_iter().map(|p| p as f32))
        .collect()
}

impl Score for Relation {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn fit(&self, values: &Values, reference: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        let power = values.whole(&POWER) as i32;
        let train = reference.train()?;
        let (features, logits) = (train.features()?, train.logits()?);
        let (width, classes) = (features.width(), logits.width());
        let alike = Bank::new(&unit(features), width);
        let agree = Bank::new(&probabilities(logits), classes);
        fitted(move |observed| {
            let (features, logits) = (observed.features()?, observed.logits()?);
            same("width of the features", width, features.width())?;
            same("classes", classes, logits.width())?;
            let sums = scan(
                [&alike, &agree],
                [&unit(features), &probabilities(logits)],
                || 0.0_f64,
                |sum, _, [alike, agree]| {
                    for (alike, agree) in alike.iter().zip(agree) {
                        let relation = alike * agree; // no agreement is negative
                        if relation > LEAST {
                            *sum += match power {
                                1 => f64::from(relation),
                                _ => f64::from(relation).powi(power),
                            };
                        }
                    }
                },
                |_, sum| sum,
            );
            Ok(each_row(sums.len(), |row| sums[row]))
        })
    }
}
