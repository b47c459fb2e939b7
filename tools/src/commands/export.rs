//! `dream export`.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use arrow::array::RecordBatch;
use clap::ValueEnum;
use dream_ood::exchange::{self, BoxError, NpyLayout, Target};
use dream_ood::stage::imagine;
use dream_ood::stage::training::{CheckpointName, used_row};
use dream_ood::store::Readable;
use dream_schema::Checkpoint;

use super::Verdict;
use super::query::Choice;
use crate::args::Args;
use crate::session::{Session, Usage};

/// Writes a table as Parquet, CSV or NumPy, pictures as PNG files, or a checkpoint as safetensors.
#[derive(Debug, clap::Args)]
pub struct Export {
    /// The table (images with a folder as output: PNG files), or `checkpoint`
    what: String,
    /// For a checkpoint: its run
    checkpoint_run: Option<String>,
    /// FILE.parquet, FILE.csv, FILE.npy, FILE.safetensors, or a folder
    #[arg(short, long)]
    output: PathBuf,
    #[command(flatten)]
    choice: Choice,
    /// Of latents: the final ones, which decode to the pictures, or the initial noise that they were sampled
    /// from
    #[arg(long, value_enum, default_value = "final")]
    stage: Stage,
    /// For a checkpoint: the epoch; without it, the one that is used: the best on validation images if there
    /// are any, or the last
    #[arg(long)]
    epoch: Option<i32>,
    /// Replaces what is there
    #[arg(long)]
    force: bool,
}

/// Which latents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Stage {
    Final,
    Initial,
}

impl Export {
    pub fn execute(&self, args: &Args) -> Result<Verdict> {
        let session = Session::reading(args)?;
        let target = Target::new(&self.output).overwrite(self.force);
        if self.what == "checkpoint" {
            self.checkpoint(&session, &target)?;
        } else if let Some(stray) = &self.checkpoint_run {
            bail!(Usage(format!("{stray}: choose the run of a table with --run")));
        } else {
            self.table(&session, &target)?;
        }
        Ok(Verdict::Good)
    }

    fn table(&self, session: &Session<'_>, target: &Target) -> Result<()> {
        let initial = self.stage == Stage::Initial;
        if initial && self.what != "latents" {
            bail!(Usage(format!(
                "--stage initial is for latents; {} have no stages",
                self.what
            )));
        }
        let rows = self.choice.filter(session, &self.what)?.rows(&session.store)?;
        let schema = rows.schema();
        let rows = rows.map(|batch| -> Result<RecordBatch, BoxError> {
            Ok(if initial {
                imagine::initial_latents(&batch?)?
            } else {
                batch?
            })
        });
        let extension = self
            .output
            .extension()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let written = match extension.as_str() {
            "parquet" => exchange::write_parquet(target, &self.what, &schema, rows)?,
            "csv" => exchange::write_csv(target, &schema, rows)?,
            "safetensors" => exchange::write_vectors(target, rows)?,
            "npy" => {
                let written = exchange::write_npy(target, NpyLayout::Auto, &schema, rows)?;
                let (shape, rows) = (&written.shape, written.rows.display());
                session
                    .bars
                    .say(&format!("an array {shape:?}; the other columns are in {rows}"));
                written.count
            }
            "" if self.what == "images" => exchange::write_images(target, &schema, rows)?,
            _ => bail!(Usage(format!(
                "-o {}: expected .parquet, .csv, .npy or .safetensors, or a folder for images",
                self.output.display()
            ))),
        };
        session.bars.say(&format!(
            "{written} rows of {} in {}",
            self.what,
            self.output.display()
        ));
        Ok(())
    }

    fn checkpoint(&self, session: &Session<'_>, target: &Target) -> Result<()> {
        let Some(name) = &self.checkpoint_run else {
            bail!(Usage("export checkpoint RUN: the run is missing".into()));
        };
        let run = session.resolve(name)?;
        let row = match self.epoch {
            Some(epoch) => {
                let rows: Vec<Checkpoint> = session.store.rows(run, None)?;
                rows.into_iter()
                    .find(|c| CheckpointName::Model.is_of(c) && c.epoch == epoch)
            }
            None => used_row(&session.store, run)?,
        };
        let row = row.with_context(|| format!("run {run} has no such checkpoint"))?;
        let entries = exchange::write_checkpoint(target, &session.store.blob(&row.blob)?)?;
        let (epoch, tensors) = (row.epoch, entries.len());
        session.bars.say(&format!(
            "{tensors} tensors after epoch {epoch} in {}",
            self.output.display()
        ));
        Ok(())
    }
}
