//! Distances to the nearest ID features: of the imagined vectors in the space of the class embeddings, and of
//! test images in the classifier's features. They are drawn as scores, so with a minus.

use arrow::datatypes::Float32Type;
use dream_schema::columns::Columns;
use dream_schema::value::{Numbers, Value as _};
use dream_schema::{Feature, Outlier, Run, RunId, Table};

use super::giving;
use crate::outlier;
use crate::report::{ScoreHistogram, ScoreSeries};
use crate::stage::{Role, StageError, compare, encode, sample};
use crate::store::{Projection, Readable, Store};

/// Which neighbour's distance is drawn, as in the figures of the public code.
const K: usize = 20;
/// Images of a set, at most, spread evenly.
const IMAGES: usize = 2000;

/// Returns the distributions: of the sampled vectors, then of the test images of each network's first seed.
/// One without vectors that can be told apart has no values.
pub(super) fn distances(
    store: &Store,
    runs: &[Run],
    networks: &[compare::Network],
) -> Result<Vec<ScoreHistogram>, StageError> {
    let mut all = Vec::new();
    if let (Some(encoder), Some(sampled)) = (
        giving(runs, encode::NAME, Table::Features).next(),
        giving(runs, sample::NAME, Table::Outliers).next(),
    ) {
        all.push(of_vectors(store, encoder.id, sampled.id)?);
    }
    for network in networks {
        if let Some(evaluation) = network.evaluations.first() {
            all.extend(of_images(store, &network.name, &store.run(*evaluation)?)?);
        }
    }
    Ok(all)
}

/// Of each ID feature without itself, and of each sampled vector, to the features of its class.
fn of_vectors(store: &Store, encoder: RunId, sampled: RunId) -> Result<ScoreHistogram, StageError> {
    let (mut known, mut imagined) = (Vec::new(), Vec::new());
    for class in store.parts(encoder, Table::Features)? {
        let features: Vec<Feature> = store.rows(encoder, Some(class))?;
        let width = features.first().map_or(0, |row| row.vector.len());
        let bank: Vec<f32> = features
            .iter()
            .flat_map(|row| row.vector.iter().copied())
            .collect();
        let outliers: Vec<Outlier> = store.rows(sampled, Some(class))?;
        let shown = outliers.len().min(IMAGES);
        let vectors = (0..shown).flat_map(|i| outliers[i * outliers.len() / shown].vector.iter().copied());
        let vectors: Vec<f32> = vectors.collect();
        known.extend(to_nearest(&bank, &bank, width, true));
        imagined.extend(to_nearest(&vectors, &bank, width, false));
    }
    let series = |dataset: &str, values| ScoreSeries {
        dataset: dataset.to_owned(),
        values,
    };
    Ok(ScoreHistogram {
        score: format!("embeddings: minus the distance to the {K}th nearest ID feature of the class"),
        id: series("ID features", known),
        ood: vec![series("sampled vectors", imagined)],
    })
}

/// Of each test image to the ID test images, by the features of the classifier.
fn of_images(store: &Store, network: &str, evaluation: &Run) -> Result<Option<ScoreHistogram>, StageError> {
    let Some(id) = Role::Id.input_of(evaluation) else {
        return Ok(None);
    };
    let Some((bank, width)) = features(store, id)? else {
        return Ok(None);
    };
    let mut ood = Vec::new();
    for input in &evaluation.spec.inputs {
        let Some(name) = Role::ood_name(&input.role) else {
            continue;
        };
        if let Some((queries, _)) = features(store, input.run)?.filter(|(_, other)| *other == width) {
            ood.push(ScoreSeries {
                dataset: name.to_owned(),
                values: to_nearest(&queries, &bank, width, false),
            });
        }
    }
    Ok(Some(ScoreHistogram {
        score: format!(
            "features of the {network} network: minus the distance to the {K}th nearest ID test image"
        ),
        id: ScoreSeries {
            dataset: "ID test images".to_owned(),
            values: to_nearest(&bank, &bank, width, true),
        },
        ood,
    }))
}

/// Returns minus the distances of unit vectors to the `K`-th nearest of `bank`, or to its farthest where it
/// has fewer; `own`: the queries are the bank, and none is its own neighbour. None of vectors without a
/// direction.
fn to_nearest(queries: &[f32], bank: &[f32], width: usize, own: bool) -> Vec<f32> {
    let count = bank.len().checked_div(width).unwrap_or(0);
    let k = (K + usize::from(own)).min(count);
    let found = outlier::knn_distances(queries, bank, width, k, 0);
    found.map_or(Vec::new(), |distances| {
        distances.into_iter().map(|d| -d).collect()
    })
}

/// Returns the features of at most [`IMAGES`] images of a run, and their width; none where it has none.
fn features(store: &Store, run: RunId) -> Result<Option<(Vec<f32>, usize)>, StageError> {
    let count = store.count(run, Table::Activations)? as usize;
    let shown = count.min(IMAGES);
    let mut wanted = (0..shown).map(|i| i * count / shown).peekable();
    let (mut all, mut width, mut row) = (Vec::new(), 0, 0);
    for rows in store.blocks(Table::Activations, Some(run), None, &Projection::All)? {
        let (_, rows) = rows?;
        let columns = Columns::new(Table::Activations, &rows);
        for numbers in columns.lists::<Float32Type>("features", &Numbers::data_type(0))? {
            if wanted.next_if_eq(&row).is_some() {
                width = numbers.len();
                all.extend(numbers);
            }
            row += 1;
        }
    }
    Ok((width > 0 && all.len() == width * shown).then_some((all, width)))
}
