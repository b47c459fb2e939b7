//! `dream reproduce RUN`.

use anyhow::{Context as _, Result};
use dream_ood::stage::reproduce::reproduce;

use super::Verdict;
use crate::args::Args;
use crate::output;
use crate::session::Session;

/// Executes a run again, aside, and compares digests.
///
/// Exit code 1 if they differ; then it says how close the two are.
#[derive(Debug, clap::Args)]
pub struct Reproduce {
    /// The run: id, prefix or alias
    run: String,
}

impl Reproduce {
    pub fn execute(&self, args: &Args) -> Result<Verdict> {
        let session = Session::reading(args)?;
        let run = session.resolve(&self.run)?;
        let folder = Aside::new()?;
        let result = reproduce(&session.context(), run, &folder.0.join("aside.redb"))?;
        if result.is_equal() {
            out!("{run} reproduced: the digest is {} again", result.digest)?;
            return Ok(Verdict::Good);
        }
        let before = result.stored.digest.as_deref().unwrap_or("none");
        out!(
            "{run} differs: stored {before} ({}), now {} ({})",
            result.stored.device,
            result.digest,
            args.device
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
        output::columns(&rows)?;
        Ok(Verdict::Found)
    }
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
