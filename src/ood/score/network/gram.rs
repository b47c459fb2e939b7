//! Gram: how far the correlations within the maps lie outside those of training pictures.

use candle_core::Tensor;
use rayon::prelude::*;

use super::lens::Table;
use super::{Albums, Lens, NETWORK, NetworkError, NetworkFitted, NetworkScore, labels};
use crate::nn;
use crate::ood::score::softmax::{argmax, confidence};
use crate::ood::score::{Card, Hyperparameter, Needs, Paper, Range, Values, each_row};

/// By how much the row sums of the Gram matrices of every convolution's and every ReLU's map leave the range
/// that they have in training pictures of the predicted class, for the maps to the powers 1 to `powers`;
/// summed over the layers, each divided by what is usual there, and divided by the confidence.
///
/// Ranges are taken from nine of ten training pictures of a class, what is usual from each tenth (OpenOOD and
/// pytorch-ood: a tenth at random). A layer that none of these leaves, or a class with fewer than ten
/// pictures, is divided by 1, as in pytorch-ood; OpenOOD gives NaN. A class without training pictures has the
/// range of all. pytorch-ood does not divide by the confidence, which the authors' program and OpenOOD do.
#[derive(Clone, Copy, Debug)]
pub struct Gram;

const POWERS: Hyperparameter = Hyperparameter {
    name: "powers",
    about: "the highest power of the maps",
    range: Range::Whole(1),
    default: 5.0,
    search: &[5.0],
};

static CARD: Card = Card {
    name: "gram",
    paper: Paper {
        title: "Detecting Out-of-Distribution Examples with Gram Matrices",
        venue: "ICML 2020",
        url: "https://arxiv.org/abs/1912.12510",
    },
    formula: "-sum_l d_l / E d_l / max p, d_l how far |sum_j (F^k F^k')_ij|^(1/k) of layer l's \
              map F leave [min, max]",
    needs: Needs {
        train: true,
        labels: true,
        ..NETWORK
    },
    hyperparameters: &[POWERS],
};

/// Of how many pictures of a class one is held out of the ranges.
const HELD_OUT: usize = 10;

/// The numbers of some pictures: of each those of all layers, powers and channels.
struct Numbers {
    /// `[pictures]`, of each `[layers][powers][channels]`.
    pictures: Vec<Vec<f64>>,
    /// How many of them belong to each layer.
    layers: Vec<usize>,
    logits: Table,
}

impl Numbers {
    fn of(lens: &Lens<'_>, x: &Tensor, powers: usize) -> Result<Self, NetworkError> {
        let mut pictures = vec![Vec::new(); x.dim(0)?];
        let mut layers = Vec::new();
        let features = lens.inner().each(x, &mut |map| {
            layers.push(powers * map.dim(1)?);
            add(map, powers, &mut pictures)
        })?;
        let logits = lens.logits_of(&features)?;
        Ok(Self {
            pictures,
            layers,
            logits,
        })
    }
}

/// Adds the numbers of a map `[n, channels, h, w]` to those of the pictures.
fn add(map: &Tensor, powers: usize, pictures: &mut [Vec<f64>]) -> nn::Result<()> {
    let (_, channels, h, w) = map.dims4()?;
    let numbers: Vec<f32> = map.flatten_all()?.to_vec1()?;
    let maps = numbers.par_chunks_exact(channels * h * w);
    maps.zip(pictures).for_each(|(map, out)| {
        let wide: Vec<f64> = map.iter().map(|x| f64::from(*x)).collect();
        let mut power = wide.clone();
        for k in 1..=powers {
            if k > 1 {
                power.iter_mut().zip(&wide).for_each(|(power, x)| *power *= x);
            }
            // The row sums of F F' are F times the sum of F's rows.
            let mut sums = vec![0.0; h * w];
            for row in power.chunks_exact(h * w) {
                sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
            }
            out.extend(power.chunks_exact(h * w).map(|row| {
                let product: f64 = row.iter().zip(&sums).map(|(x, sum)| x * sum).sum();
                product.signum() * product.abs().powf(1.0 / k as f64)
            }));
        }
    });
    Ok(())
}

/// The least and the largest of each number.
#[derive(Clone)]
struct Bounds(Vec<[f64; 2]>);

impl Bounds {
    fn see(&mut self, numbers: &[f64]) {
        self.0.resize(numbers.len(), [f64::INFINITY, f64::NEG_INFINITY]);
        for ([least, largest], x) in self.0.iter_mut().zip(numbers) {
            *least = least.min(*x);
            *largest = largest.max(*x);
        }
    }

    fn widen(&mut self, other: &Self) {
        self.0.resize(other.0.len(), [f64::INFINITY, f64::NEG_INFINITY]);
        for (own, other) in self.0.iter_mut().zip(&other.0) {
            *own = [own[0].min(other[0]), own[1].max(other[1])];
        }
    }

    /// By how much the numbers of each layer lie outside.
    fn deviations(&self, numbers: &[f64], layers: &[usize]) -> Vec<f64> {
        let outside = |([least, largest], x): (&[f64; 2], &f64)| {
            (least - x).max(0.0) / (least + 1e-6).abs() + (x - largest).max(0.0) / (largest + 1e-6).abs()
        };
        let mut first = 0;
        let of_layer = |count: &usize| {
            let range = first..first + count;
            first += count;
            self.0[range.clone()]
                .iter()
                .zip(&numbers[range])
                .map(outside)
                .sum()
        };
        layers.iter().map(of_layer).collect()
    }
}

struct Deviation {
    powers: usize,
    classes: Vec<Bounds>,
    /// What is usual in each layer; empty where no picture could be held out.
    usual: Vec<f64>,
}

impl NetworkFitted for Deviation {
    fn score(&self, lens: &Lens<'_>, x: &Tensor) -> Result<Vec<f32>, NetworkError> {
        let Numbers {
            pictures,
            layers,
            logits,
        } = Numbers::of(lens, x, self.powers)?;
        let logits = logits.rows("logits")?;
        Ok(each_row(pictures.len(), |picture| {
            let row = logits.row(picture);
            let deviations = self.classes[argmax(row)].deviations(&pictures[picture], &layers);
            let usual = self.usual.iter().chain(std::iter::repeat(&1.0));
            let sum: f64 = deviations.iter().zip(usual).map(|(d, usual)| d / usual).sum();
            -sum / confidence(row, 1.0)
        }))
    }
}

/// Parts pictures into those that give the ranges and each tenth of a class.
fn parted(labels: &[u32]) -> [Vec<u32>; 2] {
    let mut counts = std::collections::BTreeMap::<u32, usize>::new();
    let picture = |(picture, label): (usize, &u32)| {
        let count = counts.entry(*label).or_default();
        *count += 1;
        (picture as u32, count.is_multiple_of(HELD_OUT))
    };
    let all: Vec<(u32, bool)> = labels.iter().enumerate().map(picture).collect();
    let those = |which: bool| {
        all.iter()
            .filter(|(_, held)| *held == which)
            .map(|(at, _)| *at)
            .collect()
    };
    [those(false), those(true)]
}

impl NetworkScore for Gram {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn fit(
        &self,
        values: &Values,
        lens: &Lens<'_>,
        albums: &Albums<'_>,
    ) -> Result<Box<dyn NetworkFitted>, NetworkError> {
        let powers = values.whole(&POWERS);
        let train = albums.train()?;
        let labels = labels(train)?;
        let [ranging, held_out] = parted(labels);
        let mut classes = vec![Bounds(Vec::new()); lens.classes()];
        train.each(&ranging, &mut |numbers, x| {
            let seen = Numbers::of(lens, x, powers)?;
            for (picture, numbers) in numbers.iter().zip(&seen.pictures) {
                classes[labels[*picture as usize] as usize].see(numbers);
            }
            Ok(())
        })?;
        let mut all = Bounds(Vec::new());
        classes
            .iter()
            .filter(|class| !class.0.is_empty())
            .for_each(|class| all.widen(class));
        classes
            .iter_mut()
            .filter(|class| class.0.is_empty())
            .for_each(|class| class.widen(&all));
        let mut sums: Vec<f64> = Vec::new();
        train.each(&held_out, &mut |numbers, x| {
            let seen = Numbers::of(lens, x, powers)?;
            sums.resize(seen.layers.len(), 0.0);
            for (picture, numbers) in numbers.iter().zip(&seen.pictures) {
                let class = &classes[labels[*picture as usize] as usize];
                let deviations = class.deviations(numbers, &seen.layers);
                sums.iter_mut().zip(deviations).for_each(|(sum, d)| *sum += d);
            }
            Ok(())
        })?;
        let count = held_out.len() as f64;
        let usual = |sum: f64| if sum > 0.0 { sum / count } else { 1.0 };
        Ok(Box::new(Deviation {
            powers,
            classes,
            usual: sums.into_iter().map(usual).collect(),
        }))
    }
}
