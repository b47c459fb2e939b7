//! `dream verify`.

use anyhow::Result;
use dream_ood::stage::Progress as _;
use dream_ood::store::{Place, Problem, ProblemKind, Store, Verification};
use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::Verdict;
use crate::bars::Bars;
use crate::globals::Globals;
use crate::output;
use crate::remedy::Remedy;
use crate::session;

/// Checks every stored byte and every digest, and names what is damaged: table, run, class, rows.
///
/// Exit code 1 if something is wrong.
#[derive(Debug, clap::Args)]
pub struct Verify {}

impl Verify {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        let as_json = globals.as_json()?;
        let store = session::store_to_read(globals)?;
        let report = check(&store, &Bars::new(globals.quiet))?;
        let sound = report.problems.is_empty();
        if as_json {
            output::document(&json!({
                "store": globals.store, "sound": sound, "runs": report.runs, "rows": report.rows,
                "blocks": report.blocks, "blobs": report.blobs, "bytes": report.bytes,
                "problems": report.problems.iter().map(problem_json).collect::<Vec<_>>(),
            }))?;
        } else {
            out!(
                "{} runs, {} rows in {} blocks, {} blobs, {} read",
                report.runs,
                report.rows,
                report.blocks,
                report.blobs,
                HumanBytes(report.bytes)
            )?;
            for problem in &report.problems {
                out!("{problem}")?;
            }
            let mut remedies: Vec<Remedy> = report.problems.iter().map(remedy).collect();
            remedies.sort_unstable();
            remedies.dedup();
            for remedy in remedies {
                out!("{}", remedy.text())?;
            }
        }
        Ok(if sound { Verdict::Good } else { Verdict::Found })
    }
}

/// Verifies a store, with a bar.
pub fn check(store: &Store, bars: &Bars) -> Result<Verification> {
    let mut done = None;
    let report = store.verify(&mut |now, total| {
        if done.is_none() {
            bars.begin("verify", total, "parts");
        }
        bars.advance(now.saturating_sub(done.unwrap_or(0)));
        done = Some(now);
    })?;
    bars.end();
    Ok(report)
}

/// Returns what can be done about a problem.
fn remedy(problem: &Problem) -> Remedy {
    match (&problem.place, problem.kind) {
        (Place::Pages, _) => Remedy::Recover,
        (Place::Alias(_), _) | (Place::Block(_), ProblemKind::Stray) => Remedy::Repair,
        (Place::Run(_), ProblemKind::Stray) => Remedy::FreeRows,
        (Place::Run(_), ProblemKind::Input) => Remedy::MergeInput,
        (Place::Run(_), ProblemKind::Missing) => Remedy::MakeAgain,
        (Place::Block(_) | Place::Run(_) | Place::Blob { .. } | Place::Dataset(_), _) => Remedy::RepairFrom,
    }
}

/// Returns a problem for programs.
pub fn problem_json(problem: &Problem) -> Value {
    let mut fields = match &problem.place {
        Place::Block(place) => json!({
            "place": "block", "table": place.table.name(), "run": place.run, "part": place.part,
            "class_name": place.class_name, "index": place.index, "rows": place.rows,
        }),
        Place::Run(run) => json!({ "place": "run", "run": run }),
        Place::Blob { hash, runs } => json!({ "place": "blob", "blob": hash, "runs": runs }),
        Place::Alias(name) => json!({ "place": "alias", "alias": name }),
        Place::Dataset(name) => json!({ "place": "dataset", "dataset": name }),
        Place::Pages => json!({ "place": "pages" }),
    };
    fields["kind"] = json!(problem.kind.name());
    fields["reason"] = json!(problem.reason);
    fields["remedy"] = json!(remedy(problem).text());
    fields
}
