//! GROOD: gradients with respect to a prototype of what is OOD.

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::lens::Table;
use super::{Albums, Lens, NETWORK, NetworkError, NetworkFitted, NetworkScore, everything, labels};
use crate::ood::observed::Rows;
use crate::ood::score::features::{Bank, Largest, scan};
use crate::ood::score::linear::class_means;
use crate::ood::score::softmax::argmax;
use crate::ood::score::{Card, Hyperparameter, Needs, Paper, Range, ScoreError, Values, each_row};

/// How far the gradient of a nearest-prototype loss with respect to an OOD prototype is from that of the
/// nearest training picture that the classifier gets right, squared and negated.
///
/// Prototypes of classes are their mean features; a class without training pictures has none. The OOD
/// prototype is the mean of the features that the network makes of training pictures' maps mixed with the
/// mean map of the class that comes second to the predicted one (the paper's; OpenOOD's `use_synthetic`,
/// while its default takes OOD pictures). The gradient has a closed form, OpenOOD's `use_direct_grad`. All
/// training pictures are compared with (OpenOOD: an index that looks at four cells of many, and lacks a
/// batch).
#[derive(Clone, Copy, Debug)]
pub struct Grood;

const STAGE: Hyperparameter = Hyperparameter {
    name: "stage",
    about: "the stage behind which maps are mixed: 0 the stem, 1 to 3",
    range: Range::Choice(4),
    default: 3.0,
    search: &[1.0, 3.0],
};
const MIX: Hyperparameter = Hyperparameter {
    name: "mix",
    about: "share of the picture's own map",
    range: Range::Share,
    default: 0.5,
    search: &[0.3, 0.5, 0.8],
};
const PICTURES: Hyperparameter = Hyperparameter {
    name: "pictures",
    about: "training pictures that are mixed",
    range: Range::Whole(1),
    default: 100.0,
    search: &[10.0, 100.0, 1000.0],
};

static CARD: Card = Card {
    name: "grood",
    paper: Paper {
        title: "GROOD: GRadient-Aware Out-of-Distribution Detection",
        venue: "TMLR 2025",
        url: "https://arxiv.org/abs/2312.14427",
    },
    formula: "-min_i |g - g_i|^2, g = softmax_o(-|h - p|) (h - p_o) / |h - p_o|, p prototypes, o the OOD one",
    needs: Needs {
        train: true,
        labels: true,
        ..NETWORK
    },
    hyperparameters: &[STAGE, MIX, PICTURES],
};

/// Nearest gradients whose distances are computed exactly.
const EXACT: usize = 8;

/// Prototypes of the classes that have one, and of what is OOD.
struct Prototypes {
    classes: Vec<Vec<f64>>,
    ood: Vec<f64>,
}

impl Prototypes {
    /// The gradient of the loss with respect to the OOD prototype.
    fn gradient(&self, h: &[f32]) -> Vec<f32> {
        let away = |from: &Vec<f64>| {
            let pairs = h.iter().zip(from);
            pairs
                .map(|(h, p)| (f64::from(*h) - p).powi(2))
                .sum::<f64>()
                .sqrt()
        };
        let distance = away(&self.ood);
        // 1 / softmax of the OOD prototype's.
        let others = self.classes.iter().map(|class| (distance - away(class)).exp());
        let share = 1.0 / (1.0 + others.sum::<f64>());
        let part = |(h, p): (&f32, &f64)| ((f64::from(*h) - p) / distance.max(1e-12) * share) as f32;
        h.iter().zip(&self.ood).map(part).collect()
    }

    fn gradients(&self, rows: Rows<'_>) -> Vec<f32> {
        let all: Vec<&[f32]> = rows.iter().collect();
        let each: Vec<Vec<f32>> = all.par_iter().map(|row| self.gradient(row)).collect();
        each.concat()
    }
}

struct Nearest {
    prototypes: Prototypes,
    gradients: Vec<f32>,
    bank: Bank,
    /// Half the squared length of each.
    halves: Vec<f32>,
}

impl NetworkFitted for Nearest {
    fn score(&self, lens: &Lens<'_>, x: &Tensor) -> Result<Vec<f32>, NetworkError> {
        let [features, _] = lens.shown(x)?;
        let own = self.prototypes.gradients(features.rows("features")?);
        let width = self.bank.width();
        let distances = scan(
            [&self.bank],
            [own.as_slice()],
            || Largest::new(EXACT),
            |nearest, first, [products]| {
                let pairs = products.iter().zip(&self.halves[first..]);
                let close: Vec<f32> = pairs.map(|(product, half)| product - half).collect();
                nearest.see(first, &close);
            },
            |row, nearest| {
                let exact = nearest.into_sorted().into_iter().map(|(_, at)| {
                    let pairs = own[row * width..][..width]
                        .iter()
                        .zip(&self.gradients[at * width..]);
                    pairs
                        .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
                        .sum::<f64>()
                });
                exact.fold(f64::INFINITY, f64::min)
            },
        );
        Ok(each_row(distances.len(), |row| -distances[row]))
    }
}

/// What is kept of the training pictures: features, what they are predicted as, and the mean maps.
struct Seen {
    features: Vec<f32>,
    width: usize,
    predicted: Vec<u32>,
    /// Sums of the maps of each class, and how many there are.
    maps: Vec<(Vec<f64>, usize)>,
}

impl Seen {
    fn of(lens: &Lens<'_>, albums: &Albums<'_>, stage: usize) -> Result<Self, NetworkError> {
        let train = albums.train()?;
        let labels = labels(train)?;
        let mut seen = Self {
            features: Vec::new(),
            width: 0,
            predicted: Vec::new(),
            maps: vec![(Vec::new(), 0); lens.classes()],
        };
        train.each(&everything(train), &mut |numbers, x| {
            let map = lens.inner().maps(x, stage)?.swap_remove(stage);
            let features = lens.inner().after(stage, &map)?;
            let logits = lens.logits_of(&features)?;
            seen.predicted
                .extend(logits.rows("logits")?.iter().map(|row| argmax(row) as u32));
            let features = Table::of(&features)?;
            let rows = features.rows("features of the training pictures")?;
            seen.width = rows.width();
            seen.features.extend_from_slice(rows.values());
            let map: Vec<f32> = map.flatten_all()?.to_vec1()?;
            let size = map.len() / numbers.len();
            for (picture, map) in numbers.iter().zip(map.chunks_exact(size)) {
                let (sums, count) = &mut seen.maps[labels[*picture as usize] as usize];
                sums.resize(size, 0.0);
                sums.iter_mut()
                    .zip(map)
                    .for_each(|(sum, x)| *sum += f64::from(*x));
                *count += 1;
            }
            Ok(())
        })?;
        Ok(seen)
    }
}

/// The mean of the features of mixed maps.
fn ood_prototype(
    lens: &Lens<'_>,
    albums: &Albums<'_>,
    seen: &Seen,
    [stage, pictures]: [usize; 2],
    mix: f64,
) -> Result<Vec<f64>, NetworkError> {
    let train = albums.train()?;
    let first: Vec<u32> = (0..train.len().min(pictures) as u32).collect();
    let mut sums = vec![0.0; seen.width];
    train.each(&first, &mut |numbers, x| {
        let map = lens.inner().maps(x, stage)?.swap_remove(stage);
        let logits = lens.logits_of(&lens.inner().after(stage, &map)?)?;
        let logits = logits.rows("logits")?;
        let mut mixed: Vec<f32> = map.flatten_all()?.to_vec1()?;
        let size = mixed.len() / numbers.len();
        for (row, own) in logits.iter().zip(mixed.chunks_exact_mut(size)) {
            let (sums, count) = &seen.maps[second(row, |class| seen.maps[class].1 > 0)];
            for (own, sum) in own.iter_mut().zip(sums) {
                *own = (mix * f64::from(*own) + (1.0 - mix) * sum / *count as f64) as f32;
            }
        }
        let mixed = Tensor::from_vec(mixed, map.shape(), &Device::Cpu)?.to_device(map.device())?;
        let features = Table::of(&lens.inner().after(stage, &mixed)?)?;
        for row in features.rows("features of mixed maps")?.iter() {
            sums.iter_mut()
                .zip(row)
                .for_each(|(sum, x)| *sum += f64::from(*x));
        }
        Ok(())
    })?;
    sums.iter_mut().for_each(|sum| *sum /= first.len() as f64);
    Ok(sums)
}

/// The class with the largest logit but for the largest of all, among those that `may` be; that one where
/// there is no other.
fn second(logits: &[f32], may: impl Fn(usize) -> bool) -> usize {
    let best = argmax(logits);
    let others = (0..logits.len()).filter(|class| *class != best && may(*class));
    others
        .reduce(|a, b| if logits[b] > logits[a] { b } else { a })
        .unwrap_or(best)
}

impl NetworkScore for Grood {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn fit(
        &self,
        values: &Values,
        lens: &Lens<'_>,
        albums: &Albums<'_>,
    ) -> Result<Box<dyn NetworkFitted>, NetworkError> {
        let [stage, pictures] = [&STAGE, &PICTURES].map(|of| values.whole(of));
        let seen = Seen::of(lens, albums, stage)?;
        let labels = labels(albums.train()?)?;
        let rows = Rows::new("features of the training pictures", &seen.features, seen.width)?;
        let prototypes = Prototypes {
            classes: class_means(rows, labels, 0).into_iter().flatten().collect(),
            ood: ood_prototype(lens, albums, &seen, [stage, pictures], values.get(&MIX))?,
        };
        let right = rows.iter().zip(seen.predicted.iter().zip(labels));
        let right = right.filter(|(_, (predicted, label))| predicted == label);
        let right: Vec<f32> = right.flat_map(|(row, _)| row).copied().collect();
        if right.is_empty() {
            let (what, why) = ("training pictures", "the classifier gets none of them right");
            return Err(ScoreError::Degenerate { what, why }.into());
        }
        let gradients = prototypes.gradients(Rows::new("features", &right, seen.width)?);
        let half = |row: &[f32]| row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() as f32 / 2.0;
        Ok(Box::new(Nearest {
            prototypes,
            bank: Bank::new(&gradients, seen.width),
            halves: gradients.chunks_exact(seen.width).map(half).collect(),
            gradients,
        }))
    }
}
