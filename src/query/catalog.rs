//! `runs`, `run_inputs` and `datasets` as record batches.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray,
    UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use dream_schema::{Dataset, Run, RunId};

use super::Result;

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

fn texts(name: &str) -> Field {
    Field::new(
        name,
        DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))),
        true,
    )
}

fn time(name: &str) -> Field {
    let utc = Some("UTC".into());
    Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, utc), true)
}

/// Returns the schema of `runs`. `params` and `sources` are JSON, `inputs` the runs read from, `alias` all names of the run.
pub fn runs_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        text("run"),
        text("stage"),
        text("status"),
        text("alias"),
        text("params"),
        Field::new("seed", DataType::UInt64, true),
        texts("inputs"),
        text("digest"),
        time("started_at"),
        time("finished_at"),
        text("version"),
        text("device"),
        text("host"),
        text("note"),
        Field::new("stage_version", DataType::Int64, true),
        text("sources"),
    ]))
}

/// Returns the schema of `run_inputs`.
pub fn run_inputs_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        text("run"),
        text("input"),
        text("role"),
        text("digest"),
    ]))
}

/// Returns the schema of `datasets`. `splits` is JSON: the number of pictures of each split.
pub fn datasets_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        text("name"),
        text("kind"),
        text("path"),
        text("digest"),
        text("splits"),
        texts("classes"),
    ]))
}

fn column(values: impl Iterator<Item = Option<String>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

fn lists(values: impl Iterator<Item = Vec<String>>) -> ArrayRef {
    let mut builder = ListBuilder::new(StringBuilder::new());
    for list in values {
        builder.append_value(list.into_iter().map(Some));
    }
    Arc::new(builder.finish())
}

fn times(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}

/// Returns the rows of `runs`. `aliases` are the names of runs; several of one run are joined by commas.
///
/// # Errors
/// If Arrow refuses, which it does not.
pub fn runs_batch(runs: &[Run], aliases: &[(String, RunId)]) -> Result<RecordBatch> {
    let alias = |run: &Run| {
        let names: Vec<_> = aliases.iter().filter(|(_, id)| *id == run.id).collect();
        let names: Vec<_> = names.iter().map(|(name, _)| name.as_str()).collect();
        (!names.is_empty()).then(|| names.join(","))
    };
    let sources = |run: &Run| {
        let sources = run.spec.sources.iter();
        let map: serde_json::Map<_, _> = sources.map(|(k, v)| (k.clone(), v.clone().into())).collect();
        Some(serde_json::Value::Object(map).to_string())
    };
    let inputs = |run: &Run| run.spec.inputs.iter().map(|i| i.run.to_string()).collect();
    let columns = vec![
        column(runs.iter().map(|r| Some(r.id.to_string()))),
        column(runs.iter().map(|r| Some(r.spec.stage.clone()))),
        column(runs.iter().map(|r| Some(r.status.to_string()))),
        column(runs.iter().map(alias)),
        column(runs.iter().map(|r| Some(r.spec.params.to_string()))),
        Arc::new(UInt64Array::from_iter_values(runs.iter().map(|r| r.spec.seed))),
        lists(runs.iter().map(inputs)),
        column(runs.iter().map(|r| r.digest.clone())),
        times(runs.iter().map(|r| Some(r.started_at))),
        times(runs.iter().map(|r| r.finished_at)),
        column(runs.iter().map(|r| Some(r.version.clone()))),
        column(runs.iter().map(|r| Some(r.device.clone()))),
        column(runs.iter().map(|r| Some(r.host.clone()))),
        column(runs.iter().map(|r| r.note.clone())),
        Arc::new(Int64Array::from_iter_values(
            runs.iter().map(|r| i64::from(r.spec.stage_version)),
        )),
        column(runs.iter().map(sources)),
    ];
    Ok(RecordBatch::try_new(runs_schema(), columns)?)
}

/// Returns the rows of `run_inputs`: for every run, what it read from, in its order.
///
/// # Errors
/// If Arrow refuses, which it does not.
pub fn run_inputs_batch(runs: &[Run]) -> Result<RecordBatch> {
    let edges = || {
        runs.iter()
            .flat_map(|r| r.spec.inputs.iter().map(move |i| (r.id, i)))
    };
    let columns = vec![
        column(edges().map(|(id, _)| Some(id.to_string()))),
        column(edges().map(|(_, input)| Some(input.run.to_string()))),
        column(edges().map(|(_, input)| Some(input.role.clone()))),
        column(edges().map(|(_, input)| Some(input.digest.clone()))),
    ];
    Ok(RecordBatch::try_new(run_inputs_schema(), columns)?)
}

/// Returns the rows of `datasets`.
///
/// # Errors
/// If Arrow refuses, which it does not.
pub fn datasets_batch(datasets: &[Dataset]) -> Result<RecordBatch> {
    let splits = |set: &Dataset| {
        let map: serde_json::Map<_, _> = set.splits.iter().map(|(k, v)| (k.clone(), (*v).into())).collect();
        Some(serde_json::Value::Object(map).to_string())
    };
    let columns = vec![
        column(datasets.iter().map(|d| Some(d.name.clone()))),
        column(datasets.iter().map(|d| Some(d.kind.clone()))),
        column(datasets.iter().map(|d| Some(d.path.clone()))),
        column(datasets.iter().map(|d| Some(d.digest.clone()))),
        column(datasets.iter().map(splits)),
        lists(datasets.iter().map(|d| d.classes.clone())),
    ];
    Ok(RecordBatch::try_new(datasets_schema(), columns)?)
}
