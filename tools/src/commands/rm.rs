//! `dream rm RUN...`.

use anyhow::{Result, bail};
use dream_ood::store::{Readable, Removal, Store, StoreError};
use dream_schema::RunId;
use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::Verdict;
use crate::globals::Globals;
use crate::output;
use crate::session::{self, Usage};

/// Removes runs with their rows and aliases.
///
/// Shows them; removes them only with --yes. Without it the exit code is 1. A run that others were made from
/// is refused.
#[derive(Debug, clap::Args)]
pub struct Rm {
    /// The runs: id, prefix or alias
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<String>,
    /// Removes also the runs that were made from them, directly or through others
    #[arg(long)]
    cascade: bool,
    /// Removes what is shown
    #[arg(long)]
    yes: bool,
}

impl Rm {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        let as_json = globals.as_json()?;
        let store = match self.yes {
            true => session::store_to_write(globals)?,
            false => session::store_to_read(globals)?,
        };
        let runs: Vec<RunId> = self
            .runs
            .iter()
            .map(|name| store.resolve(name))
            .collect::<Result<_, _>>()?;
        let removal = match store.removal(&runs, self.cascade) {
            Err(StoreError::InUse { run, by }) => bail!(Usage(in_use(&store, run, &by))),
            removal => removal?,
        };
        if self.yes {
            let runs: Vec<RunId> = removal.iter().map(|gone| gone.run).collect();
            store.remove(&runs)?;
        }
        match as_json {
            true => output::document(&self.json(&removal))?,
            false => self.table(&removal)?,
        }
        Ok(if self.yes { Verdict::Good } else { Verdict::Found })
    }

    fn json(&self, removal: &[Removal]) -> Value {
        let runs = removal.iter().map(|gone| {
            json!({
                "run": gone.run, "stage": gone.stage, "aliases": gone.aliases, "rows": gone.rows,
                "bytes": gone.bytes,
            })
        });
        json!({ "removed": self.yes, "runs": runs.collect::<Vec<_>>() })
    }

    fn table(&self, removal: &[Removal]) -> Result<()> {
        let mut rows = vec![["run", "stage", "rows", "size", "alias"].map(str::to_owned)];
        for gone in removal {
            rows.push([
                gone.run.to_string(),
                gone.stage
                    .clone()
                    .unwrap_or_else(|| "(record damaged)".to_owned()),
                gone.rows.to_string(),
                HumanBytes(gone.bytes).to_string(),
                gone.aliases.join(" "),
            ]);
        }
        output::columns(&rows)?;
        let count: u64 = removal.iter().map(|gone| gone.rows).sum();
        let bytes = HumanBytes(removal.iter().map(|gone| gone.bytes).sum());
        let what = format!("{} runs with {count} rows ({bytes})", removal.len());
        match self.yes {
            true => out!("{what} removed; `dream gc --yes` frees their blobs and makes the file shorter"),
            false => out!("nothing was removed: {what} would be, with --yes"),
        }
    }
}

/// Says which runs were made from one that is to be removed.
fn in_use(store: &Store, run: RunId, by: &[RunId]) -> String {
    let name = |run: &RunId| {
        let stage = store.run(*run).map(|run| run.spec.stage).unwrap_or_default();
        match store.alias_of(*run).ok().flatten() {
            Some(alias) => format!("{run} ({stage}, {alias})"),
            None => format!("{run} ({stage})"),
        }
    };
    let by: Vec<String> = by.iter().map(name).collect();
    format!(
        "nothing was removed: from run {run} were made {}; `dream rm {run} --cascade` takes these too",
        by.join(", ")
    )
}
