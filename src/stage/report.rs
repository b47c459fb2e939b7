//! Gathers what a report shows: pictures, projection, tables, histograms, curves and lineage of evaluations and all they came
//! from.

use std::collections::BTreeMap;

use dream_schema::{ClassEmbedding, Feature, Image, Metric, Outlier, Run, RunId, Score, Status};

use super::training::Training;
use super::{
    Source, StageError, compare, detect, embed, encode, evaluate, imagine, input_run, lineage, params, sample,
};
use crate::exchange;
use crate::report::{
    ClassSheet, Curve, Detection, DetectionRow, DetectionTable, Lineage, Mark, Picture, PointGroup,
    Projection, Report, RunEdge, RunNode, ScoreHistogram, ScoreSeries, pca2,
};
use crate::store::Store;

/// Pictures of each kind that a class shows.
const PICTURES: usize = 12;
/// Points of each kind that a class shows in the projection.
const POINTS: usize = 200;

/// Returns the runs that a report on `run` compares: of an evaluation, all evaluations on the same sets; of another run, none.
///
/// # Errors
/// If the store cannot be read.
pub fn siblings(store: &Store, run: RunId) -> Result<Vec<RunId>, StageError> {
    let run = store.run(run)?;
    if run.spec.stage != evaluate::NAME {
        return Ok(Vec::new());
    }
    let same = |other: &Run| {
        let (a, b) = (&other.spec, &run.spec);
        other.status == Status::Finished
            && a.stage == b.stage
            && a.params == b.params
            && a.sources == b.sources
    };
    Ok(store.runs()?.iter().filter(|r| same(r)).map(|r| r.id).collect())
}

/// Gathers the report on `run`, comparing `evaluations`.
///
/// # Errors
/// If the store or an image set cannot be read.
pub fn gather(store: &Store, run: RunId, evaluations: &[RunId]) -> Result<Report, StageError> {
    let about = store.run(run)?;
    let mut runs = lineage::ancestors(store, run)?;
    for evaluation in evaluations {
        let seed = |r: &Run| r.spec.stage != detect::NAME || r.spec.seed == seed_of(&runs);
        let more = lineage::ancestors(store, *evaluation)?;
        // Other seeds are in the tables; their lineages look the same.
        if more.iter().all(seed) {
            for other in more {
                if runs.iter().all(|r| r.id != other.id) {
                    runs.push(other);
                }
            }
        }
    }
    let plain = plain_pictures(store, &runs)?;
    runs.extend(plain);
    let networks = compare::networks(store, evaluations)?;
    Ok(Report {
        title: format!("{} {:.8}", about.spec.stage, about.id.to_string()),
        subtitle: about
            .note
            .clone()
            .unwrap_or_else(|| "DREAM-OOD: outliers imagined and put to use".into()),
        facts: facts(store, &about, &runs)?,
        pictures: pictures(store, &runs)?,
        projection: projection(store, &runs)?,
        detection: tables(&networks),
        histograms: histograms(store, &networks)?,
        curves: curves(store, &runs)?,
        lineage: Some(graph(store, &runs)?),
    })
}

fn of_stage<'a>(runs: &'a [Run], stage: &'a str) -> impl Iterator<Item = &'a Run> {
    runs.iter().filter(move |r| r.spec.stage == stage)
}

fn seed_of(runs: &[Run]) -> u64 {
    of_stage(runs, detect::NAME).next().map_or(0, |r| r.spec.seed)
}

/// Returns a finished run of plain class prompts in the same space, for comparison with the outliers.
fn plain_pictures(store: &Store, runs: &[Run]) -> Result<Option<Run>, StageError> {
    let Some(space) = of_stage(runs, embed::NAME).next() else {
        return Ok(None);
    };
    let fits = |r: &Run| {
        r.spec.stage == imagine::NAME
            && r.status == Status::Finished
            && input_run(r, "outliers").is_none()
            && input_run(r, "embeddings") == Some(space.id)
            && runs.iter().all(|known| known.id != r.id)
    };
    Ok(store.runs()?.into_iter().find(fits))
}

fn facts(store: &Store, about: &Run, runs: &[Run]) -> Result<Vec<(String, String)>, StageError> {
    let seconds: f64 = runs
        .iter()
        .filter_map(|r| Some((r.finished_at? - r.started_at) as f64 / 1e6))
        .sum();
    let mut facts = vec![
        ("run".to_owned(), about.id.to_string()),
        (
            "digest".to_owned(),
            about
                .digest
                .clone()
                .unwrap_or_else(|| format!("none: {}", about.status)),
        ),
        (
            "program".to_owned(),
            format!("dream {} on {}", about.version, about.device),
        ),
        ("time of all runs shown".to_owned(), format!("{seconds:.0} s")),
    ];
    let mut sources: BTreeMap<&str, &str> = BTreeMap::new();
    runs.iter().for_each(|r| {
        sources.extend(
            r.spec
                .sources
                .iter()
                .map(|(role, digest)| (digest.as_str(), role.as_str())),
        )
    });
    for (digest, role) in sources {
        if let Ok(source) = Source::with_digest(store, role, digest) {
            facts.push((format!("source {}", source.name()), digest.to_owned()));
        }
    }
    Ok(facts)
}

fn pictures(store: &Store, runs: &[Run]) -> Result<Vec<ClassSheet>, StageError> {
    let Some(space) = of_stage(runs, embed::NAME).next() else {
        return Ok(Vec::new());
    };
    let imagined = |outliers: bool| {
        of_stage(runs, imagine::NAME)
            .find(move |r| input_run(r, "outliers").is_some() == outliers)
            .map(|r| r.id)
    };
    let real = real_pictures(store, runs)?;
    let mut sheets = Vec::new();
    for class in store.rows::<ClassEmbedding>(space.id, None)? {
        sheets.push(ClassSheet {
            real: real.get(&class.class_id).cloned().unwrap_or_default(),
            inliers: stored_pictures(store, imagined(false), class.class_id)?,
            outliers: stored_pictures(store, imagined(true), class.class_id)?,
            class_name: class.class_name,
        });
    }
    Ok(sheets)
}

/// Returns the first training images of each class, as the network sees them.
fn real_pictures(store: &Store, runs: &[Run]) -> Result<BTreeMap<u32, Vec<Picture>>, StageError> {
    let mut real: BTreeMap<u32, Vec<Picture>> = BTreeMap::new();
    let Some(encoder) = of_stage(runs, encode::NAME).next() else {
        return Ok(real);
    };
    let training: Training = params::<encode::Params>(encoder)?.training;
    let source = Source::find(store, encoder, "images")?;
    let images = source.load_images(&training.split, &training.preparation())?;
    for (i, label) in images.labels.iter().flatten().enumerate() {
        let of_class = real.entry(*label).or_default();
        if let Some(rgb) = images.image(i).filter(|_| of_class.len() < PICTURES) {
            let caption = format!("{} {i}", training.split);
            of_class.push(Picture {
                width: images.width,
                height: images.height,
                rgb: rgb.to_vec(),
                caption,
            });
        }
    }
    Ok(real)
}

fn stored_pictures(store: &Store, run: Option<RunId>, class: u32) -> Result<Vec<Picture>, StageError> {
    let Some(run) = run else { return Ok(Vec::new()) };
    let rows: Vec<Image> = store.rows(run, Some(class))?;
    let shown = rows.len().min(PICTURES);
    let picture = |i: usize| {
        let row = &rows[i * rows.len() / shown];
        let decoded = exchange::decode_png(&row.png)?;
        let caption = row.outlier.map_or_else(
            || format!("{}", row.index),
            |o| format!("{}, outlier {o}", row.index),
        );
        Ok(Picture {
            width: decoded.width as usize,
            height: decoded.height as usize,
            rgb: decoded.rgb,
            caption,
        })
    };
    (0..shown).map(picture).collect()
}

fn projection(store: &Store, runs: &[Run]) -> Result<Option<Projection>, StageError> {
    let (Some(space), Some(encoder)) = (
        of_stage(runs, embed::NAME).next(),
        of_stage(runs, encode::NAME).next(),
    ) else {
        return Ok(None);
    };
    let sampled = of_stage(runs, sample::NAME).next();
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
        if let Some(sampled) = sampled {
            let outliers: Vec<Outlier> = store.rows(sampled.id, Some(class.class_id))?;
            parts.push((
                Mark::Outlier,
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
            "All vectors scaled to length 1; axes from the ID features; at most {POINTS} of a kind and class."
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

fn tables(networks: &[compare::Network]) -> Vec<DetectionTable> {
    let Some(first) = networks.first() else {
        return Vec::new();
    };
    let datasets: Vec<String> = first.datasets();
    let mut rows = Vec::new();
    for network in networks {
        for score in network.scores() {
            let value = |set: &String, metric: &str, seed: usize| {
                let key = (score.clone(), Some(set.clone()), metric.to_owned());
                network
                    .metrics
                    .get(&key)
                    .and_then(|values| values.get(seed))
                    .copied()
                    .unwrap_or(f64::NAN)
            };
            let cell = |set: &String| {
                let seeds = 0..network.seeds.len();
                let detection = |seed| Detection {
                    fpr95: value(set, "fpr95", seed),
                    auroc: value(set, "auroc", seed),
                    aupr: value(set, "aupr_in", seed),
                };
                seeds.map(detection).collect()
            };
            rows.push(DetectionRow {
                network: network.name.clone(),
                score: score.clone(),
                id_accuracy: network.accuracy.clone(),
                cells: datasets.iter().map(cell).collect(),
            });
        }
    }
    vec![DetectionTable {
        convention: first.convention.clone(),
        datasets,
        rows,
    }]
}

/// Returns histograms of the energy, the score that every network has, for the first seed of each network.
fn histograms(store: &Store, networks: &[compare::Network]) -> Result<Vec<ScoreHistogram>, StageError> {
    let mut all = Vec::new();
    for network in networks {
        let Some(evaluation) = network.evaluations.first() else {
            continue;
        };
        let mut series: BTreeMap<String, Vec<f32>> = BTreeMap::new();
        let mut id = None;
        for row in store
            .rows::<Score>(*evaluation, None)?
            .into_iter()
            .filter(|r| r.score == "energy")
        {
            if row.label.is_some() {
                id = Some(row.dataset.clone());
            }
            series.entry(row.dataset).or_default().push(row.value);
        }
        let Some(values) = id.as_ref().and_then(|name| series.remove(name)) else {
            continue;
        };
        all.push(ScoreHistogram {
            score: format!("energy, {} network", network.name),
            id: ScoreSeries {
                dataset: id.unwrap_or_default(),
                values,
            },
            ood: series
                .into_iter()
                .map(|(dataset, values)| ScoreSeries { dataset, values })
                .collect(),
        });
    }
    Ok(all)
}

fn curves(store: &Store, runs: &[Run]) -> Result<Vec<Curve>, StageError> {
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

fn graph(store: &Store, runs: &[Run]) -> Result<Lineage, StageError> {
    let mut nodes = Vec::new();
    let mut edges = Vec::new();
    for run in runs {
        let parameters = match &run.spec.params {
            serde_json::Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), v.to_string())).collect(),
            other => vec![("params".to_owned(), other.to_string())],
        };
        nodes.push(RunNode {
            id: run.id.to_string(),
            stage: run.spec.stage.clone(),
            alias: store.alias_of(run.id)?,
            status: run.status.to_string(),
            parameters,
            duration_seconds: run.finished_at.map(|end| (end - run.started_at) as f64 / 1e6),
        });
        let edge = |i: &dream_schema::RunInput| RunEdge {
            from: i.run.to_string(),
            to: run.id.to_string(),
            role: i.role.clone(),
        };
        edges.extend(
            run.spec
                .inputs
                .iter()
                .filter(|i| runs.iter().any(|r| r.id == i.run))
                .map(edge),
        );
    }
    Ok(Lineage { nodes, edges })
}
