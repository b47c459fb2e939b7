//! RankFeat: without the largest singular value of the maps.

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::{Albums, Lens, NETWORK, NetworkError, NetworkFitted, NetworkScore};
use crate::ood::score::softmax::log_sum_exp_of;
use crate::ood::score::{Card, Paper, Values, each_row};

/// The energy of the mean of two logits: those after the largest singular value and its vectors were taken
/// from the last stage's map, and those after they were taken from the map before it, which goes through the
/// rest.
///
/// The vectors are found by power iteration to the precision of `f64`, from a start that depends on the map
/// alone (the authors and OpenOOD: a decomposition, or twenty steps from a random start). A map of zeros
/// stays as it is. pytorch-ood takes one map.
#[derive(Clone, Copy, Debug)]
pub struct RankFeat;

static CARD: Card = Card {
    name: "rankfeat",
    paper: Paper {
        title: "RankFeat: Rank-1 Feature Removal for Out-of-distribution Detection",
        venue: "NeurIPS 2022",
        url: "https://arxiv.org/abs/2209.08590",
    },
    formula: "logsumexp((f4 + f3) / 2), f_i the logits with X_i - s u v' for the map X_i of stage i, s its \
              largest singular value",
    needs: NETWORK,
    hyperparameters: &[],
};

/// Steps of the power iteration at the most.
const STEPS: usize = 1000;

struct Removed;

impl NetworkFitted for Removed {
    fn score(&self, lens: &Lens<'_>, x: &Tensor) -> Result<Vec<f32>, NetworkError> {
        let (inner, last) = (lens.inner(), lens.last_stage());
        let maps = inner.maps(x, last)?;
        let logits = |stage: usize| {
            let map = without_largest(&maps[stage])?;
            lens.logits_of(&inner.after(stage, &map)?)
        };
        let (a, b) = (logits(last)?, logits(last - 1)?);
        let (a, b) = (
            a.rows("logits without the largest of stage 4")?,
            b.rows("logits without that of stage 3")?,
        );
        Ok(each_row(a.len(), |row| {
            let pairs = a.row(row).iter().zip(b.row(row));
            let means: Vec<f64> = pairs
                .map(|(a, b)| (f64::from(*a) + f64::from(*b)) / 2.0)
                .collect();
            log_sum_exp_of(&means)
        }))
    }
}

/// Takes `s u v'` from each picture's map, as a matrix `[channels, pixels]`.
fn without_largest(map: &Tensor) -> Result<Tensor, NetworkError> {
    let (_, channels, h, w) = map.dims4()?;
    let mut numbers: Vec<f32> = map.flatten_all()?.to_vec1()?;
    let pixels = h * w;
    numbers.par_chunks_mut(channels * pixels).for_each(|matrix| {
        let wide: Vec<f64> = matrix.iter().map(|x| f64::from(*x)).collect();
        let Some(right) = largest(&wide, pixels) else {
            return;
        };
        for (row, out) in wide.chunks_exact(pixels).zip(matrix.chunks_exact_mut(pixels)) {
            // The row's part along v: s u_row.
            let part: f64 = row.iter().zip(&right).map(|(x, v)| x * v).sum();
            for ((out, x), v) in out.iter_mut().zip(row).zip(&right) {
                *out = (x - part * v) as f32;
            }
        }
    });
    Ok(Tensor::from_vec(numbers, map.shape(), &Device::Cpu)?.to_device(map.device())?)
}

/// The right singular vector of the largest singular value of a matrix with rows of `width`; none of a matrix
/// of zeros.
fn largest(matrix: &[f64], width: usize) -> Option<Vec<f64>> {
    let mut v = vec![0.0; width];
    for row in matrix.chunks_exact(width) {
        v.iter_mut().zip(row).for_each(|(v, x)| *v += x.abs());
    }
    unit(&mut v)?;
    for _ in 0..STEPS {
        let mut next = vec![0.0; width];
        for row in matrix.chunks_exact(width) {
            let part: f64 = row.iter().zip(&v).map(|(x, v)| x * v).sum();
            next.iter_mut().zip(row).for_each(|(next, x)| *next += part * x);
        }
        unit(&mut next)?;
        let moved = next
            .iter()
            .zip(&v)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f64::max);
        v = next;
        if moved < 1e-13 {
            break;
        }
    }
    Some(v)
}

/// Brings a vector to length 1; none of zeros.
fn unit(v: &mut [f64]) -> Option<()> {
    let length = v.iter().map(|x| x * x).sum::<f64>().sqrt();
    (length > 0.0).then(|| v.iter_mut().for_each(|x| *x /= length))
}

impl NetworkScore for RankFeat {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn fit(&self, _: &Values, _: &Lens<'_>, _: &Albums<'_>) -> Result<Box<dyn NetworkFitted>, NetworkError> {
        Ok(Box::new(Removed))
    }
}
