//! ViM, and the residual that it is made of.

use crate::ood::observed::{Observed, Rows, same};
use crate::ood::score::linear::{Eigen, Matrix, covariance, norm, pseudo_inverse_times};
use crate::ood::score::softmax::{log_sum_exp, maximum};
use crate::ood::score::{
    Card, Extent, Fitted, Hyperparameter, Needs, Paper, Range, Reference, Score, ScoreError, Values,
    each_row, fitted, widened,
};

/// Virtual-logit matching: the energy less the residual, which is scaled so that over the training set it is
/// as large on average as the largest logit.
///
/// The principal space is that of the `dim` largest eigenvectors of the features' second moment about -W^+ b.
/// `dim` must be less than the width of the features: a network of width 512 takes 256, not the 512 of
/// OpenOOD's `residual`. Features that have no residual at all are refused: there is nothing to scale.
#[derive(Clone, Copy, Debug)]
pub struct Vim;

/// The norm of the part of the features outside the principal space, negated. `dim` as in [`Vim`].
///
/// The authors fit it to the training set; OpenOOD fits it to the validation set.
#[derive(Clone, Copy, Debug)]
pub struct Residual;

const DIM: Hyperparameter = Hyperparameter {
    name: "dim",
    about: "directions of the principal space, fewer than the features have",
    range: Range::Whole(0),
    default: 256.0,
    search: &[32.0, 64.0, 128.0, 256.0, 512.0, 1000.0],
};

const PAPER: Paper = Paper {
    title: "ViM: Out-Of-Distribution with Virtual-logit Matching",
    venue: "CVPR 2022",
    url: "https://arxiv.org/abs/2203.10807",
};

static VIM: Card = Card {
    name: "vim",
    paper: PAPER,
    formula: "logsumexp(f) - alpha |N'(h + W^+ b)|, N the eigenvectors beyond the `dim` largest, alpha = \
              mean max f / mean |N'(h + W^+ b)| of the training set",
    needs: Needs {
        logits: true,
        head: true,
        ..Needs::TRAIN_FEATURES
    },
    hyperparameters: &[DIM],
};

static RESIDUAL: Card = Card {
    name: "residual",
    paper: PAPER,
    formula: "-|N'(h + W^+ b)|, N the eigenvectors beyond the `dim` largest",
    needs: Needs {
        head: true,
        ..Needs::TRAIN_FEATURES
    },
    hyperparameters: &[DIM],
};

/// The part of features that lies outside the principal space.
struct Outside {
    origin: Vec<f64>,
    directions: Matrix,
}

impl Outside {
    fn check(values: &Values, extent: Extent) -> Result<(), ScoreError> {
        extent.require_features(values.whole(&DIM) + 1, "more than dim")
    }

    fn fit(train: &Observed<'_>, values: &Values) -> Result<Self, ScoreError> {
        let (features, head) = (train.features()?, train.head()?);
        let (dim, width) = (values.whole(&DIM), features.width());
        Self::check(values, Extent::of(features))?;
        let bias = widened(head.bias);
        let mut origin = pseudo_inverse_times(&widened(head.weight.values()), width, &bias)?;
        origin.iter_mut().for_each(|x| *x = -*x);
        let moment = covariance(features.len(), width, |row, out| {
            moved(features, row, &origin, out);
        });
        let directions = Eigen::of("the features' second moment", &moment, width)?.directions(dim..width);
        Ok(Self { origin, directions })
    }

    fn norms(&self, features: Rows<'_>) -> Result<Vec<f64>, ScoreError> {
        same("width of the features", self.origin.len(), features.width())?;
        let read = |row: usize, out: &mut [f64]| moved(features, row, &self.origin, out);
        Ok(self
            .directions
            .map(features.len(), read, |_, _, outside| norm(outside)))
    }
}

fn moved(features: Rows<'_>, row: usize, origin: &[f64], out: &mut [f64]) {
    for ((out, x), origin) in out.iter_mut().zip(features.row(row)).zip(origin) {
        *out = f64::from(*x) - origin;
    }
}

impl Score for Vim {
    fn card(&self) -> &'static Card {
        &VIM
    }

    fn check(&self, values: &Values, extent: Extent) -> Result<(), ScoreError> {
        Outside::check(values, extent)
    }

    fn fit(&self, values: &Values, reference: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        let train = reference.train()?;
        let logits = train.logits()?;
        let outside = Outside::fit(train, values)?;
        let residual: f64 = outside.norms(train.features()?)?.iter().sum();
        let largest: f64 = logits.iter().map(maximum).sum();
        let size: f64 = train
            .features()?
            .values()
            .iter()
            .map(|x| f64::from(x.abs()))
            .sum();
        if residual <= size * f64::EPSILON {
            return Err(ScoreError::Degenerate {
                what: "the training features",
                why: "they lie within the principal space, so that the residual is zero; take a smaller dim",
            });
        }
        let alpha = largest / residual;
        let classes = logits.width();
        fitted(move |observed| {
            let logits = observed.logits()?;
            same("classes", classes, logits.width())?;
            let norms = outside.norms(observed.features()?)?;
            Ok(each_row(norms.len(), |row| {
                log_sum_exp(logits.row(row), 1.0) - alpha * norms[row]
            }))
        })
    }
}

impl Score for Residual {
    fn card(&self) -> &'static Card {
        &RESIDUAL
    }

    fn check(&self, values: &Values, extent: Extent) -> Result<(), ScoreError> {
        Outside::check(values, extent)
    }

    fn fit(&self, values: &Values, reference: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        let outside = Outside::fit(reference.train()?, values)?;
        fitted(move |observed| {
            let norms = outside.norms(observed.features()?)?;
            Ok(each_row(norms.len(), |row| -norms[row]))
        })
    }
}
