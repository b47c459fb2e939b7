//! `dream recover OLD -o NEW`.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use dream_ood::store::{Recovered, Store, StoreError};
use serde_json::json;

use super::Verdict;
use crate::globals::Globals;
use crate::output;
use crate::remedy::Remedy;
use crate::session::Usage;

/// Saves every run that is whole of a damaged or cut store to a new one.
///
/// Nothing is written to the old file. A finished run is saved as such only if its rows have its digest. Of
/// one that is not whole, what can be read is saved as a partial run: its command makes it from the
/// beginning, and `merge` or `repair --from` takes it from a store that has it whole. Exit code 1 if
/// something is not whole.
#[derive(Debug, clap::Args)]
pub struct Recover {
    /// The damaged store
    old: PathBuf,
    /// The new store
    #[arg(short, long, value_name = "NEW")]
    output: PathBuf,
}

impl Recover {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        let as_json = globals.as_json()?;
        let recovered = Store::recover(&self.old, &self.output).map_err(|error| match error {
            // What helps with the store of a command is what was asked for here.
            StoreError::NotAStore { .. } => anyhow!("{error}; nothing of a store was found in it"),
            StoreError::Missing { path } => Usage(format!("there is no file {}", path.display())).into(),
            other => other.into(),
        })?;
        match as_json {
            true => {
                let in_part = recovered
                    .in_part
                    .iter()
                    .map(|lost| json!({ "run": lost.run, "rows": lost.rows, "reason": lost.reason }));
                output::document(&json!({
                    "from": self.old, "to": self.output, "whole": recovered.whole,
                    "unfinished": recovered.unfinished, "in_part": in_part.collect::<Vec<_>>(),
                    "aliases": recovered.aliases, "datasets": recovered.datasets, "lost": recovered.lost,
                }))?;
            }
            false => self.print(&recovered)?,
        }
        let all = recovered.in_part.is_empty() && recovered.lost.is_empty();
        let any = !recovered.whole.is_empty() || !recovered.unfinished.is_empty();
        Ok(if all && any { Verdict::Good } else { Verdict::Found })
    }

    fn print(&self, recovered: &Recovered) -> Result<()> {
        for run in &recovered.whole {
            out!("whole: run {run}")?;
        }
        for run in &recovered.unfinished {
            out!("as it was: run {run}, which is not finished")?;
        }
        for lost in &recovered.in_part {
            let rows = lost.rows;
            out!(
                "not whole: run {}; {rows} of its rows are saved: {}",
                lost.run,
                lost.reason
            )?;
        }
        for lost in &recovered.lost {
            out!("lost: {lost}")?;
        }
        if !recovered.in_part.is_empty() {
            out!("what is not whole is partial: {}", Remedy::MakeAgain.text())?;
        }
        out!(
            "{} holds {} whole runs, {} unfinished, {} in part, {} aliases, {} data sets and models; {} is \
             as it was",
            self.output.display(),
            recovered.whole.len(),
            recovered.unfinished.len(),
            recovered.in_part.len(),
            recovered.aliases,
            recovered.datasets,
            self.old.display()
        )
    }
}
