//! Gathers what a report shows: pictures, projection, tables, histograms, curves and lineage of evaluations
//! and all they came from.

mod distances;
mod figures;
mod rated;
mod shown;

use std::collections::BTreeMap;

use dream_schema::{Run, RunId, Status, Table};

use super::evaluate::TestedSet;
use super::source::with_digest;
use super::{Role, StageError, compare, detect, evaluate, imagine, import, lineage};
use crate::report::{Lineage, Report, RunEdge, RunNode};
use crate::store::{Readable, Store};
use shown::Shown;

/// Returns the runs that a report on `run` compares: of an evaluation, all evaluations of the same sets in
/// the same groups, by the same convention, and with shifted sets on the same side; of another run, none.
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
            && (&a.stage, a.stage_version) == (&b.stage, b.stage_version)
            && a.sources == b.sources
    };
    let mut found = Vec::new();
    for other in store.runs()?.iter().filter(|other| same(other)) {
        if other.id == run.id || is_comparable(store, other, &run)? {
            found.push(other.id);
        }
    }
    Ok(found)
}

/// Says whether two evaluations measured the same images in the same way.
fn is_comparable(store: &Store, one: &Run, other: &Run) -> Result<bool, StageError> {
    let way = |run: &Run| {
        let convention = evaluate::convention(run)?;
        Ok::<_, StageError>((convention, evaluate::full_spectrum(run)?, evaluate::groups(run)?))
    };
    if way(one)? != way(other)? {
        return Ok(false);
    }
    let (sets, others) = (evaluate::sets(store, one)?, evaluate::sets(store, other)?);
    let is_same = |(a, b): (&TestedSet, &TestedSet)| a.is_known_as(b);
    if !sets.keys().eq(others.keys()) || !sets.values().zip(others.values()).all(is_same) {
        return Ok(false);
    }
    // Names alone do not say that another program looked at the same images.
    let is_imported = sets.values().any(|set| set.digest.is_none());
    Ok(!is_imported || evaluate::images(store, one)? == evaluate::images(store, other)?)
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
            add(&mut runs, more);
        }
    }
    let networks = compare::networks(store, evaluations)?;
    let mut measured = Vec::new();
    for network in &networks {
        if let Some(evaluation) = network.evaluations.first() {
            let evaluation = store.run(*evaluation)?;
            let rated = rated::rated(store, &evaluation)?;
            for rated in &rated {
                add(&mut runs, lineage::ancestors(store, rated.run.id)?);
            }
            measured.push((network, evaluation, rated));
        }
    }
    let plain = plain_pictures(store, &runs)?;
    runs.extend(plain);
    let shown = Shown::of(store, &runs)?;
    Ok(Report {
        title: format!("{} {:.8}", about.spec.stage, about.id.to_string()),
        subtitle: about
            .note
            .clone()
            .unwrap_or_else(|| "DREAM-OOD: outliers imagined and put to use".into()),
        facts: facts(store, &about, &runs)?,
        pictures: figures::pictures(store, &shown)?,
        pictures_of: shown.say_pictures(store, &runs)?,
        projection: figures::projection(store, &shown)?,
        detection: figures::tables(&networks),
        histograms: figures::histograms(store, &networks)?,
        distances: distances::distances(store, &runs, &measured)?,
        curves: figures::curves(store, &runs)?,
        lineage: Some(graph(store, &runs)?),
    })
}

/// Adds runs that are not there yet.
fn add(runs: &mut Vec<Run>, more: Vec<Run>) {
    for run in more {
        if runs.iter().all(|known| known.id != run.id) {
            runs.push(run);
        }
    }
}

fn of_stage<'a>(runs: &'a [Run], stage: &'a str) -> impl Iterator<Item = &'a Run> + Clone {
    runs.iter().filter(move |r| r.spec.stage == stage)
}

/// Returns the runs of `stage`, and the imports that stand for them: those of `table`.
fn giving<'a>(runs: &'a [Run], stage: &'a str, table: Table) -> impl Iterator<Item = &'a Run> + Clone {
    let gives = move |run: &&Run| {
        let Run { spec, .. } = run;
        let is_import = || spec.stage == import::NAME;
        spec.stage == stage || is_import() && !import::is_of_another(&spec.stage, &spec.params, table)
    };
    runs.iter().filter(gives)
}

fn seed_of(runs: &[Run]) -> u64 {
    of_stage(runs, detect::NAME).next().map_or(0, |r| r.spec.seed)
}

/// Returns a finished run of plain class prompts in the space of the pictures, for comparison with the
/// outliers, where none is among the runs.
fn plain_pictures(store: &Store, runs: &[Run]) -> Result<Option<Run>, StageError> {
    let shown = Shown::of(store, runs)?;
    let (Some(space), None) = (shown.space, shown.plain) else {
        return Ok(None);
    };
    for run in store.runs()? {
        let fits = run.spec.stage == imagine::NAME
            && run.status == Status::Finished
            && Role::Embeddings.input_of(&run) == Some(space.id)
            && runs.iter().all(|known| known.id != run.id);
        if fits && shown::is_plain(&run)? {
            return Ok(Some(run));
        }
    }
    Ok(None)
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
    let mut sources: BTreeMap<&str, (&str, Option<&str>)> = BTreeMap::new();
    for spec in runs.iter().map(|run| &run.spec) {
        for (role, digest) in &spec.sources {
            let name = spec.source_names.get(role).map(String::as_str);
            sources.insert(digest, (role, name));
        }
    }
    for (digest, (role, name)) in sources {
        if let Ok(source) = with_digest(store, role, digest, name) {
            facts.push((format!("source {}", source.name), digest.to_owned()));
        }
    }
    Ok(facts)
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
