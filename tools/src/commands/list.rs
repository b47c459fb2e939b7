//! `dream ls`.

use anyhow::Result;
use dream_ood::query::runs_batch;
use dream_ood::store::Readable;
use dream_schema::{Run, Table};

use super::Verdict;
use crate::args::{Args, Format};
use crate::output;
use crate::session::Session;

/// Lists the runs, oldest first.
#[derive(Debug, clap::Args)]
pub struct Ls {
    /// Only runs of this stage
    #[arg(long)]
    stage: Option<String>,
    /// Only runs of this status: running, finished or failed
    #[arg(long)]
    status: Option<String>,
}

impl Ls {
    pub fn execute(&self, args: &Args) -> Result<Verdict> {
        let session = Session::reading(args)?;
        let mut runs = session.store.runs()?;
        runs.retain(|r| self.stage.as_ref().is_none_or(|s| *s == r.spec.stage));
        runs.retain(|r| self.status.as_ref().is_none_or(|s| s == r.status.as_str()));
        if args.format != Format::Table {
            output::batch(args.format, runs_batch(&runs, &session.store.aliases()?)?)?;
            return Ok(Verdict::Good);
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
                run.status.to_string(),
                seconds(run),
                session.store_rows(run)?,
                alias.join(" "),
            ]);
        }
        output::columns(&rows)?;
        Ok(Verdict::Good)
    }
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
