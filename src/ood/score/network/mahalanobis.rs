//! Mahalanobis distances of pictures that were moved a small step first, of the features or of several
//! layers.

use candle_core::Tensor;

use super::lens::Table;
use super::{Albums, Lens, NETWORK, NetworkError, NetworkFitted, NetworkScore, everything, labels};
use crate::ood::observed::Rows;
use crate::ood::score::features::Gaussian;
use crate::ood::score::{Card, Hyperparameter, Needs, Paper, Range, ScoreError, Values, each_row};

/// Half the squared Mahalanobis distance of the features to the nearest class, negated, of pictures moved
/// towards that class.
///
/// The step is as in ODIN: divided by the standard deviation of the network's input, a gradient of zero
/// counts as positive. pytorch-ood leaves such numbers where they are, and does not divide the covariance by
/// the number of pictures. Singular covariances and classes without pictures are treated as in `mds`.
#[derive(Clone, Copy, Debug)]
pub struct Mahalanobis;

/// The same of the mean of each channel behind the stem and behind each of the network's stages, a step for
/// each, summed with weights.
///
/// The paper learns the weights by logistic regression on OOD pictures; without such they are 1. OpenOOD's
/// configuration takes the stem alone (`stage1=0:stage2=0:stage3=0:stage4=0`), and divides the step by 0.5
/// whatever the network's input.
#[derive(Clone, Copy, Debug)]
pub struct MdsEns;

const NOISE: Hyperparameter = Hyperparameter {
    name: "noise",
    about: "size of the step, of pixels between 0 and 1",
    range: Range::NotNegative,
    default: 0.0014,
    search: &[0.0, 0.0005, 0.001, 0.0014, 0.002, 0.005, 0.01],
};

const fn weight(name: &'static str) -> Hyperparameter {
    Hyperparameter {
        name,
        about: "weight of this stage's distance",
        range: Range::NotNegative,
        default: 1.0,
        search: &[1.0],
    }
}

const WEIGHTS: [Hyperparameter; 5] = [
    weight("stem"),
    weight("stage1"),
    weight("stage2"),
    weight("stage3"),
    weight("stage4"),
];

const PAPER: Paper = Paper {
    title: "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks",
    venue: "NeurIPS 2018",
    url: "https://arxiv.org/abs/1807.03888",
};

const NEEDS: Needs = Needs {
    train: true,
    labels: true,
    ..NETWORK
};

static MAHALANOBIS: Card = Card {
    name: "mahalanobis",
    paper: PAPER,
    formula: "-1/2 min_c d_c(x'), d_c = (h - mu_c)' S^+ (h - mu_c), x' = x - noise sign(grad_x of min_c d_c)",
    needs: NEEDS,
    hyperparameters: &[NOISE],
};

static MDSENS: Card = Card {
    name: "mdsens",
    paper: PAPER,
    formula: "sum over the stages of a weight times `mahalanobis` of the stage's pooled map",
    needs: NEEDS,
    hyperparameters: &[NOISE, WEIGHTS[0], WEIGHTS[1], WEIGHTS[2], WEIGHTS[3], WEIGHTS[4]],
};

/// A stage with its Gaussian and its weight.
struct Part {
    stage: usize,
    gaussian: Gaussian,
    weight: f64,
}

struct Distances {
    parts: Vec<Part>,
    noise: f32,
}

impl NetworkFitted for Distances {
    fn score(&self, lens: &Lens<'_>, x: &Tensor) -> Result<Vec<f32>, NetworkError> {
        let mut sums = vec![0.0; x.dim(0)?];
        for Part {
            stage,
            gaussian,
            weight,
        } in &self.parts
        {
            let (_, gradient) = lens.gradient(x, *stage, |rows| {
                Ok(gaussian.slopes(Table::of(rows)?.rows("pooled maps")?)?)
            })?;
            let moved = lens.against(x, &gradient, self.noise, |_, _| true)?;
            let rows = lens.pooled(&moved, &[*stage])?;
            let distances = gaussian.nearest(rows[0].rows("pooled maps of the moved pictures")?)?;
            for (sum, distance) in sums.iter_mut().zip(distances) {
                *sum -= weight * 0.5 * distance;
            }
        }
        Ok(each_row(sums.len(), |row| sums[row]))
    }
}

/// Fits a Gaussian to each of these stages with their weights.
fn fit(
    stages: &[(usize, f64)],
    noise: f64,
    lens: &Lens<'_>,
    albums: &Albums<'_>,
) -> Result<Box<dyn NetworkFitted>, NetworkError> {
    let train = albums.train()?;
    let labels = labels(train)?;
    let numbers: Vec<usize> = stages.iter().map(|(stage, _)| *stage).collect();
    let mut rows: Vec<(Vec<f32>, usize)> = vec![(Vec::new(), 0); numbers.len()];
    train.each(&everything(train), &mut |_, x| {
        for ((all, width), table) in rows.iter_mut().zip(lens.pooled(x, &numbers)?) {
            let some = table.rows("pooled maps of the training pictures")?;
            *width = some.width();
            all.extend_from_slice(some.values());
        }
        Ok(())
    })?;
    let parts = stages.iter().zip(rows).map(|((stage, weight), (rows, width))| {
        let rows = Rows::new("pooled maps of the training pictures", &rows, width)?;
        Ok(Part {
            stage: *stage,
            gaussian: Gaussian::of_classes(rows, labels)?,
            weight: *weight,
        })
    });
    Ok(Box::new(Distances {
        parts: parts.collect::<Result<_, ScoreError>>()?,
        noise: noise as f32,
    }))
}

impl NetworkScore for Mahalanobis {
    fn card(&self) -> &'static Card {
        &MAHALANOBIS
    }

    fn fit(
        &self,
        values: &Values,
        lens: &Lens<'_>,
        albums: &Albums<'_>,
    ) -> Result<Box<dyn NetworkFitted>, NetworkError> {
        fit(&[(lens.last_stage(), 1.0)], values.get(&NOISE), lens, albums)
    }
}

impl NetworkScore for MdsEns {
    fn card(&self) -> &'static Card {
        &MDSENS
    }

    fn fit(
        &self,
        values: &Values,
        lens: &Lens<'_>,
        albums: &Albums<'_>,
    ) -> Result<Box<dyn NetworkFitted>, NetworkError> {
        let weights = WEIGHTS.iter().map(|weight| values.get(weight)).enumerate();
        let there = weights.take(lens.last_stage() + 1);
        let stages: Vec<(usize, f64)> = there.filter(|(_, weight)| *weight > 0.0).collect();
        if stages.is_empty() {
            let (what, why) = ("weights of the stages", "all of them are zero");
            return Err(ScoreError::Degenerate { what, why }.into());
        }
        fit(&stages, values.get(&NOISE), lens, albums)
    }
}
