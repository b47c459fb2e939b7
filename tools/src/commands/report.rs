//! `dream report RUN`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use dream_ood::exchange::{ExchangeError, Target, write_file};
use dream_ood::report::{comparison_sheet, render};
use dream_ood::stage::report::{gather, siblings};
use dream_schema::RunId;
use serde_json::Value;

use super::Verdict;
use crate::globals::{Format, Globals};
use crate::output;
use crate::session::{Session, Usage};
use crate::target::{self, Over};

/// Writes pictures, plots and numbers of a run and its lineage as one self-contained HTML page.
///
/// Of an evaluation, with all evaluations on the same sets beside it. The distances of imagined pictures to
/// the training images stand beside those of the test sets where the network has rated them (`select`).
#[derive(Debug, clap::Args)]
pub struct Report {
    /// The run: id, prefix or alias
    run: String,
    /// The page
    #[arg(short, long, value_name = "FILE.html")]
    output: PathBuf,
    /// Also writes real pictures, class prompts and imagined outliers side by side
    #[arg(long, value_name = "FILE.png")]
    sheet: Option<PathBuf>,
    /// Replaces files that are there
    #[arg(long)]
    force: bool,
}

/// How the name of a report ends.
pub const ENDINGS: &[&str] = &["html", "htm"];

impl Report {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        self.check_files()?;
        let session = Session::reading(globals)?;
        let run = session.resolve(&self.run)?;
        let mut evaluations = siblings(&session.store, run)?;
        if !evaluations.is_empty() {
            evaluations.retain(|other| *other != run);
            evaluations.insert(0, run);
        }
        write_about(&session, run, &evaluations, &self.output)?;
        if let Some(sheet) = &self.sheet {
            let png = comparison_sheet(&gather(&session.store, run, &evaluations)?.pictures, 6, 2)?;
            write_file(&Target::new(sheet).overwrite(true), &png)?;
        }
        if globals.format != Format::Table {
            let path = |file: &Path| Value::from(file.display().to_string());
            let sheet = self.sheet.as_deref().map_or(Value::Null, path);
            let row = [Value::from(run.to_string()), path(&self.output), sheet];
            output::records(globals.format, ["run", "report", "sheet"], &[row])?;
        }
        Ok(Verdict::Good)
    }

    /// Refuses files that cannot be written, before anything is gathered.
    fn check_files(&self) -> Result<()> {
        if self.sheet.as_ref() == Some(&self.output) {
            bail!(Usage("--output and --sheet name the same file".into()));
        }
        let sheet = self.sheet.as_deref().map(|file| (file, &["png"][..]));
        for (file, endings) in std::iter::once((self.output.as_path(), ENDINGS)).chain(sheet) {
            if file.is_file() && !self.force {
                let path = file.to_owned();
                return Err(ExchangeError::Exists { path }.into());
            }
            if let Some(fault) = target::fault(file, endings, Over::AnyFile) {
                bail!(Usage(fault));
            }
        }
        Ok(())
    }
}

/// Writes the report on the evaluations that a pipeline ended with.
pub fn write(session: &Session<'_>, evaluations: &[RunId], file: &Path) -> Result<()> {
    // With outliers rather than without, where both are there: its lineage has all the stages.
    let Some(about) = evaluations.get(1).or(evaluations.first()) else {
        bail!("there is no run to report on")
    };
    write_about(session, *about, evaluations, file)
}

/// Writes the report on `about`, comparing `evaluations`.
fn write_about(session: &Session<'_>, about: RunId, evaluations: &[RunId], file: &Path) -> Result<()> {
    let page = render(&gather(&session.store, about, evaluations)?)?;
    write_file(&Target::new(file).overwrite(true), page.as_bytes())?;
    session.bars.say(&format!("the report is in {}", file.display()));
    Ok(())
}
