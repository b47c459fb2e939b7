//! CFOOD: how large a neighbourhood must be for enough training pictures to take the picture in.

use super::neighbours::{Bank, number, picked, scan, some, unit};
use crate::ood::observed::same;
use crate::ood::score::{
    Card, Extent, Fitted, Hyperparameter, Needs, Paper, Range, Reference, Score, ScoreError, Values,
    each_row, fitted, require_enough,
};

/// The smallest neighbourhood (a share kappa of the reference pictures) for which a share `k` of the
/// reference pictures have this picture in theirs, negated; -1 where none is large enough.
///
/// The reference pictures are a random share of the training set. Kappa takes the 230 values of OpenOOD's
/// grid, so that many scores are equal. Squared distances below 1e-6 count as zero: products in `f32` cannot
/// tell them apart.
/// Features that are all zero lie at a squared distance of 2 from all others.
#[derive(Clone, Copy, Debug)]
pub struct Cfood;

const SHARE: Hyperparameter = Hyperparameter {
    name: "share",
    about: "share of the training pictures that are references",
    range: Range::Share,
    default: 0.1,
    search: &[0.1, 0.5, 1.0],
};
const K: Hyperparameter = Hyperparameter {
    name: "k",
    about: "share of the references that must take a picture in",
    range: Range::Share,
    default: 0.01,
    search: &[0.001, 0.005, 0.01, 0.05],
};
const SEED: Hyperparameter = Hyperparameter {
    name: "seed",
    about: "which pictures are references",
    range: Range::Whole(0),
    default: 0.0,
    search: &[0.0],
};

static CARD: Card = Card {
    name: "cfood",
    paper: Paper {
        title: "CFOOD, as published with OpenOOD",
        venue: "OpenOOD v1.5 (2025)",
        url: "https://github.com/Jingkang50/OpenOOD",
    },
    formula: "-min kappa for which at least a share k of the references i have |z - z_i|^2 <= their kappa \
              n-th nearest squared distance",
    needs: Needs::TRAIN_FEATURES,
    hyperparameters: &[SHARE, K, SEED],
};

/// Shares of the references, rising.
fn grid() -> Vec<f64> {
    let line = |from: f64, to: f64, count: usize| {
        (0..count).map(move |i| from + (to - from) * i as f64 / (count - 1) as f64)
    };
    line(0.001, 0.1, 100)
        .chain(line(0.105, 0.5, 81))
        .chain(line(0.51, 0.99, 49))
        .collect()
}

fn squared_distance(product: f32) -> f32 {
    let square = 2.0 - 2.0 * product;
    if square < 1e-6 { 0.0 } else { square }
}

impl Score for Cfood {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn check(&self, values: &Values, extent: Extent) -> Result<(), ScoreError> {
        let references = extent.train.map(|pictures| number(pictures, values.get(&SHARE)));
        let why = "a neighbourhood holds another picture";
        require_enough(references, 2, "reference pictures", why)
    }

    fn fit(&self, values: &Values, reference: &Reference<'_>) -> Result<Box<dyn Fitted>, ScoreError> {
        let features = reference.train()?.features()?;
        let width = features.width();
        self.check(values, Extent::of(features))?;
        let rows = some(features.len(), values.get(&SHARE), values.whole(&SEED));
        let n = rows.len();
        let own = picked(&unit(features), width, &rows);
        let bank = Bank::new(&own, width);
        // A kappa counts where it reaches one picture farther than the one before.
        let position = |kappa: f64| (kappa * n as f64 - 1.0).max(0.0) as usize;
        let mut kappas = grid();
        kappas.dedup_by_key(|kappa| position(*kappa));
        let positions: Vec<usize> = kappas.iter().map(|kappa| position(*kappa)).collect();
        // [n][kappas], rising in each row; the nearest of all is the picture itself.
        let reach: Vec<Vec<f32>> = scan(
            [&bank],
            [&own],
            Vec::new,
            |all: &mut Vec<f32>, _, [products]| all.extend(products.iter().map(|p| squared_distance(*p))),
            |_, mut all| {
                all.sort_unstable_by(f32::total_cmp);
                positions.iter().map(|at| all[at + 1]).collect()
            },
        );
        let needed = values.get(&K);
        fitted(move |observed| {
            let features = observed.features()?;
            same("width of the features", width, features.width())?;
            let found = scan(
                [&bank],
                [&unit(features)],
                || vec![0_u32; kappas.len() + 1],
                |takers, first, [products]| {
                    for (product, reach) in products.iter().zip(&reach[first..]) {
                        let square = squared_distance(*product);
                        takers[reach.partition_point(|reach| *reach < square)] += 1;
                    }
                },
                |_, takers| {
                    let mut sum = 0;
                    let enough = takers[..kappas.len()].iter().position(|takers| {
                        sum += takers;
                        f64::from(sum) / n as f64 >= needed
                    });
                    enough.map_or(1.0, |at| kappas[at])
                },
            );
            Ok(each_row(found.len(), |row| -found[row]))
        })
    }
}
