//! `dream repair`.

use std::path::PathBuf;

use anyhow::Result;
use dream_ood::Kind;
use dream_ood::store::{Fix, Problem, RepairOptions, Repaired};
use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::Verdict;
use super::verify::{check, problem_json};
use crate::bars::Bars;
use crate::globals::Globals;
use crate::output::{self, causes};
use crate::session;

/// Puts right what `verify` finds.
///
/// Shows what would be done; does it only with --yes. What cannot be read is taken from another store that
/// has it whole (--from); `reproduce RUN --repair` makes it again. Without either, only that is changed which
/// costs nothing that can still be read: names of runs that are not there, bytes that nothing names, and runs
/// whose rows were lost, which are partial then: their commands make them from the beginning. Exit code 1 if
/// something is left, or nothing was done yet.
#[derive(Debug, clap::Args)]
pub struct Repair {
    /// Another store, which has sound copies
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Does what is shown
    #[arg(long)]
    yes: bool,
}

impl Repair {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        let as_json = globals.as_json()?;
        let from = self.from.as_deref().map(session::other_store).transpose()?;
        let bars = Bars::new(globals.quiet);
        let repaired = match session::store_to_write(globals) {
            // What would be done is tried and taken back, which needs the store for writing.
            Err(error) if !self.yes && Kind::of(error.as_ref()) == Some(Kind::Locked) => {
                let report = check(&session::store_to_read(globals)?, &bars)?;
                let why = causes(&error);
                let left = |problem| (problem, format!("what helps is not tried: {why}"));
                Repaired {
                    left: report.problems.into_iter().map(left).collect(),
                    ..Repaired::default()
                }
            }
            store => {
                let store = store?;
                let report = check(&store, &bars)?;
                let options = RepairOptions {
                    from: from.as_ref(),
                    run: None,
                    dry_run: !self.yes,
                };
                store.repair(&report, options)?
            }
        };
        match as_json {
            true => output::document(&json!({
                "repaired": self.yes,
                "fixes": repaired.fixes.iter().map(fix_json).collect::<Vec<_>>(),
                "left": repaired.left.iter().map(left_json).collect::<Vec<_>>(),
            }))?,
            false => self.print(&repaired)?,
        }
        let done = repaired.left.is_empty() && (self.yes || repaired.fixes.is_empty());
        Ok(if done { Verdict::Good } else { Verdict::Found })
    }

    fn print(&self, repaired: &Repaired) -> Result<()> {
        for fix in &repaired.fixes {
            out!("{}", in_words(fix))?;
        }
        for (problem, why) in &repaired.left {
            out!("left: {problem}; {why}")?;
        }
        match (repaired.fixes.len(), repaired.left.len(), self.yes) {
            (0, 0, _) => out!("nothing is wrong"),
            (0, left, _) => out!("{left} problems left; nothing was changed"),
            (fixes, left, true) => out!("{fixes} repaired, {left} left"),
            (fixes, left, false) => {
                out!("nothing was changed: {fixes} would be repaired with --yes, {left} left")
            }
        }
    }
}

/// Says what is put right.
pub fn in_words(fix: &Fix) -> String {
    match fix {
        Fix::Rows { run, rows } => format!("run {run}: {rows} rows come from a sound copy"),
        Fix::Record(run) => format!("run {run}: its record comes from the other store"),
        Fix::Reopened { run, rows } => format!(
            "run {run}: rows are lost, {rows} are there; it is partial, and the command that made it makes \
             it from the beginning"
        ),
        Fix::Strays(run) => {
            format!("run {run}: blocks that nothing names are removed; it is whole without them")
        }
        Fix::Blob(hash) => format!("blob {hash} comes from a sound copy"),
        Fix::Freed { hash, bytes } => {
            format!(
                "blob {hash} ({}) is removed: no checkpoint names it",
                HumanBytes(*bytes)
            )
        }
        Fix::Alias(name) => format!("the alias `{name}` is removed: it names no run"),
        Fix::Dataset(name) => format!("the entry of `{name}` comes from the other store"),
    }
}

fn fix_json(fix: &Fix) -> Value {
    match fix {
        Fix::Rows { run, rows } => json!({ "fix": "rows", "run": run, "rows": rows }),
        Fix::Record(run) => json!({ "fix": "record", "run": run }),
        Fix::Reopened { run, rows } => json!({ "fix": "reopened", "run": run, "rows": rows }),
        Fix::Strays(run) => json!({ "fix": "strays", "run": run }),
        Fix::Blob(hash) => json!({ "fix": "blob", "blob": hash }),
        Fix::Freed { hash, bytes } => json!({ "fix": "freed", "blob": hash, "bytes": bytes }),
        Fix::Alias(name) => json!({ "fix": "alias", "alias": name }),
        Fix::Dataset(name) => json!({ "fix": "dataset", "dataset": name }),
    }
}

fn left_json((problem, why): &(Problem, String)) -> Value {
    let mut fields = problem_json(problem);
    fields["why"] = json!(why);
    fields
}
