//! `dream reproduce RUN`.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use dream_ood::stage::lineage;
use dream_ood::stage::reproduce::{Closeness, Reproduction, reproduce};
use dream_ood::store::{Problem, Readable as _, RepairOptions, Repaired, Store, Verification};
use dream_schema::RunId;
use serde_json::{Value, json};

use super::Verdict;
use super::repair::in_words;
use super::verify::check;
use crate::globals::Globals;
use crate::output;
use crate::session::{Session, Usage};

/// Executes a run again, aside, and compares digests.
///
/// Exit code 1 if they differ; then it says how close the two are.
#[derive(Debug, clap::Args)]
pub struct Reproduce {
    /// The run: id, prefix or alias
    run: String,
    /// Puts right what is damaged of the run, with the rows that are made again, if their digest is the run's
    #[arg(long)]
    repair: bool,
}

impl Reproduce {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        let as_json = globals.as_json()?;
        let session = match self.repair {
            true => Session::existing(globals)?,
            false => Session::beside(globals)?,
        };
        let run = session.resolve(&self.run)?;
        let damage = match self.repair {
            true => Some(check(&session.store, &session.bars)?),
            false => None,
        };
        if damage.as_ref().is_some_and(|report| !of_run(report, run)) {
            match as_json {
                true => output::document(&json!({ "run": run, "damaged": false }))?,
                false => out!("nothing is damaged of run {run}; nothing was done")?,
            }
            return Ok(Verdict::Good);
        }
        if let Some(report) = &damage {
            refuse_damaged_inputs(&session, report, run)?;
        }
        let folder = Aside::new()?;
        let aside = folder.0.join("aside.redb");
        let result = reproduce(&session.context(), run, &aside)?;
        let repaired = match damage.filter(|_| result.is_equal()) {
            Some(report) => Some(repair(&session, &report, run, &aside)?),
            None => None,
        };
        match as_json {
            true => output::document(&facts(run, &result, repaired.as_ref(), globals))?,
            false => print(run, &result, repaired.as_ref(), globals)?,
        }
        let good = result.is_equal() && repaired.is_none_or(|repaired| repaired.left.is_empty());
        Ok(if good { Verdict::Good } else { Verdict::Found })
    }
}

/// Refuses a run that was made from one that is damaged too: it is read first.
fn refuse_damaged_inputs(session: &Session<'_>, report: &Verification, run: RunId) -> Result<()> {
    let ancestors = lineage::ancestors(&session.store, run)?;
    let first = ancestors
        .iter()
        .find(|other| other.id != run && of_run(report, other.id));
    match first {
        Some(other) => {
            let (id, stage) = (other.id, &other.spec.stage);
            let name = session.store.alias_of(id)?.unwrap_or_else(|| id.to_string());
            bail!(Usage(format!(
                "run {run} reads from run {id} (`{stage}`), which is damaged: `dream reproduce {name} \
                 --repair` comes first"
            )))
        }
        None => Ok(()),
    }
}

/// Says whether something is wrong with what a run wrote.
fn of_run(report: &Verification, run: RunId) -> bool {
    report.problems.iter().any(|problem| concerns(problem, run))
}

fn concerns(problem: &Problem, run: RunId) -> bool {
    match &problem.place {
        dream_ood::store::Place::Blob { runs, .. } => runs.contains(&run),
        _ => problem.run() == Some(run),
    }
}

/// Takes what is damaged of a run from the store of its second execution.
fn repair(session: &Session<'_>, report: &Verification, run: RunId, aside: &Path) -> Result<Repaired> {
    let from = Store::open_read_only(aside)?;
    let options = RepairOptions {
        from: Some(&from),
        run: Some(run),
        dry_run: false,
    };
    Ok(session.store.repair(report, options)?)
}

fn facts(run: RunId, result: &Reproduction, repaired: Option<&Repaired>, globals: &Globals) -> Value {
    let table = |table: &Closeness| {
        json!({
            "table": table.table.name(), "rows": table.rows, "equal": table.equal,
            // Rows that only one of the two has are infinitely far; JSON has no word for that.
            "largest_difference": Some(table.largest).filter(|largest| largest.is_finite()),
            "psnr_db": table.psnr.filter(|psnr| psnr.is_finite()),
        })
    };
    json!({
        "run": run, "same": result.is_equal(), "stored_digest": result.stored.digest,
        "stored_device": result.stored.device, "digest": result.digest, "device": globals.device.to_string(),
        "tables": result.tables.iter().map(table).collect::<Vec<_>>(),
        "repaired": repaired.map(|repaired| repaired.fixes.iter().map(in_words).collect::<Vec<_>>()),
        "left": repaired.map(|repaired| repaired.left.iter().map(left).collect::<Vec<_>>()),
    })
}

fn left((problem, why): &(Problem, String)) -> String {
    format!("{problem}; {why}")
}

fn print(run: RunId, result: &Reproduction, repaired: Option<&Repaired>, globals: &Globals) -> Result<()> {
    if result.is_equal() {
        out!("{run} reproduced: the digest is {} again", result.digest)?;
        if let Some(repaired) = repaired {
            repaired
                .fixes
                .iter()
                .try_for_each(|fix| out!("{}", in_words(fix)))?;
            repaired
                .left
                .iter()
                .try_for_each(|one| out!("left: {}", left(one)))?;
        }
        return Ok(());
    }
    let before = result.stored.digest.as_deref().unwrap_or("none");
    out!(
        "{run} differs: stored {before} ({}), now {} ({})",
        result.stored.device,
        result.digest,
        globals.device
    )?;
    let mut rows = vec![["table", "rows", "equal", "largest difference", "PSNR"].map(str::to_owned)];
    for table in &result.tables {
        let psnr = table.psnr.map_or(String::new(), |p| format!("{p:.1} dB"));
        let numbers = [
            table.rows.to_string(),
            table.equal.to_string(),
            format!("{:.3e}", table.largest),
        ];
        let [all, equal, largest] = numbers;
        rows.push([table.table.to_string(), all, equal, largest, psnr]);
    }
    output::columns(&rows)
}

/// A folder for the second store, removed at the end.
struct Aside(std::path::PathBuf);

impl Aside {
    fn new() -> Result<Self> {
        let name = format!("dream-reproduce-{}-{}", std::process::id(), crate::session::now());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // What is left in the folder for temporary files harms no one.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
