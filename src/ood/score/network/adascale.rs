//! AdaSCALE: SCALE with as many features as a picture's stability allows.

use candle_core::Tensor;

use super::lens::Table;
use super::{Albums, Lens, NETWORK, NetworkError, NetworkFitted, NetworkScore};
use crate::ood::observed::Rows;
use crate::ood::score::shaped::{kept, largest, ratio};
use crate::ood::score::softmax::{argmax, log_sum_exp_of};
use crate::ood::score::{Card, Hyperparameter, Needs, Paper, Range, ScoreError, Values, each_row};

/// The energy of features that are scaled by exp(sum of all / sum of the largest), the percentile of which
/// lies between `low` and `high` by how much the features change when a few numbers of the picture do.
///
/// The change is ranked among that of validation pictures, the first 5,000 of them (OpenOOD: 5,000 at
/// random). Of `top` and `shifted` one feature at least is taken; OpenOOD rounds down to none of features
/// narrower than 100.
#[derive(Clone, Copy, Debug)]
pub struct AdaScaleA;

/// The same, scaling the logits by the square of that ratio.
#[derive(Clone, Copy, Debug)]
pub struct AdaScaleL;

/// Pictures that changes are ranked among.
const PICTURES: usize = 5000;
/// What is added to the numbers of a picture that are changed, as the network takes them.
const CHANGE: f32 = 0.5;

const LOW: Hyperparameter = Hyperparameter {
    name: "low",
    about: "the percentile of a picture whose features change most; below `high`",
    range: Range::Percent,
    default: 75.0,
    search: &[60.0, 65.0, 70.0, 75.0, 80.0, 85.0, 90.0, 95.0],
};
const HIGH: Hyperparameter = Hyperparameter {
    name: "high",
    about: "the percentile of a picture whose features change least",
    range: Range::Percent,
    default: 85.0,
    search: &[65.0, 70.0, 75.0, 80.0, 85.0, 90.0, 95.0, 99.0],
};
const TOP: Hyperparameter = Hyperparameter {
    name: "top",
    about: "percentage of the largest features that are summed after the change (k1)",
    range: Range::Percent,
    default: 5.0,
    search: &[5.0],
};
const SHIFTED: Hyperparameter = Hyperparameter {
    name: "shifted",
    about: "percentage of the largest features whose change is summed (k2)",
    range: Range::Percent,
    default: 1.0,
    search: &[1.0],
};
const LAMBDA: Hyperparameter = Hyperparameter {
    name: "lambda",
    about: "weight of that change",
    range: Range::NotNegative,
    default: 10.0,
    search: &[10.0],
};
const CHANGED: Hyperparameter = Hyperparameter {
    name: "changed",
    about: "share of a picture's numbers that are changed, those of the smallest gradient (o)",
    range: Range::Share,
    default: 0.05,
    search: &[0.05],
};
const HYPERPARAMETERS: &[Hyperparameter] = &[LOW, HIGH, TOP, SHIFTED, LAMBDA, CHANGED];

const PAPER: Paper = Paper {
    title: "AdaSCALE: Adaptive Scaling for OOD Detection",
    venue: "2025 (arXiv)",
    url: "https://arxiv.org/abs/2503.08023",
};
const NEEDS: Needs = Needs {
    validation: true,
    ..NETWORK
};

static A: Card = Card {
    name: "adascale_a",
    paper: PAPER,
    formula: "logsumexp(W h e^s + b), s = sum(relu h) / sum(largest of relu h), \
              their percentile by how stable h is",
    needs: NEEDS,
    hyperparameters: HYPERPARAMETERS,
};
static L: Card = Card {
    name: "adascale_l",
    paper: PAPER,
    formula: "logsumexp(f s^2), s as of adascale_a",
    needs: NEEDS,
    hyperparameters: HYPERPARAMETERS,
};

#[derive(Clone, Copy)]
enum Scaled {
    Features,
    Logits,
}

/// What a picture's change is measured by.
struct Measure {
    top: f64,
    shifted: f64,
    lambda: f64,
    changed: f64,
}

struct AdaScale {
    scaled: Scaled,
    measure: Measure,
    /// Changes of the validation pictures, in rising order.
    known: Vec<f64>,
    range: [f64; 2],
}

impl Measure {
    /// Returns the features of pictures, and how much each's change.
    fn of(&self, lens: &Lens<'_>, x: &Tensor) -> Result<(Table, Vec<f64>), NetworkError> {
        // The gradient of the largest logit.
        let weights = |features: &Tensor| {
            let logits = lens.logits_of(features)?;
            let rows = logits.rows("logits")?;
            Ok(rows
                .iter()
                .flat_map(|row| lens.weight(argmax(row)))
                .copied()
                .collect())
        };
        let (features, gradient) = lens.gradient(x, lens.last_stage(), weights)?;
        let numbers = x.elem_count() / x.dim(0)?;
        let count = (numbers as f64 * self.changed) as usize;
        let changed: Vec<Vec<bool>> = gradient
            .chunks_exact(numbers)
            .map(|row| smallest(row, count))
            .collect();
        let moved = lens.moved(x, |picture, _, at| {
            let slope = gradient[picture * numbers + at];
            match changed[picture][at] && slope != 0.0 {
                true => CHANGE * slope.signum(),
                false => 0.0,
            }
        })?;
        let [after, _] = lens.shown(&moved)?;
        let (h, after) = (
            features.rows("features")?,
            after.rows("features of the changed pictures")?,
        );
        let changes = (0..h.len())
            .map(|row| self.change(h.row(row), after.row(row)))
            .collect();
        Ok((features, changes))
    }

    fn change(&self, h: &[f32], after: &[f32]) -> f64 {
        let count = |percent: f64| ((h.len() as f64 * percent / 100.0) as usize).max(1);
        let top = largest(h, count(self.top)).into_iter();
        let top: f64 = top.map(|at| f64::from(after[at].max(0.0))).sum();
        let shifted = largest(h, count(self.shifted)).into_iter();
        let shifted: f64 = shifted
            .map(|at| (f64::from(h[at]) - f64::from(after[at])).abs())
            .sum();
        top + self.lambda * shifted
    }
}

/// Says which `count` numbers are the smallest by their size; of equal ones the first.
fn smallest(row: &[f32], count: usize) -> Vec<bool> {
    let negated: Vec<f32> = row.iter().map(|g| -g.abs()).collect();
    let mut chosen = vec![false; row.len()];
    if count > 0 {
        largest(&negated, count)
            .into_iter()
            .for_each(|at| chosen[at] = true);
    }
    chosen
}

impl AdaScale {
    /// The energy of a picture of which a share `stable` of the known ones change more.
    fn energy(&self, lens: &Lens<'_>, h: &[f32], stable: f64) -> f64 {
        let percent = self.range[0] + stable * (self.range[1] - self.range[0]);
        let active: Vec<f32> = h.iter().map(|x| x.max(0.0)).collect();
        let sum = |places: &mut dyn Iterator<Item = f32>| places.map(f64::from).sum::<f64>();
        let part = largest(&active, kept(active.len(), percent));
        let part = sum(&mut part.into_iter().map(|at| active[at]));
        let ratio = ratio(sum(&mut active.iter().copied()), part);
        let (features, logits) = match self.scaled {
            Scaled::Features => (ratio.exp(), 1.0),
            Scaled::Logits => (1.0, ratio * ratio),
        };
        let logit = |(class, bias): (usize, &f32)| {
            let pairs = h.iter().zip(lens.weight(class));
            let product: f64 = pairs.map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
            (product * features + f64::from(*bias)) * logits
        };
        let all: Vec<f64> = lens.bias().iter().enumerate().map(logit).collect();
        log_sum_exp_of(&all)
    }
}

impl NetworkFitted for AdaScale {
    fn score(&self, lens: &Lens<'_>, x: &Tensor) -> Result<Vec<f32>, NetworkError> {
        let (features, changes) = self.measure.of(lens, x)?;
        let features: Rows<'_> = features.rows("features")?;
        Ok(each_row(features.len(), |row| {
            let below = self.known.partition_point(|known| *known <= changes[row]);
            let stable = 1.0 - below as f64 / self.known.len() as f64;
            self.energy(lens, features.row(row), stable)
        }))
    }
}

/// The lowest and the highest percentile.
fn range(values: &Values) -> Result<[f64; 2], ScoreError> {
    let [low, high] = [&LOW, &HIGH].map(|of| values.get(of));
    match low >= high {
        true => Err(ScoreError::Range {
            name: LOW.name,
            expected: format!("less than `{}`, which is {high}", HIGH.name),
            actual: low,
        }),
        false => Ok([low, high]),
    }
}

fn fit(
    scaled: Scaled,
    values: &Values,
    lens: &Lens<'_>,
    albums: &Albums<'_>,
) -> Result<Box<dyn NetworkFitted>, NetworkError> {
    let range = range(values)?;
    let measure = Measure {
        top: values.get(&TOP),
        shifted: values.get(&SHIFTED),
        lambda: values.get(&LAMBDA),
        changed: values.get(&CHANGED),
    };
    let album = albums.validation()?;
    let first: Vec<u32> = (0..album.len().min(PICTURES) as u32).collect();
    let mut known = Vec::new();
    album.each(&first, &mut |_, x| {
        known.extend(measure.of(lens, x)?.1);
        Ok(())
    })?;
    if known.is_empty() {
        let what = "validation pictures";
        return Err(ScoreError::Empty { what }.into());
    }
    known.sort_by(f64::total_cmp);
    Ok(Box::new(AdaScale {
        scaled,
        measure,
        known,
        range,
    }))
}

impl NetworkScore for AdaScaleA {
    fn card(&self) -> &'static Card {
        &A
    }

    fn check(&self, values: &Values) -> Result<(), ScoreError> {
        range(values).map(|_| ())
    }

    fn fit(
        &self,
        values: &Values,
        lens: &Lens<'_>,
        albums: &Albums<'_>,
    ) -> Result<Box<dyn NetworkFitted>, NetworkError> {
        fit(Scaled::Features, values, lens, albums)
    }
}

impl NetworkScore for AdaScaleL {
    fn card(&self) -> &'static Card {
        &L
    }

    fn check(&self, values: &Values) -> Result<(), ScoreError> {
        range(values).map(|_| ())
    }

    fn fit(
        &self,
        values: &Values,
        lens: &Lens<'_>,
        albums: &Albums<'_>,
    ) -> Result<Box<dyn NetworkFitted>, NetworkError> {
        fit(Scaled::Logits, values, lens, albums)
    }
}
