//! Scores of pictures that were moved a small step first: ODIN, i-ODIN, and G-ODIN's step.

use candle_core::Tensor;

use super::lens::Table;
use super::{Albums, Lens, NETWORK, NetworkError, NetworkFitted, NetworkScore};
use crate::ood::score::softmax::{argmax, confidence, maximum, softmax_at};
use crate::ood::score::{Card, Hyperparameter, Paper, Range, Values, each_row};

/// The confidence at a high temperature, of pictures moved towards more of it.
///
/// Every number of a picture is moved by `noise`, in units of pixels between 0 and 1: as in the authors'
/// program the step is divided by the standard deviation of the network's input, and a gradient of zero
/// counts as positive. pytorch-ood leaves such numbers where they are.
#[derive(Clone, Copy, Debug)]
pub struct Odin;

/// ODIN, moving the one number of a picture that has the largest gradient.
#[derive(Clone, Copy, Debug)]
pub struct IOdin;

/// The largest logit of pictures moved towards more of it: the step and the score of Generalized ODIN, of a
/// classifier without its dividend head (its h is the last layer).
#[derive(Clone, Copy, Debug)]
pub struct GOdin;

const TEMPERATURE: Hyperparameter = Hyperparameter {
    name: "temperature",
    about: "divides the logits",
    range: Range::Positive,
    default: 1000.0,
    search: &[1.0, 10.0, 100.0, 1000.0],
};

const NOISE: Hyperparameter = Hyperparameter {
    name: "noise",
    about: "size of the step, of pixels between 0 and 1",
    range: Range::NotNegative,
    default: 0.0014,
    search: &[0.0014, 0.0028],
};

const GODIN_NOISE: Hyperparameter = Hyperparameter {
    default: 0.0025,
    search: &[0.0025, 0.005, 0.01, 0.02, 0.04, 0.08],
    ..NOISE
};

static ODIN: Card = Card {
    name: "odin",
    paper: Paper {
        title: "Enhancing The Reliability of Out-of-distribution Image Detection in Neural Networks",
        venue: "ICLR 2018",
        url: "https://arxiv.org/abs/1706.02690",
    },
    formula: "max softmax(f(x') / T), x' = x - noise sign(grad_x of -log softmax_y(f / T)), y = argmax f",
    needs: NETWORK,
    hyperparameters: &[TEMPERATURE, NOISE],
};

static IODIN: Card = Card {
    name: "iodin",
    paper: Paper {
        title: "Going Beyond Conventional OOD Detection",
        venue: "2024 (arXiv)",
        url: "https://arxiv.org/abs/2411.10794",
    },
    formula: "odin, with a step of the one number of x that has the largest gradient",
    needs: NETWORK,
    hyperparameters: &[TEMPERATURE, NOISE],
};

static GODIN: Card = Card {
    name: "godin",
    paper: Paper {
        title: "Generalized ODIN: Detecting Out-of-distribution Image without Learning from \
                Out-of-distribution Data",
        venue: "CVPR 2020",
        url: "https://arxiv.org/abs/2002.11297",
    },
    formula: "max f(x'), x' = x + noise sign(grad_x of max f)",
    needs: NETWORK,
    hyperparameters: &[GODIN_NOISE],
};

/// Which numbers of a picture are moved.
#[derive(Clone, Copy)]
enum Moved {
    All,
    Steepest,
}

/// What is made larger by the step, and scored.
#[derive(Clone, Copy)]
enum Aim {
    Confidence { temperature: f64 },
    Logit,
}

struct Step {
    moved: Moved,
    aim: Aim,
    noise: f32,
}

impl Step {
    /// The derivative of what is made smaller with respect to each logit of a row.
    fn slope(&self, logits: &[f32]) -> Vec<f64> {
        let best = argmax(logits);
        let mut slope = match self.aim {
            Aim::Confidence { temperature } => {
                let mut p = softmax_at(logits, temperature);
                p.iter_mut().for_each(|p| *p /= temperature);
                p
            }
            Aim::Logit => vec![0.0; logits.len()],
        };
        slope[best] -= match self.aim {
            Aim::Confidence { temperature } => 1.0 / temperature,
            Aim::Logit => 1.0,
        };
        slope
    }

    /// The same with respect to the features, row after row.
    fn slopes(&self, lens: &Lens<'_>, logits: &Table) -> Result<Vec<f32>, NetworkError> {
        let mut all = Vec::new();
        for row in logits.rows("logits")?.iter() {
            let slope = self.slope(row);
            let mut sums = vec![0.0; lens.weight(0).len()];
            for (class, slope) in slope.iter().enumerate() {
                for (sum, weight) in sums.iter_mut().zip(lens.weight(class)) {
                    *sum += slope * f64::from(*weight);
                }
            }
            all.extend(sums.into_iter().map(|sum| sum as f32));
        }
        Ok(all)
    }
}

impl NetworkFitted for Step {
    fn score(&self, lens: &Lens<'_>, x: &Tensor) -> Result<Vec<f32>, NetworkError> {
        let slopes = |features: &Tensor| self.slopes(lens, &lens.logits_of(features)?);
        let (_, gradient) = lens.gradient(x, lens.last_stage(), slopes)?;
        let moved = match self.moved {
            Moved::All => lens.against(x, &gradient, self.noise, |_, _| true)?,
            Moved::Steepest => {
                let numbers = x.elem_count() / x.dim(0)?;
                let steepest: Vec<usize> = gradient.chunks_exact(numbers).map(steepest).collect();
                lens.against(x, &gradient, self.noise, |picture, at| steepest[picture] == at)?
            }
        };
        let [_, logits] = lens.shown(&moved)?;
        let logits = logits.rows("logits of the moved pictures")?;
        Ok(each_row(logits.len(), |row| match self.aim {
            Aim::Confidence { temperature } => confidence(logits.row(row), temperature),
            Aim::Logit => maximum(logits.row(row)),
        }))
    }
}

/// The place of the largest number by its size; of equal ones the first.
fn steepest(gradient: &[f32]) -> usize {
    let sizes: Vec<f32> = gradient.iter().map(|g| g.abs()).collect();
    argmax(&sizes)
}

fn fitted(moved: Moved, aim: Aim, noise: f64) -> Result<Box<dyn NetworkFitted>, NetworkError> {
    let noise = noise as f32;
    Ok(Box::new(Step { moved, aim, noise }))
}

impl NetworkScore for Odin {
    fn card(&self) -> &'static Card {
        &ODIN
    }

    fn fit(
        &self,
        values: &Values,
        _: &Lens<'_>,
        _: &Albums<'_>,
    ) -> Result<Box<dyn NetworkFitted>, NetworkError> {
        let temperature = values.get(&TEMPERATURE);
        fitted(Moved::All, Aim::Confidence { temperature }, values.get(&NOISE))
    }
}

impl NetworkScore for IOdin {
    fn card(&self) -> &'static Card {
        &IODIN
    }

    fn fit(
        &self,
        values: &Values,
        _: &Lens<'_>,
        _: &Albums<'_>,
    ) -> Result<Box<dyn NetworkFitted>, NetworkError> {
        let temperature = values.get(&TEMPERATURE);
        fitted(
            Moved::Steepest,
            Aim::Confidence { temperature },
            values.get(&NOISE),
        )
    }
}

impl NetworkScore for GOdin {
    fn card(&self) -> &'static Card {
        &GODIN
    }

    fn fit(
        &self,
        values: &Values,
        _: &Lens<'_>,
        _: &Albums<'_>,
    ) -> Result<Box<dyn NetworkFitted>, NetworkError> {
        fitted(Moved::All, Aim::Logit, values.get(&GODIN_NOISE))
    }
}
