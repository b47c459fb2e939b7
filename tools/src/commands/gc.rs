//! `dream gc`.

use anyhow::Result;
use dream_ood::Kind;
use dream_ood::store::{Collected, Readable, Store};
use indicatif::HumanBytes;
use serde_json::json;

use super::Verdict;
use crate::globals::Globals;
use crate::output;
use crate::session;

/// Removes blobs and rows that no run needs, and the copy that an interrupted upgrade left; makes the file
/// shorter.
///
/// Shows them; removes them only with --yes.
#[derive(Debug, clap::Args)]
pub struct Gc {
    /// Removes what is shown
    #[arg(long)]
    yes: bool,
}

/// What became of the file's length.
enum Shortened {
    /// From so many bytes to so many.
    By(u64, u64),
    /// Not at all, and why.
    No(String),
}

impl Gc {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        let as_json = globals.as_json()?;
        let mut store = match self.yes {
            true => session::store_to_write(globals)?,
            false => session::store_to_read(globals)?,
        };
        let found = match self.yes {
            true => store.gc(false)?,
            false => store.garbage()?,
        };
        let shortened = self.yes.then(|| shorten(&mut store)).transpose()?;
        if as_json {
            let blob = |(hash, bytes): &(String, u64)| json!({ "blob": hash, "bytes": bytes });
            let (before, after) = match &shortened {
                Some(Shortened::By(before, after)) => (Some(before), Some(after)),
                Some(Shortened::No(_)) | None => (None, None),
            };
            output::document(&json!({
                "removed": self.yes, "blobs": found.blobs.iter().map(blob).collect::<Vec<_>>(),
                "bytes": found.bytes(), "runs": found.runs, "upgrade_bytes": found.upgrade_bytes,
                "file_bytes_before": before, "file_bytes": after,
            }))?;
        } else {
            self.print(&found, shortened.as_ref())?;
        }
        Ok(Verdict::Good)
    }

    fn print(&self, found: &Collected, shortened: Option<&Shortened>) -> Result<()> {
        for (blob, bytes) in &found.blobs {
            out!("blob {blob} ({})", HumanBytes(*bytes))?;
        }
        for run in &found.runs {
            out!("rows of run {run}, of which there is no record")?;
        }
        if let Some(bytes) = found.upgrade_bytes {
            let bytes = HumanBytes(bytes);
            out!("the copy that an interrupted upgrade left ({bytes}); `dream upgrade` goes on from it")?;
        }
        let (blobs, bytes, runs) = (found.blobs.len(), HumanBytes(found.bytes()), found.runs.len());
        let done = if self.yes {
            "removed"
        } else {
            "would be removed with --yes"
        };
        out!("{blobs} blobs ({bytes}) and the rows of {runs} runs {done}")?;
        match shortened {
            Some(Shortened::By(before, after)) if after < before => out!(
                "the file is {} shorter: {} before, {} now",
                HumanBytes(before - after),
                HumanBytes(*before),
                HumanBytes(*after)
            ),
            Some(Shortened::By(_, after)) => {
                out!(
                    "the file is as long as before ({}): its pages are in use",
                    HumanBytes(*after)
                )
            }
            Some(Shortened::No(why)) => out!("the file is as long as before: {why}"),
            None => Ok(()),
        }
    }
}

/// Gives back what freed pages take in the file.
fn shorten(store: &mut Store) -> Result<Shortened> {
    let length = |store: &Store| store.usage().map(|usage| usage.file_bytes.unwrap_or(0));
    let before = length(store)?;
    match store.compact() {
        Ok(_) => Ok(Shortened::By(before, length(store)?)),
        // What was to be freed is free; a reader keeps its pages.
        Err(error) if Kind::of(&error) == Some(Kind::Internal) => Ok(Shortened::No(error.to_string())),
        Err(error) => Err(error.into()),
    }
}
