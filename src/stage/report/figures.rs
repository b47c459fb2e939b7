//! The figures of a report, from the rows of its runs.

use std::collections::{BTreeMap, BTreeSet};

use dream_schema::{ClassEmbedding, Feature, Image, Metric, Outlier, OutlierKind, Run};

use super::shown::Shown;
use crate::bitmap::Bitmap;
use crate::exchange;
use crate::ood::Detection;
use crate::report::{
    Average, ClassSheet, Curve, DetectionRow, DetectionTable, Mark, Picture, PointGroup, Projection,
    ScoreHistogram, ScoreSeries, pca2,
};
use crate::stage::compare::Over;
use crate::stage::evaluate::{Draws, Group, StoredScores};
use crate::stage::metric::MetricName;
use crate::stage::training::Training;
use crate::stage::{ImageSource, Role, Source, StageError, compare, detect, embed, encode, params};
use crate::store::{Readable, Store};

/// Pictures of each kind that a class shows.
const PICTURES: usize = 12;
/// The score whose distributions are drawn.
const ENERGY: &str = "energy";
/// Points of each kind that a class shows in the projection.
const POINTS: usize = 200;

pub(super) fn pictures(store: &Store, of: &Shown<'_>) -> Result<Vec<ClassSheet>, StageError> {
    let Some(space) = of.space else {
        return Ok(Vec::new());
    };
    let real = real_pictures(store, of.encoder)?;
    let mut sheets = Vec::new();
    for class in store.rows::<ClassEmbedding>(space.id, None)? {
        sheets.push(ClassSheet {
            real: real.get(&class.class_id).cloned().unwrap_or_default(),
            inliers: stored_pictures(store, of.plain, class.class_id)?,
            outliers: stored_pictures(store, of.imagined, class.class_id)?,
            class_name: class.class_name,
        });
    }
    Ok(sheets)
}

/// Returns the first training images of each class, as the network sees them.
fn real_pictures(store: &Store, encoder: Option<&Run>) -> Result<BTreeMap<u32, Vec<Picture>>, StageError> {
    let mut real: BTreeMap<u32, Vec<Picture>> = BTreeMap::new();
    let Some(encoder) = encoder.filter(|run| run.spec.stage == encode::NAME) else {
        return Ok(real);
    };
    let training: Training = params::<encode::Params>(encoder)?.training;
    let source = ImageSource::find(store, encoder, &Role::Images)?;
    let (images, preparation) = (source.open_images(&training.split)?, training.preparation());
    for (i, label) in images.labels().unwrap_or_default().iter().enumerate() {
        let of_class = real.entry(*label).or_default();
        if of_class.len() < PICTURES {
            let caption = format!("{} {i}", training.split);
            let bitmap = Bitmap {
                width: preparation.width,
                height: preparation.height,
                rgb: images.read(&[i], &preparation)?,
            };
            of_class.push(Picture { bitmap, caption });
        }
    }
    Ok(real)
}

/// Returns pictures of a class, evenly from all: by the distances of their vectors, where these are known.
fn stored_pictures(store: &Store, run: Option<&Run>, class: u32) -> Result<Vec<Picture>, StageError> {
    let Some(run) = run else { return Ok(Vec::new()) };
    let mut rows: Vec<Image> = store.rows(run.id, Some(class))?;
    let outliers: Vec<Outlier> = match Role::Outliers.input_of(run) {
        Some(sampled) => store.rows(sampled, Some(class))?,
        None => Vec::new(),
    };
    let distances: BTreeMap<i64, f32> = outliers
        .iter()
        .filter_map(|row| Some((row.index as i64, row.knn_distance?)))
        .collect();
    let distance = |row: &Image| distances.get(&row.outlier?).copied();
    let far = |row: &Image| distance(row).unwrap_or(f32::INFINITY);
    rows.sort_by(|a, b| far(a).total_cmp(&far(b)));
    let shown = rows.len().min(PICTURES);
    let picture = |i: usize| {
        let row = &rows[i * rows.len() / shown];
        let bitmap = exchange::decode_png(&row.png)?.bitmap;
        let caption = match (row.outlier, distance(row)) {
            (Some(outlier), Some(distance)) => {
                format!("{}, outlier {outlier}, distance {distance:.3}", row.index)
            }
            (Some(outlier), None) => format!("{}, outlier {outlier}", row.index),
            (None, _) => row.index.to_string(),
        };
        Ok(Picture { bitmap, caption })
    };
    (0..shown).map(picture).collect()
}

pub(super) fn projection(store: &Store, of: &Shown<'_>) -> Result<Option<Projection>, StageError> {
    let (Some(space), Some(encoder)) = (of.space, of.encoder) else {
        return Ok(None);
    };
    let mut parts: Vec<(Mark, String, Vec<f32>)> = Vec::new();
    let mut width = 0;
    for class in store.rows::<ClassEmbedding>(space.id, None)? {
        width = class.vector.len();
        let features: Vec<Feature> = store.rows(encoder.id, Some(class.class_id))?;
        parts.push((
            Mark::Feature,
            class.class_name.clone(),
            spread(&features, |f| &f.vector),
        ));
        if let Some(sampled) = of.sampled {
            let outliers: Vec<Outlier> = store.rows(sampled.id, Some(class.class_id))?;
            let inside = outliers.iter().any(|row| row.kind == OutlierKind::Inlier);
            parts.push((
                if inside { Mark::Inlier } else { Mark::Outlier },
                class.class_name.clone(),
                unit(spread(&outliers, |o| &o.vector), width),
            ));
        }
        parts.push((
            Mark::ClassEmbedding,
            class.class_name.clone(),
            unit(class.vector, width),
        ));
    }
    let features: Vec<f32> = parts
        .iter()
        .filter(|p| matches!(p.0, Mark::Feature))
        .flat_map(|p| p.2.iter().copied())
        .collect();
    let basis = pca2(&features, width)?;
    let group = |(mark, class_name, vectors): (Mark, String, Vec<f32>)| {
        Ok(PointGroup {
            mark,
            class_name,
            points: basis.project(&vectors)?,
        })
    };
    Ok(Some(Projection {
        groups: parts.into_iter().map(group).collect::<Result<_, StageError>>()?,
        explained: basis.explained,
        note: format!(
            "All vectors scaled to length 1; axes from the ID features; at most {POINTS} of a kind and \
             class. {}.",
            of.say_vectors(store)?
        ),
    }))
}

/// Returns at most [`POINTS`] vectors, evenly from all rows, as one slice.
fn spread<R>(rows: &[R], vector: impl Fn(&R) -> &Vec<f32>) -> Vec<f32> {
    let shown = rows.len().min(POINTS);
    (0..shown)
        .flat_map(|i| vector(&rows[i * rows.len() / shown]).iter().copied())
        .collect()
}

fn unit(mut vectors: Vec<f32>, width: usize) -> Vec<f32> {
    for vector in vectors.chunks_mut(width.max(1)) {
        let norm = embed::norm(vector);
        vector.iter_mut().for_each(|v| *v /= norm);
    }
    vectors
}

/// Returns a table of the networks of each way to draw subsets: their numbers do not compare.
pub(super) fn tables(networks: &[compare::Network]) -> Vec<DetectionTable> {
    let mut ways: Vec<Option<Draws>> = Vec::new();
    for network in networks {
        if !ways.contains(&network.draws) {
            ways.push(network.draws);
        }
    }
    let of_way = |way: &Option<Draws>| {
        let own: Vec<_> = networks.iter().filter(|network| network.draws == *way).collect();
        table(&own)
    };
    ways.iter().filter_map(of_way).collect()
}

fn table(networks: &[&compare::Network]) -> Option<DetectionTable> {
    let first = networks.first()?;
    let sets: BTreeSet<Over> = networks.iter().flat_map(|network| network.columns()).collect();
    let sets: Vec<Over> = sets.into_iter().filter(|over| over.set.is_some()).collect();
    let among = |of: &dyn Fn(Option<Group>) -> bool| -> Vec<usize> {
        (0..sets.len()).filter(|place| of(sets[*place].group)).collect()
    };
    let mut averages = vec![Average {
        name: "Average".to_owned(),
        sets: among(&|group| group != Some(Group::Shifted)),
    }];
    averages.extend(Group::ALL.map(|group| {
        Average {
            name: Over {
                group: Some(group),
                set: None,
            }
            .to_string(),
            sets: among(&|of| of == Some(group)),
        }
    }));
    averages.retain(|average| !average.sets.is_empty() && sets.len() > 1);
    let shifted: BTreeSet<&Over> = networks
        .iter()
        .flat_map(|network| network.shifted.keys())
        .collect();
    let mut rows = Vec::new();
    for network in networks {
        for score in network.scores() {
            let value = |set: &Over, metric: MetricName, seed: usize| {
                let key = (score.clone(), set.clone(), metric);
                network
                    .metrics
                    .get(&key)
                    .and_then(|values| values.get(seed))
                    .copied()
                    .unwrap_or(f64::NAN)
            };
            let cell = |set: &Over| {
                let seeds = 0..network.seeds.len();
                let detection = |seed| Detection {
                    fpr95: value(set, MetricName::Fpr95, seed),
                    auroc: value(set, MetricName::Auroc, seed),
                    aupr_in: value(set, MetricName::AuprIn, seed),
                    aupr_out: value(set, MetricName::AuprOut, seed),
                };
                seeds.map(detection).collect()
            };
            rows.push(DetectionRow {
                network: network.name.clone(),
                score: score.clone(),
                id_accuracy: network.accuracy.clone(),
                shifted_accuracy: shifted
                    .iter()
                    .map(|over| network.shifted.get(over).cloned().unwrap_or_default())
                    .collect(),
                cells: sets.iter().map(cell).collect(),
            });
        }
    }
    let mut convention = first.convention.name().to_owned();
    if first.full_spectrum {
        convention.push_str(&format!("; {}", compare::FULL_SPECTRUM));
    }
    if let Some(draws) = first.draws {
        let Draws {
            repeats, id_per_ood, ..
        } = draws;
        convention.push_str(&format!(
            "; one OOD image for {id_per_ood} ID images, drawn {repeats} times over"
        ));
        let whole: BTreeSet<&str> = networks
            .iter()
            .flat_map(|network| network.drawn_whole.iter().map(String::as_str))
            .collect();
        if !whole.is_empty() {
            let whole = Vec::from_iter(whole).join(", ");
            convention.push_str(&format!("; every draw from {whole} is all images"));
        }
    }
    let chosen = networks.iter().flat_map(|network| {
        let labels: BTreeSet<&str> = network.chosen.iter().map(|(_, label)| label.as_str()).collect();
        labels
            .into_iter()
            .map(|label| format!("{} {label}", network.name))
    });
    Some(DetectionTable {
        convention,
        chosen: chosen.collect(),
        shifted: shifted.iter().map(ToString::to_string).collect(),
        datasets: sets.iter().map(Over::to_string).collect(),
        averages,
        rows,
    })
}

/// Returns histograms of the energy, or of the first score where there is none, for the first seed of each
/// network.
pub(super) fn histograms(
    store: &Store,
    networks: &[compare::Network],
) -> Result<Vec<ScoreHistogram>, StageError> {
    let mut all = Vec::new();
    for network in networks {
        let Some(evaluation) = network.evaluations.first() else {
            continue;
        };
        let stored = StoredScores::load(store, &store.run(*evaluation)?)?;
        let place = stored
            .scores
            .iter()
            .position(|score| score == ENERGY)
            .unwrap_or(0);
        let series = |name: &str, values: Vec<f32>| ScoreSeries {
            dataset: name.to_owned(),
            values,
        };
        let others = stored
            .others()
            .map(|set| series(&set.name, set.values[place].clone()));
        all.push(ScoreHistogram {
            score: format!("{}, {} network", stored.scores[place], network.name),
            ood: others.collect(),
            id: series(&network.id, stored.id(place)),
            imagined: None,
        });
    }
    Ok(all)
}

pub(super) fn curves(store: &Store, runs: &[Run]) -> Result<Vec<Curve>, StageError> {
    let mut curves = Vec::new();
    for run in runs
        .iter()
        .filter(|r| [encode::NAME, detect::NAME].contains(&r.spec.stage.as_str()))
    {
        let label = match run.spec.params.get("outlier") {
            Some(outlier) if !outlier.is_null() => "detect with outliers",
            Some(_) => "detect plain",
            None => run.spec.stage.as_str(),
        };
        let mut of_metric: BTreeMap<String, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
        for metric in store.rows::<Metric>(run.id, None)? {
            if let Some(epoch) = metric.epoch {
                let (epochs, values) = of_metric.entry(metric.name).or_default();
                epochs.push(f64::from(epoch + 1));
                values.push(metric.value);
            }
        }
        let curve = |(metric, (epochs, values))| Curve {
            metric,
            run: label.to_owned(),
            epochs,
            values,
        };
        curves.extend(of_metric.into_iter().map(curve));
    }
    Ok(curves)
}
