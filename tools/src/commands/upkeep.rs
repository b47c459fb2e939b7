//! `dream verify`, `gc`, `du` and `merge`: care of the store.

use std::path::PathBuf;

use anyhow::Result;
use dream_ood::stage::Progress as _;
use dream_ood::store::{Readable, Store};
use indicatif::HumanBytes;

use super::Verdict;
use crate::args::Args;
use crate::output;
use crate::session::Session;

/// Checks every stored byte and every digest.
///
/// Exit code 1 if something is wrong.
#[derive(Debug, clap::Args)]
pub struct Verify {}

impl Verify {
    pub fn execute(&self, args: &Args) -> Result<Verdict> {
        let session = Session::reading(args)?;
        let mut done = 0;
        session.bars.begin("verify", 1, "parts");
        let report = session.store.verify(&mut |now, total| {
            if done == 0 {
                session.bars.begin("verify", total, "parts");
            }
            session.bars.advance(now.saturating_sub(done));
            done = now;
        })?;
        session.bars.end();
        out!(
            "{} runs, {} rows in {} blocks, {} blobs, {} read",
            report.runs,
            report.rows,
            report.blocks,
            report.blobs,
            HumanBytes(report.bytes)
        )?;
        for problem in &report.problems {
            out!("{}", problem.what)?;
        }
        Ok(if report.problems.is_empty() {
            Verdict::Good
        } else {
            Verdict::Found
        })
    }
}

/// Removes blobs and rows that no run needs.
///
/// Shows them; removes them only with --yes.
#[derive(Debug, clap::Args)]
pub struct Gc {
    /// Removes what is shown
    #[arg(long)]
    yes: bool,
}

impl Gc {
    pub fn execute(&self, args: &Args) -> Result<Verdict> {
        let session = Session::existing(args)?;
        let found = session.store.gc(!self.yes)?;
        for (blob, bytes) in &found.blobs {
            out!("blob {blob} ({})", HumanBytes(*bytes))?;
        }
        for run in &found.runs {
            out!("rows of run {run}, of which there is no record")?;
        }
        let (blobs, bytes, runs) = (found.blobs.len(), HumanBytes(found.bytes()), found.runs.len());
        let done = if self.yes {
            "removed"
        } else {
            "would be removed with --yes"
        };
        out!("{blobs} blobs ({bytes}) and the rows of {runs} runs {done}")?;
        Ok(Verdict::Good)
    }
}

/// Shows what takes how much room.
#[derive(Debug, clap::Args)]
pub struct Du {}

impl Du {
    pub fn execute(&self, args: &Args) -> Result<Verdict> {
        let session = Session::reading(args)?;
        let usage = session.store.usage()?;
        let mut rows = vec![["run", "table", "rows", "blocks", "size"].map(str::to_owned)];
        for table in &usage.tables {
            let [count, blocks] = [table.rows, table.blocks].map(|n| n.to_string());
            rows.push([
                table.run.to_string(),
                table.table.to_string(),
                count,
                blocks,
                HumanBytes(table.bytes).to_string(),
            ]);
        }
        let (blobs, none) = (usage.blobs.to_string(), String::new());
        rows.push([
            "blobs".into(),
            none.clone(),
            blobs,
            none,
            HumanBytes(usage.blob_bytes).to_string(),
        ]);
        output::columns(&rows)?;
        if let Some(bytes) = usage.file_bytes {
            out!("{} is {} long", args.store.display(), HumanBytes(bytes))?;
        }
        Ok(Verdict::Good)
    }
}

/// Takes in the runs of other stores: shards of one run become one, runs that are there already are
/// compared.
#[derive(Debug, clap::Args)]
pub struct Merge {
    /// The other stores
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

impl Merge {
    pub fn execute(&self, args: &Args) -> Result<Verdict> {
        let session = Session::writing(args)?;
        for file in &self.files {
            let merged = session.store.merge(&Store::open_read_only(file)?)?;
            out!(
                "{}: {} new runs, {} grown, {} rows, {} blobs, {} data sets",
                file.display(),
                merged.new_runs.len(),
                merged.grown_runs.len(),
                merged.rows,
                merged.blobs,
                merged.datasets.len()
            )?;
            for alias in &merged.kept_aliases {
                out!("the alias {alias} names another run here and was left as it is")?;
            }
        }
        Ok(Verdict::Good)
    }
}
