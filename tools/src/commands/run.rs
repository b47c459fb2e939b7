//! `dream run FILE.toml`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Result;
use dream_ood::stage::pipeline::Preset;
use serde_json::{Value, json};

use super::Verdict;
use super::demo::{check, pipeline};
use super::seeds::Seeds;
use super::stages::{all_is_well, read_preset, settings_of};
use crate::globals::Globals;
use crate::output;
use crate::session::{Session, store_to_check};
use crate::table;

/// Runs the whole pipeline from one preset file: what the store has already is not done again.
///
/// A table `[sweep]` in the preset gives keys lists of values, as in `"sample.sampling.sigma" = [0.1, 0.2]`,
/// and seeds (`seeds = [0, 1, 2]`): the pipeline is run with every combination, and what several of them have
/// in common once.
#[derive(Debug, clap::Args)]
pub struct RunFile {
    /// The preset: a .toml file, or the name of one that ships
    preset: String,
    #[command(flatten)]
    seeds: Seeds,
    /// Writes the report; one that is there from before is replaced
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Says what is refused, or that all is well, and stops: nothing is read whole, registered or run. Of a
    /// sweep it shows the runs that it stands for, and which of them are in the store
    #[arg(long)]
    check: bool,
}

impl RunFile {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        let preset = read_preset(globals, &self.preset)?;
        let seeds = self.seeds.of(&preset)?;
        let presets = settings_of(&preset)?;
        check(globals, &presets, &seeds, self.report.as_deref())?;
        if self.check && preset.sweep.is_empty() {
            return all_is_well(globals);
        }
        if self.check {
            return expansion(globals, &presets, &seeds);
        }
        let session = Session::answering(globals, false)?;
        let mut evaluations = Vec::new();
        for preset in &presets {
            evaluations.extend(pipeline(&session, preset, seeds.iter().copied())?);
        }
        table::print(&session, &evaluations)?;
        if let Some(file) = &self.report {
            super::report::write(&session, &evaluations, file)?;
        }
        Ok(Verdict::Good)
    }
}

/// Shows the runs that a sweep stands for. One that several settings have in common is made once.
fn expansion(globals: &Globals, presets: &[Preset], seeds: &[u64]) -> Result<Verdict> {
    let store = store_to_check(globals)?;
    let (mut rows, mut seen) = (Vec::new(), BTreeSet::new());
    for preset in presets {
        for seed in seeds {
            for part in preset.outlook(&store, *seed)? {
                let state = match (part.known, seen.insert(part.key.clone())) {
                    (true, _) => "in the store",
                    (false, true) => "to be made",
                    (false, false) => "made once for several settings",
                };
                let run = part.run.map_or(Value::Null, |run| json!(run));
                rows.push([
                    json!(preset.setting.in_words()),
                    json!(seed),
                    json!(part.part),
                    run,
                    json!(state),
                ]);
            }
        }
    }
    output::records(globals.format, ["setting", "seed", "part", "run", "state"], &rows)?;
    Ok(Verdict::Good)
}
