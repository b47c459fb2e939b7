//! DICE: a last layer without its small contributions.

use super::head::{Layer, percentile};
use crate::ood::score::linear::mean;
use crate::ood::score::{
    Card, Fitted, Hyperparameter, Needs, Paper, Range, Reference, Score, ScoreError, Values, fitted,
};

/// The energy of the logits made by those weights alone whose mean contribution over the training set is
/// above a percentile of all of them.
#[derive(Clone, Copy, Debug)]
pub struct Dice;

const PERCENTILE: Hyperparameter = Hyperparameter {
    name: "percentile",
    about: "percentage of the weights that are dropped",
    range: Range::Percent,
    default: 90.0,
    search: &[10.0, 30.0, 50.0, 70.0, 90.0],
};

static CARD: Card = Card {
    name: "dice",
    paper: Paper {
        title: "DICE: Leveraging Sparsification for Out-of-Distribution Detection",
        venue: "ECCV 2022",
        url: "https://arxiv.org/abs/2111.09805",
    },
    formula: "logsumexp((W . M) h + b), M_cj = 1 where W_cj mean(h_j) is above its percentile",
    needs: Needs {
        train: true,
        ..Needs::HEAD
    },
    hyperparameters: &[PERCENTILE],
};

impl Score for Dice {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn fit(&self, values: &Values, reference: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        let train = reference.train()?;
        let (mean, head) = (mean(train.features()?), train.head()?);
        let contribution =
            |class: usize, feature: usize| f64::from(head.weight.row(class)[feature]) * mean[feature];
        let width = mean.len();
        let all = (0..head.weight.len() * width).map(|at| contribution(at / width, at % width));
        let cut = percentile(all.collect(), values.get(&PERCENTILE));
        let layer = Layer::masked(head, |class, feature| contribution(class, feature) > cut);
        fitted(move |observed| {
            layer.energy(observed.features()?, |row, out| {
                out.iter_mut().zip(row).for_each(|(out, x)| *out = f64::from(*x));
            })
        })
    }
}
