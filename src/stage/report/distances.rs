//! Distances to the nearest ID features: of the sampled vectors in the space of the class embeddings, and of
//! test images and imagined pictures in the classifier's features. They are drawn as scores, so with a minus.

use arrow::datatypes::Float32Type;
use dream_schema::columns::Columns;
use dream_schema::value::{Numbers, Value as _};
use dream_schema::{Feature, Outlier, Run, RunId, Table};

use super::giving;
use super::rated::Rated;
use super::shown::named;
use crate::outlier;
use crate::report::{ScoreHistogram, ScoreSeries};
use crate::stage::nearest::Nearest;
use crate::stage::{Role, StageError, compare, encode, sample};
use crate::store::{Projection, Readable, Store};

/// Which neighbour's distance is drawn where none is on record, as in the figures of the public code.
const K: usize = 20;
/// Images of a test set, and vectors of a class, at most, spread evenly.
const IMAGES: usize = 2000;

/// Returns the distributions: of the sampled vectors of each encoder, then of the images of each network's
/// first seed, with the pictures that it rated. One without vectors that can be told apart has no values.
pub(super) fn distances(
    store: &Store,
    runs: &[Run],
    networks: &[(&compare::Network, Run, Vec<Rated>)],
) -> Result<Vec<ScoreHistogram>, StageError> {
    let mut all = Vec::new();
    for encoder in giving(runs, encode::NAME, Table::Features) {
        all.extend(of_vectors(store, runs, encoder)?);
    }
    for (network, evaluation, rated) in networks {
        all.extend(of_images(store, &network.name, evaluation, rated)?);
    }
    Ok(all)
}

fn series(dataset: &str, distances: Vec<f32>) -> ScoreSeries {
    ScoreSeries {
        dataset: dataset.to_owned(),
        values: distances.into_iter().map(|distance| -distance).collect(),
    }
}

/// Of each ID feature without itself, and of each vector sampled from them, to the features of its class.
/// Imported vectors do not say whose they are: they are measured to all features in their space.
fn of_vectors(store: &Store, runs: &[Run], encoder: &Run) -> Result<Option<ScoreHistogram>, StageError> {
    let own = |run: &&Run| match Role::Features.input_of(run) {
        Some(features) => features == encoder.id,
        None => Role::Embeddings.input_of(run) == Role::Embeddings.input_of(encoder),
    };
    let sampled: Vec<&Run> = giving(runs, sample::NAME, Table::Outliers).filter(own).collect();
    if sampled.is_empty() {
        return Ok(None);
    }
    let mut known = Vec::new();
    let mut imagined = vec![Vec::new(); sampled.len()];
    for class in store.parts(encoder.id, Table::Features)? {
        let features: Vec<Feature> = store.rows(encoder.id, Some(class))?;
        let width = features.first().map_or(0, |row| row.vector.len());
        let bank = features.iter().flat_map(|row| row.vector.iter().copied());
        let bank: Vec<f32> = bank.collect();
        known.extend(to_nearest(&bank, &bank, width, true));
        for (run, distances) in sampled.iter().zip(&mut imagined) {
            let outliers: Vec<Outlier> = store.rows(run.id, Some(class))?;
            let shown = outliers.len().min(IMAGES);
            let vector = |i: usize| outliers[i * outliers.len() / shown].vector.iter().copied();
            let vectors: Vec<f32> = (0..shown).flat_map(vector).collect();
            distances.extend(to_nearest(&vectors, &bank, width, false));
        }
    }
    let mut ood = Vec::new();
    for (run, distances) in sampled.into_iter().zip(imagined) {
        ood.push(series(
            &format!("sampled vectors: {}", named(store, run)?),
            distances,
        ));
    }
    let of = named(store, encoder)?;
    Ok(Some(ScoreHistogram {
        score: format!(
            "embeddings: minus the distance to the {K}-th nearest ID feature of the class, of {of}"
        ),
        id: series("ID features", known),
        ood,
        imagined: None,
    }))
}

/// Returns the distances of unit vectors to the `K`-th nearest of `bank`, or to its farthest where it has
/// fewer; `own`: the queries are the bank, and none is its own neighbour. None of vectors without a
/// direction.
fn to_nearest(queries: &[f32], bank: &[f32], width: usize, own: bool) -> Vec<f32> {
    let count = bank.len().checked_div(width).unwrap_or(0);
    let k = (K + usize::from(own)).min(count);
    outlier::knn_distances(queries, bank, width, k, 0).unwrap_or_default()
}

/// What a classifier shows of the images of an evaluation.
struct Sets {
    width: usize,
    /// The ID test set: its run and features.
    id: (RunId, Vec<f32>),
    /// The OOD sets: with their names.
    ood: Vec<(String, RunId, Vec<f32>)>,
}

impl Sets {
    fn of(store: &Store, evaluation: &Run) -> Result<Option<Self>, StageError> {
        let Some(id) = Role::Id.input_of(evaluation) else {
            return Ok(None);
        };
        let Some((known, width)) = features(store, id, IMAGES)? else {
            return Ok(None);
        };
        let mut ood = Vec::new();
        for input in &evaluation.spec.inputs {
            if let Some(name) = Role::ood_name(&input.role)
                && let Some((queries, _)) =
                    features(store, input.run, IMAGES)?.filter(|(_, other)| *other == width)
            {
                ood.push((name.to_owned(), input.run, queries));
            }
        }
        Ok(Some(Self {
            width,
            id: (id, known),
            ood,
        }))
    }

    /// Returns the distribution of their distances to `others`, and to `own` of the ID test images.
    fn to(&self, score: String, own: &Nearest, others: &Nearest) -> Result<ScoreHistogram, StageError> {
        let (id, known) = &self.id;
        let ood = self.ood.iter();
        let ood = ood.map(|(name, run, queries)| Ok(series(name, others.distances(*run, queries)?)));
        Ok(ScoreHistogram {
            score,
            id: series("ID test images", own.distances(*id, known)?),
            ood: ood.collect::<Result<_, StageError>>()?,
            imagined: None,
        })
    }
}

/// Of the test images: to the training images, beside the pictures rated by that; where none are, to the ID
/// test images.
fn of_images(
    store: &Store,
    network: &str,
    evaluation: &Run,
    rated: &[Rated],
) -> Result<Vec<ScoreHistogram>, StageError> {
    let Some(sets) = Sets::of(store, evaluation)? else {
        return Ok(Vec::new());
    };
    let score = |k: usize, what: &str| {
        format!("features of the {network} network: minus the distance to the {k}-th nearest {what}")
    };
    if rated.is_empty() {
        let (id, known) = &sets.id;
        let k = K.min((known.len() / sets.width).saturating_sub(1));
        if k == 0 {
            return Ok(Vec::new());
        }
        // No test image is its own neighbour.
        let nearest = |k: usize| Nearest::of(*id, known, sets.width, k);
        let of_sets = sets.to(score(k, "ID test image"), &nearest(k + 1)?, &nearest(k)?)?;
        return Ok(vec![of_sets]);
    }
    let mut all = Vec::new();
    for alike in rated.chunk_by(|a, b| (a.train, a.k) == (b.train, b.k)) {
        let Rated { train, k, .. } = alike[0]; // no piece is empty
        let Some((bank, width)) = features(store, train, usize::MAX)? else {
            continue;
        };
        let nearest = Nearest::of(train, &bank, width, k)?;
        let of_sets = sets.to(score(k, "ID training image"), &nearest, &nearest)?;
        for rated in alike {
            let name = format!("imagined pictures: {}", named(store, &rated.pictures)?);
            all.push(ScoreHistogram {
                imagined: Some(series(&name, rated.distances(store)?)),
                ..of_sets.clone()
            });
        }
    }
    Ok(all)
}

/// Returns the features of at most so many images of a run, spread evenly, and their width; none where it
/// has none.
fn features(store: &Store, run: RunId, most: usize) -> Result<Option<(Vec<f32>, usize)>, StageError> {
    let count = store.count(run, Table::Activations)? as usize;
    let shown = count.min(most);
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
