//! `dream lineage RUN`.

use anyhow::Result;
use dream_ood::query::run_inputs_batch;
use dream_ood::store::Readable;
use dream_schema::RunId;

use super::Verdict;
use crate::args::{Args, Format};
use crate::output;
use crate::session::Session;

/// Shows what a run came from: its inputs, theirs, and the data sets and models at the roots.
#[derive(Debug, clap::Args)]
pub struct Lineage {
    /// The run: id, prefix or alias
    run: String,
}

impl Lineage {
    pub fn execute(&self, args: &Args) -> Result<Verdict> {
        let session = Session::reading(args)?;
        let id = session.resolve(&self.run)?;
        if args.format == Format::Table {
            tree(&session, id, "", 0)?;
        } else {
            let runs = dream_ood::stage::lineage::ancestors(&session.store, id)?;
            output::batch(args.format, run_inputs_batch(&runs)?)?;
        }
        Ok(Verdict::Good)
    }
}

fn tree(session: &Session<'_>, id: RunId, role: &str, depth: usize) -> Result<()> {
    let indent = "  ".repeat(depth);
    let label = if role.is_empty() {
        String::new()
    } else {
        format!("{role}: ")
    };
    let Ok(run) = session.store.run(id) else {
        out!("{indent}{label}{id} (not in this store)")?;
        return Ok(());
    };
    out!(
        "{indent}{label}{} {id} ({}, seed {})",
        run.spec.stage,
        run.status,
        run.spec.seed
    )?;
    let datasets = session.store.datasets()?;
    for (role, digest) in &run.spec.sources {
        let name = datasets
            .iter()
            .find(|d| d.digest == *digest)
            .map_or("not registered here", |d| d.name.as_str());
        out!("{indent}  {role}: {name} ({digest:.12})")?;
    }
    run.spec
        .inputs
        .iter()
        .try_for_each(|input| tree(session, input.run, &input.role, depth + 1))
}
