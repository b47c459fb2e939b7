//! `dream note RUN [TEXT]`.

use anyhow::{Result, bail};
use dream_ood::store::Readable;
use serde_json::json;

use super::Verdict;
use crate::globals::Globals;
use crate::output;
use crate::session::{self, Usage};

/// Writes words of yours to a run, or shows them.
///
/// They are no part of the run's result: its digest stays.
#[derive(Debug, clap::Args)]
pub struct Note {
    /// The run: id, prefix or alias
    run: String,
    /// The words; without them, those that are there are shown
    text: Option<String>,
    /// Takes the words away
    #[arg(long, conflicts_with = "text")]
    remove: bool,
}

impl Note {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        let as_json = globals.as_json()?;
        if self.text.as_ref().is_some_and(|text| text.trim().is_empty()) {
            bail!(Usage("a note has words; `--remove` takes one away".into()));
        }
        let changes = self.remove || self.text.is_some();
        let store = match changes {
            true => session::store_to_write(globals)?,
            false => session::store_to_read(globals)?,
        };
        let run = store.resolve(&self.run)?;
        let before = store.run(run)?.note;
        if changes {
            store.set_note(run, self.text.as_deref())?;
        }
        let note = store.run(run)?.note;
        if as_json {
            output::document(&json!({ "run": run, "note": note, "before": before }))?;
            return Ok(Verdict::Good);
        }
        match (note, before.filter(|_| changes)) {
            (Some(note), Some(before)) if note != before => {
                out!("run {run}: {note} (before: {before})")?;
            }
            (Some(note), _) if changes => out!("run {run}: {note}")?,
            (Some(note), _) => out!("{note}")?,
            (None, Some(before)) => out!("run {run} has no note any more; it was: {before}")?,
            (None, None) => out!("run {run} has no note")?,
        }
        Ok(Verdict::Good)
    }
}
