//! `runs`, `run_aliases`, `run_inputs`, `run_params`, `run_sources` and `datasets` as record batches. A
//! column is declared where its values are put together.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray,
    UInt64Array,
};
use arrow::datatypes::{Field, Schema, SchemaRef};
use dream_schema::{Dataset, Run, RunId};
use serde_json::{Map, Value};

use super::Result;

/// The columns of a table: their names and values.
type Columns = Vec<(&'static str, ArrayRef)>;

/// Returns the schema of `runs`. `params` and `sources` are JSON, `inputs` the runs read from, `alias` all
/// names of the run.
pub(super) fn runs_schema() -> SchemaRef {
    schema(&runs_columns(&[], &[]))
}

/// Returns the rows of `runs`. `aliases` are the names of runs; several of one run are joined by commas.
///
/// # Errors
/// If Arrow refuses, which it does not.
pub fn runs_batch(runs: &[Run], aliases: &[(String, RunId)]) -> Result<RecordBatch> {
    batch(runs_columns(runs, aliases))
}

/// Returns the schema of `run_aliases`.
pub(super) fn run_aliases_schema() -> SchemaRef {
    schema(&run_aliases_columns(&[]))
}

/// Returns the rows of `run_aliases`: the names in order, each with its run.
///
/// # Errors
/// If Arrow refuses, which it does not.
pub fn run_aliases_batch(aliases: &[(String, RunId)]) -> Result<RecordBatch> {
    batch(run_aliases_columns(aliases))
}

/// Returns the schema of `run_inputs`.
pub(super) fn run_inputs_schema() -> SchemaRef {
    schema(&run_inputs_columns(&[]))
}

/// Returns the rows of `run_inputs`: for every run, what it read from, in its order.
///
/// # Errors
/// If Arrow refuses, which it does not.
pub fn run_inputs_batch(runs: &[Run]) -> Result<RecordBatch> {
    batch(run_inputs_columns(runs))
}

/// Returns the schema of `run_params`.
pub(super) fn run_params_schema() -> SchemaRef {
    schema(&run_params_columns(&[]))
}

/// Returns the rows of `run_params`: for every run, its parameters in the order of their dotted keys
/// (`sampling.sigma`). A value is JSON; a list is one value.
///
/// # Errors
/// If Arrow refuses, which it does not.
pub fn run_params_batch(runs: &[Run]) -> Result<RecordBatch> {
    batch(run_params_columns(runs))
}

/// Returns the schema of `run_sources`.
pub(super) fn run_sources_schema() -> SchemaRef {
    schema(&run_sources_columns(&[], &[]))
}

/// Returns the rows of `run_sources`: for every run, what it read from outside the store. `dataset` is a
/// registered set, model or state dict of that digest.
///
/// # Errors
/// If Arrow refuses, which it does not.
pub fn run_sources_batch(runs: &[Run], datasets: &[Dataset]) -> Result<RecordBatch> {
    batch(run_sources_columns(runs, datasets))
}

/// Returns the schema of `datasets`. `splits` is JSON: the number of pictures of each split.
pub(super) fn datasets_schema() -> SchemaRef {
    schema(&datasets_columns(&[]))
}

/// Returns the rows of `datasets`.
///
/// # Errors
/// If Arrow refuses, which it does not.
pub fn datasets_batch(datasets: &[Dataset]) -> Result<RecordBatch> {
    batch(datasets_columns(datasets))
}

fn runs_columns(runs: &[Run], aliases: &[(String, RunId)]) -> Columns {
    let mut names: BTreeMap<RunId, Vec<&str>> = BTreeMap::new();
    for (name, run) in aliases {
        names.entry(*run).or_default().push(name);
    }
    let alias = |run: &Run| names.get(&run.id).map(|names| names.join(","));
    let inputs = |run: &Run| {
        run.spec
            .inputs
            .iter()
            .map(|input| input.run.to_string())
            .collect()
    };
    let versions = runs.iter().map(|run| i64::from(run.spec.stage_version));
    vec![
        ("run", text(runs, |run| run.id.to_string())),
        ("stage", text(runs, |run| run.spec.stage.clone())),
        ("status", text(runs, |run| run.status.to_string())),
        ("alias", optional_text(runs, alias)),
        ("params", text(runs, |run| run.spec.params.to_string())),
        (
            "seed",
            Arc::new(UInt64Array::from_iter_values(
                runs.iter().map(|run| run.spec.seed),
            )),
        ),
        ("inputs", lists(runs, inputs)),
        ("digest", optional_text(runs, |run| run.digest.clone())),
        ("started_at", times(runs, |run| Some(run.started_at))),
        ("finished_at", times(runs, |run| run.finished_at)),
        ("version", text(runs, |run| run.version.clone())),
        ("device", text(runs, |run| run.device.clone())),
        ("host", text(runs, |run| run.host.clone())),
        ("note", optional_text(runs, |run| run.note.clone())),
        ("stage_version", Arc::new(Int64Array::from_iter_values(versions))),
        ("sources", text(runs, |run| json(&run.spec.sources))),
        ("engine", optional_text(runs, |run| run.engine.clone())),
    ]
}

fn run_aliases_columns(aliases: &[(String, RunId)]) -> Columns {
    vec![
        ("run", text(aliases, |(_, run)| run.to_string())),
        ("alias", text(aliases, |(alias, _)| alias.clone())),
    ]
}

fn run_inputs_columns(runs: &[Run]) -> Columns {
    let edges: Vec<_> = runs
        .iter()
        .flat_map(|run| run.spec.inputs.iter().map(move |input| (run.id, input)))
        .collect();
    vec![
        ("run", text(&edges, |(run, _)| run.to_string())),
        ("input", text(&edges, |(_, input)| input.run.to_string())),
        ("role", text(&edges, |(_, input)| input.role.clone())),
        ("digest", text(&edges, |(_, input)| input.digest.clone())),
    ]
}

fn run_params_columns(runs: &[Run]) -> Columns {
    let mut params = Vec::new();
    for run in runs {
        let mut leaves = BTreeMap::new();
        flatten(String::new(), &run.spec.params, &mut leaves);
        params.extend(leaves.into_iter().map(|(key, value)| (run.id, key, value)));
    }
    vec![
        ("run", text(&params, |(run, ..)| run.to_string())),
        ("key", text(&params, |(_, key, _)| key.clone())),
        ("value", text(&params, |(.., value)| value.to_string())),
    ]
}

/// Gathers the values below `value`, whose key is `key`.
fn flatten<'a>(key: String, value: &'a Value, leaves: &mut BTreeMap<String, &'a Value>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (name, below) in map {
                let dotted = match key.is_empty() {
                    true => name.clone(),
                    false => format!("{key}.{name}"),
                };
                flatten(dotted, below, leaves);
            }
        }
        // A run without parameters.
        Value::Object(_) if key.is_empty() => {}
        Value::Object(_)
        | Value::Array(_)
        | Value::String(_)
        | Value::Number(_)
        | Value::Bool(_)
        | Value::Null => {
            leaves.insert(key, value);
        }
    }
}

fn run_sources_columns(runs: &[Run], datasets: &[Dataset]) -> Columns {
    let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for set in datasets {
        names.entry(&set.digest).or_default().push(&set.name);
    }
    let sources: Vec<_> = runs
        .iter()
        .flat_map(|run| {
            run.spec
                .sources
                .iter()
                .map(move |(role, digest)| (run.id, role, digest))
        })
        .collect();
    let name = |digest: &str| names.get(digest).map(|names| names.join(","));
    vec![
        ("run", text(&sources, |(run, ..)| run.to_string())),
        ("role", text(&sources, |(_, role, _)| (*role).clone())),
        ("digest", text(&sources, |(.., digest)| (*digest).clone())),
        ("dataset", optional_text(&sources, |(.., digest)| name(digest))),
    ]
}

fn datasets_columns(datasets: &[Dataset]) -> Columns {
    vec![
        ("name", text(datasets, |set| set.name.clone())),
        ("kind", text(datasets, |set| set.kind.clone())),
        ("path", text(datasets, |set| set.path.clone())),
        ("tokenizer", optional_text(datasets, |set| set.tokenizer.clone())),
        ("digest", text(datasets, |set| set.digest.clone())),
        ("splits", text(datasets, |set| json(&set.splits))),
        ("classes", lists(datasets, |set| set.classes.clone())),
    ]
}

fn schema(columns: &Columns) -> SchemaRef {
    let field = |(name, column): &(&str, ArrayRef)| Field::new(*name, column.data_type().clone(), true);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

fn batch(columns: Columns) -> Result<RecordBatch> {
    let schema = schema(&columns);
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    Ok(RecordBatch::try_new(schema, columns)?)
}

fn text<T>(rows: &[T], value: impl Fn(&T) -> String) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(rows.iter().map(value)))
}

fn optional_text<T>(rows: &[T], value: impl Fn(&T) -> Option<String>) -> ArrayRef {
    Arc::new(rows.iter().map(value).collect::<StringArray>())
}

fn lists<T>(rows: &[T], value: impl Fn(&T) -> Vec<String>) -> ArrayRef {
    let mut builder = ListBuilder::new(StringBuilder::new());
    for row in rows {
        builder.append_value(value(row).into_iter().map(Some));
    }
    Arc::new(builder.finish())
}

fn times<T>(rows: &[T], micros: impl Fn(&T) -> Option<i64>) -> ArrayRef {
    let times: TimestampMicrosecondArray = rows.iter().map(micros).collect();
    Arc::new(times.with_timezone("UTC"))
}

fn json<V: Clone + Into<Value>>(map: &BTreeMap<String, V>) -> String {
    let map: Map<_, _> = map
        .iter()
        .map(|(key, value)| (key.clone(), value.clone().into()))
        .collect();
    Value::Object(map).to_string()
}
