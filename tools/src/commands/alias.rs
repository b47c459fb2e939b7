//! `dream alias set|rm|ls`.

use anyhow::{Result, bail};
use clap::Subcommand;
use dream_ood::store::{Readable, StoreError, check_alias};
use serde_json::json;

use super::Verdict;
use crate::globals::{Format, Globals};
use crate::output;
use crate::session::{self, Usage};

/// Gives runs names, takes them away, lists them.
#[derive(Debug, clap::Args)]
pub struct Alias {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Gives a run a name
    Set {
        /// The name: letters, digits and -_./
        name: String,
        /// The run: id, prefix or another alias
        run: String,
        /// Takes the name from the run that has it
        #[arg(long = "move")]
        moves: bool,
    },
    /// Takes a name away; the run stays
    Rm {
        /// The name
        name: String,
    },
    /// Lists the names
    Ls,
}

impl Alias {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        match &self.action {
            Action::Set { name, run, moves } => set(globals, name, run, *moves)?,
            Action::Rm { name } => {
                let as_json = globals.as_json()?;
                let store = session::store_to_write(globals)?;
                let run = store.aliases()?.into_iter().find(|(other, _)| other == name);
                store.remove_alias(name)?;
                let run = run.map(|(_, run)| run);
                match (as_json, run) {
                    (true, run) => output::document(&json!({ "alias": name, "run": run, "removed": true }))?,
                    (false, Some(run)) => out!("`{name}` was a name of run {run} and is none any more")?,
                    (false, None) => out!("`{name}` is removed")?,
                }
            }
            Action::Ls => list(globals)?,
        }
        Ok(Verdict::Good)
    }
}

fn set(globals: &Globals, name: &str, run: &str, moves: bool) -> Result<()> {
    let as_json = globals.as_json()?;
    if let Err(error) = check_alias(name) {
        bail!(Usage(error.to_string()));
    }
    let store = session::store_to_write(globals)?;
    let run = store.resolve(run)?;
    let before = match moves {
        true => store.move_alias(name, run)?,
        false => match store.set_alias(name, run) {
            Err(error @ StoreError::AliasTaken { .. }) => {
                bail!(Usage(format!(
                    "{error}; `--move` takes it from there, nothing was changed"
                )));
            }
            set => set.map(|()| None)?,
        },
    };
    if as_json {
        return output::document(&json!({ "alias": name, "run": run, "before": before }));
    }
    match before {
        Some(before) => out!("`{name}` names run {run}; before, it named {before}"),
        None => out!("`{name}` names run {run}"),
    }
}

fn list(globals: &Globals) -> Result<()> {
    let store = session::store_to_read(globals)?;
    let mut rows = Vec::new();
    for (name, run) in store.aliases()? {
        let stage = store.run(run).map(|run| run.spec.stage).ok();
        rows.push((name, run, stage));
    }
    if globals.format == Format::Json {
        return rows.iter().try_for_each(|(name, run, stage)| {
            output::document(&json!({ "alias": name, "run": run, "stage": stage }))
        });
    }
    let mut lines = vec![["alias", "run", "stage"].map(str::to_owned)];
    let text = |stage: Option<String>| stage.unwrap_or_else(|| "not in this store".to_owned());
    lines.extend(
        rows.into_iter()
            .map(|(name, run, stage)| [name, run.to_string(), text(stage)]),
    );
    match globals.format {
        Format::Csv => lines.iter().try_for_each(output::csv),
        Format::Table | Format::Json => output::columns(&lines),
    }
}
