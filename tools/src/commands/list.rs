//! `dream ls`.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use dream_ood::ask::State;
use dream_ood::query::runs_batch;
use dream_ood::stage::{STAGES, import, nearest_name};
use dream_ood::store::Readable;
use dream_schema::{Run, RunId, Table};

use super::Verdict;
use crate::globals::{Format, Globals};
use crate::host;
use crate::output;
use crate::session::{Session, Usage};

/// Lists the runs, oldest first.
///
/// A run that is not finished is `running` if its process is alive, `interrupted` if it has ended (the same
/// command goes on from there), `unknown` if it is on another machine, `partial` if rows of it were lost (the
/// same command makes it from the beginning).
#[derive(Debug, clap::Args)]
pub struct Ls {
    /// Only runs of this stage
    #[arg(long)]
    stage: Option<String>,
    /// Only runs of this status: running, interrupted, unknown, finished, failed or partial
    #[arg(long)]
    status: Option<String>,
}

impl Ls {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        if let Some(status) = &self.status
            && State::from_name(status).is_none()
        {
            let words = State::ALL.map(State::name).join(", ");
            return Err(Usage(format!("--status {status}: expected one of {words}")).into());
        }
        let session = Session::reading(globals)?;
        let (mut runs, _) = session.store.legible_runs()?;
        let stages = || STAGES.iter().copied().chain([import::NAME]);
        if let Some(stage) = &self.stage
            && !stages().any(|known| known == stage)
            && !runs.iter().any(|run| run.spec.stage == *stage)
        {
            let known = stages().map(str::to_owned);
            let known = known.chain(runs.iter().map(|run| run.spec.stage.clone()));
            return Err(Usage(format!("--stage {stage}: {}", unknown_stage(stage, known))).into());
        }
        runs.retain(|r| self.stage.as_ref().is_none_or(|s| *s == r.spec.stage));
        let host = host::name();
        runs.retain(|r| {
            self.status
                .as_ref()
                .is_none_or(|s| s == State::of(r, &host).name())
        });
        let verdict = session.say_damaged()?;
        if globals.format != Format::Table {
            output::batch(globals.format, batch(&runs, &session.store.aliases()?)?)?;
            return Ok(verdict);
        }
        let aliases = session.store.aliases()?;
        let mut rows = vec![["run", "stage", "status", "seconds", "rows", "alias"].map(str::to_owned)];
        for run in &runs {
            let alias: Vec<&str> = aliases
                .iter()
                .filter(|(_, id)| *id == run.id)
                .map(|(a, _)| a.as_str())
                .collect();
            rows.push([
                format!("{:.12}", run.id.to_string()),
                run.spec.stage.clone(),
                State::of(run, &host).name().to_owned(),
                seconds(run),
                session.store_rows(run)?,
                alias.join(" "),
            ]);
        }
        output::columns(&rows)?;
        Ok(verdict)
    }
}

/// Says that there is no such stage, and which are like it.
fn unknown_stage(stage: &str, known: impl Iterator<Item = String>) -> String {
    let mut known: Vec<String> = known.collect();
    known.sort_unstable();
    known.dedup();
    match nearest_name(stage, known.iter().cloned()) {
        Some(near) => format!("there is no such stage; did you mean `{near}`?"),
        None => format!("there is no such stage; there are {}", known.join(", ")),
    }
}

/// Returns runs as a table: that of SQL, and what can be seen of their processes from here.
pub fn batch(runs: &[Run], aliases: &[(String, RunId)]) -> Result<RecordBatch> {
    let stored = runs_batch(runs, aliases)?;
    let host = host::name();
    let states = || runs.iter().map(|run| State::of(run, &host));
    let words: ArrayRef = Arc::new(StringArray::from_iter_values(states().map(State::name)));
    let alive: ArrayRef = Arc::new(BooleanArray::from_iter(states().map(State::is_alive)));
    let mut fields = stored.schema().fields().to_vec();
    fields.push(Arc::new(Field::new("state", DataType::Utf8, false)));
    fields.push(Arc::new(Field::new("alive", DataType::Boolean, true)));
    let columns = [stored.columns(), &[words, alive]].concat();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

impl Session<'_> {
    /// Returns what a run holds: "2000 outliers", by table.
    pub fn store_rows(&self, run: &Run) -> Result<String> {
        let mut parts = Vec::new();
        for table in Table::ALL {
            let count = self.store.count(run.id, table)?;
            if count > 0 {
                parts.push(format!("{count} {table}"));
            }
        }
        Ok(parts.join(", "))
    }
}

/// Returns how long a run took; of a resumed one, from its first beginning to its end.
pub fn seconds(run: &Run) -> String {
    run.finished_at.map_or(String::new(), |end| {
        format!("{:.1}", (end - run.started_at) as f64 / 1e6)
    })
}
