//! `dream demo`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use dream_ood::stage::pipeline::{Preset, check_all};
use dream_ood::stage::{How, Refusals, StageError};
use dream_ood::store::Store;
use dream_schema::{Run, RunId};

use super::seeds::MOST;
use super::stages::{all_is_well, read_preset};
use super::{Verdict, report};
use crate::globals::Globals;
use crate::memory;
use crate::output;
use crate::session::{Failed, Session, store_to_check};
use crate::table;
use crate::target::{self, Over};

/// Runs the whole pipeline on the bundled pictures and model: class embeddings, encoder, outliers, imagined
/// pictures, a classifier without and with them, the detection table; then writes the report.
#[derive(Debug, clap::Args)]
pub struct Demo {
    /// A small version for trying out and for tests; its numbers mean little
    #[arg(long)]
    quick: bool,
    /// Runs it with so many seeds: 0, 1, ...
    #[arg(long, default_value_t = 1, value_name = "N",
          value_parser = clap::value_parser!(u64).range(1..=MOST))]
    seeds: u64,
    /// Where the report is written; one that is there from before is replaced
    #[arg(long, value_name = "FILE.html", default_value = "dream-report.html")]
    report: PathBuf,
    /// Says what is refused, or that all is well, and stops: nothing is read whole, registered or run
    #[arg(long)]
    check: bool,
}

impl Demo {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        let preset = read_preset(globals, if self.quick { "quick" } else { "fashion-mini" })?;
        let last = [self.seeds - 1];
        check(globals, std::slice::from_ref(&preset), &last, Some(&self.report))?;
        if self.check {
            return all_is_well(globals);
        }
        let session = Session::answering(globals, false)?;
        let evaluations = pipeline(&session, &preset, 0..self.seeds)?;
        table::print(&session, &evaluations)?;
        report::write(&session, &evaluations, &self.report)?;
        let store = globals.store.display();
        session
            .bars
            .say(&format!("everything is in {store}; ask it, for example:"));
        session.bars.say("  dream ls");
        session
            .bars
            .say("  dream query outliers --class sandal --where \"knn_distance > 1.5\" --limit 5");
        Ok(Verdict::Good)
    }
}

/// Refuses what cannot be done of the pipeline with any of its settings and the greatest of its seeds, and of
/// its report, before a store is made.
pub fn check(globals: &Globals, presets: &[Preset], seeds: &[u64], report: Option<&Path>) -> Result<()> {
    let store = store_to_check(globals)?;
    let mut refused = check_all(presets, &store, seeds, memory::room(globals))?;
    let mut refusals = Refusals::of("report");
    if let Some(fault) = report.and_then(|file| target::fault(file, report::ENDINGS, Over::Report)) {
        refusals.refuse("file", fault);
    }
    refused.extend(refusals.into_inner());
    if !refused.is_empty() {
        return Err(StageError::Refused(refused).into());
    }
    // A store that may only be read answers what it has.
    if let Err(error) = Store::check_writable(&globals.store) {
        for preset in presets {
            for seed in seeds {
                if !preset.is_answered(&store, *seed)? {
                    return Err(error.into());
                }
            }
        }
    }
    Ok(())
}

/// Says that an alias has gone over to another run, also where nothing else is said: the user may have given
/// it.
pub fn say_moved(session: &Session<'_>, alias: &str, before: RunId, now: RunId) {
    let moved = format!("  the alias `{alias}` named {before} before; now it names {now}");
    match session.globals.quiet {
        true => output::aside(moved),
        false => session.bars.say(&moved),
    }
}

/// Runs the pipeline with every seed, names the runs, and returns the evaluations: plain and with outliers
/// for each seed.
pub fn pipeline(
    session: &Session<'_>,
    preset: &Preset,
    seeds: impl IntoIterator<Item = u64>,
) -> Result<Vec<RunId>> {
    let mut evaluations = Vec::new();
    let preset = preset.clone().until(session.stop());
    for seed in seeds {
        let setting = match preset.setting.in_words() {
            none if none.is_empty() => none,
            setting => format!(", {setting}"),
        };
        session
            .bars
            .say(&format!("{}{setting}, seed {seed}", preset.name));
        let mut since = std::time::Instant::now();
        let mut told = |part: &str, run: &Run, how: How| {
            let how = match how {
                How::Known => "in the store already".to_owned(),
                How::Resumed => format!("resumed, {:.1} s", since.elapsed().as_secs_f64()),
                How::Remade => format!("made again, {:.1} s", since.elapsed().as_secs_f64()),
                How::Executed => format!("{:.1} s", since.elapsed().as_secs_f64()),
            };
            let alias = preset.alias(seed, part);
            let before = session.store.move_alias(&alias, run.id)?;
            session.bars.say(&format!("  {part:<15} {}  {how}", run.id));
            if let Some(other) = before {
                say_moved(session, &alias, other, run.id);
            }
            since = std::time::Instant::now();
            Ok(())
        };
        let runs = preset
            .run(&session.context(), seed, &mut told)
            .map_err(Failed::of)?;
        evaluations.extend(runs.evaluations.iter().map(|r| r.id));
    }
    Ok(evaluations)
}
