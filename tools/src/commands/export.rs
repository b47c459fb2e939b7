//! `dream export`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use arrow::array::RecordBatch;
use clap::ValueEnum;
use dream_ood::archive;
use dream_ood::exchange::{self, BoxError, NpyLayout, Target};
use dream_ood::query::TableName;
use dream_ood::stage::training::{CheckpointName, used_row};
use dream_ood::stage::{Progress as _, imagine, lineage};
use dream_ood::store::Readable;
use dream_schema::{Checkpoint, RunId, Status, Table};
use serde_json::Value;

use super::query::Choice;
use super::{Verdict, place};
use crate::globals::Globals;
use crate::session::{Session, Usage};

/// Writes a table as Parquet, CSV or NumPy, pictures as PNG files, or a checkpoint as safetensors; or with
/// --to whole runs as a data set of Parquet files.
#[derive(Debug, clap::Args)]
#[command(after_long_help = place::HELP)]
pub struct Export {
    /// The table (images with a folder as output: PNG files), or `checkpoint`
    #[arg(required_unless_present = "to")]
    what: Option<String>,
    /// For a checkpoint: its run
    checkpoint_run: Option<String>,
    /// FILE.parquet, FILE.csv, FILE.npy, FILE.safetensors, or a folder
    #[arg(short, long, required_unless_present = "to")]
    output: Option<PathBuf>,
    /// Writes finished runs, all of them or those that --run names with what they came from, to a folder or
    /// bucket (s3://, gs://, az://), as table=NAME/run_id=ID/class=N/rows.parquet: DuckDB, pandas, Polars,
    /// Spark and Hugging Face read it, and `dream import --from` takes the runs in again. Of runs that are
    /// there already, files that are missing are written again, and aliases and notes that have changed
    #[arg(long, value_name = "PLACE",
          conflicts_with_all = ["what", "output", "class", "stage", "epoch", "force"])]
    to: Option<String>,
    #[command(flatten)]
    choice: Choice,
    /// Of latents: the final ones (the default), which decode to the pictures, or the initial noise that they
    /// were sampled from
    #[arg(long, value_enum)]
    stage: Option<Stage>,
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

/// What an export writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Parquet,
    Csv,
    Npy,
    Safetensors,
    Pictures,
}

/// What is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Table(TableName, Form),
    Checkpoint,
}

impl Export {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        if let Some(to) = &self.to {
            return self.runs(globals, to);
        }
        let what = self.what()?;
        let target = Target::new(self.output()).overwrite(self.force);
        target.check()?;
        let session = Session::reading(globals)?;
        match what {
            What::Table(table, form) => self.table(&session, &target, table, form)?,
            What::Checkpoint => self.checkpoint(&session, &target)?,
        }
        session.say_damaged()
    }

    /// Where it is written to.
    fn output(&self) -> &Path {
        self.output.as_deref().unwrap_or(Path::new(""))
    }

    /// Writes whole runs to a data set.
    fn runs(&self, globals: &Globals, to: &str) -> Result<Verdict> {
        let place = place::open(to)?;
        let session = Session::reading(globals)?;
        let store = &session.store;
        let mut runs: Vec<RunId> = Vec::new();
        for name in &self.choice.run {
            let all = lineage::ancestors(store, session.resolve(name)?)?;
            runs.extend(all.iter().map(|run| run.id));
        }
        let mut left = 0;
        if self.choice.run.is_empty() {
            let (all, _) = store.legible_runs()?;
            let (finished, open): (Vec<_>, Vec<_>) =
                all.iter().partition(|run| run.status == Status::Finished);
            runs.extend(finished.iter().map(|run| run.id));
            left = open.len();
        }
        let mut seen = BTreeSet::new();
        runs.retain(|run| seen.insert(*run));
        let cancelled = || session.bars.cancelled();
        let exported = archive::export(store, &runs, place.as_ref(), &cancelled)?;
        session.bars.say(&format!(
            "{} runs with {} rows in {to}; {} were there already",
            exported.runs, exported.rows, exported.known
        ));
        if exported.restored > 0 {
            let restored = exported.restored;
            session.bars.say(&format!(
                "{restored} files of runs were missing there, and are written again"
            ));
        }
        if exported.updated > 0 {
            let updated = exported.updated;
            session.bars.say(&format!(
                "{updated} runs there have the aliases and notes of the store again"
            ));
        }
        if left > 0 {
            session
                .bars
                .say(&format!("{left} runs are not finished, and left out"));
        }
        session.say_damaged()
    }

    /// Returns what is exported and how, after a look at which options go together.
    fn what(&self) -> Result<What> {
        let refuse = |option: &str, why: &str| bail!(Usage(format!("{option}: {why}")));
        let what = self.what.as_deref().unwrap_or_default(); // clap has checked that
        if what == "checkpoint" {
            let extension = self.extension();
            return match (&self.choice, self.stage) {
                (Choice { run, .. }, _) if !run.is_empty() => refuse(
                    "--run",
                    "a checkpoint's run is named without it: `export checkpoint RUN`",
                ),
                (Choice { class: Some(_), .. }, _) => refuse("--class", "a checkpoint has no classes"),
                (_, Some(_)) => refuse("--stage", "a checkpoint is no latent"),
                _ if extension != "safetensors" => bail!(Usage(format!(
                    "-o {}: a checkpoint is written as .safetensors",
                    self.output().display()
                ))),
                _ => Ok(What::Checkpoint),
            };
        }
        let table = what.parse::<TableName>()?;
        if let Some(stray) = &self.checkpoint_run {
            return refuse(stray, "choose the run of a table with --run");
        }
        if self.epoch.is_some() {
            return refuse(
                "--epoch",
                "chooses a checkpoint: `export checkpoint RUN --epoch N`",
            );
        }
        let is = |other: Table| table == TableName::Artifacts(other);
        if self.stage.is_some() && !is(Table::Latents) {
            return refuse("--stage", &format!("is for latents; {table} have no stages"));
        }
        let form = self.form(table)?;
        let has_arrays = Table::ALL
            .into_iter()
            .any(|of| is(of) && (of.has_vectors() || of == Table::Latents));
        if matches!(form, Form::Npy | Form::Safetensors) && !has_arrays {
            let output = self.output().display();
            let why = match table {
                TableName::Artifacts(Table::Activations) => {
                    "activations has logits and features, and such a file holds one array; export it as \
                     .parquet or .csv"
                        .to_owned()
                }
                TableName::Artifacts(Table::Images) => {
                    "images has no vectors; export it as .parquet, or to a folder as PNG files".to_owned()
                }
                _ => format!("{table} has no vectors; export it as .parquet or .csv"),
            };
            return refuse(&format!("-o {output}"), &why);
        }
        Ok(What::Table(table, form))
    }

    fn extension(&self) -> String {
        let extension = self.output().extension().unwrap_or_default();
        extension.to_string_lossy().to_lowercase()
    }

    /// Whether the output is called as a folder: it is one, or ends as a version does (`run-0.1`).
    fn is_folder(&self) -> bool {
        let output = self.output();
        let ends = output.to_string_lossy().ends_with(std::path::MAIN_SEPARATOR);
        let extension = self.extension();
        ends || output.is_dir() || extension.is_empty() || extension.contains(|c: char| c.is_ascii_digit())
    }

    fn form(&self, table: TableName) -> Result<Form> {
        Ok(match self.extension().as_str() {
            "parquet" => Form::Parquet,
            "csv" => Form::Csv,
            "npy" => Form::Npy,
            "safetensors" => Form::Safetensors,
            _ if table == TableName::Artifacts(Table::Images) && self.is_folder() => Form::Pictures,
            _ => bail!(Usage(format!(
                "-o {}: expected .parquet, .csv, .npy or .safetensors, or a folder for images",
                self.output().display()
            ))),
        })
    }

    fn table(&self, session: &Session<'_>, target: &Target, table: TableName, form: Form) -> Result<()> {
        let filter = self.choice.filter(session, table)?;
        let fixed = match self.stage {
            Some(Stage::Initial) => Some(fixed_noise(session, &filter.runs_with_rows(&session.store)?)?),
            Some(Stage::Final) | None => None,
        };
        let rows = filter.rows(&session.store)?;
        let (runs, mut open) = (filter.runs_with_rows(&session.store)?, Vec::new());
        for run in &runs {
            if session.store.run(*run)?.status != Status::Finished {
                open.push(*run);
            }
        }
        if matches!(form, Form::Safetensors | Form::Pictures) {
            let runs = runs.len();
            if runs > 1 {
                bail!(Usage(format!(
                    "-o {}: rows of {runs} runs could not be told apart there; choose one with --run, or \
                     export to Parquet",
                    self.output().display()
                )));
            }
        }
        let schema = rows.schema();
        let rows = rows.map(|batch| -> Result<RecordBatch, BoxError> {
            Ok(match fixed {
                Some(fixed) => imagine::initial_latents(&batch?, fixed)?,
                None => batch?,
            })
        });
        let written = match form {
            Form::Parquet => exchange::write_parquet(target, table.name(), &schema, rows)?,
            Form::Csv => exchange::write_csv(target, &schema, rows)?,
            Form::Safetensors => exchange::write_vectors(target, rows)?,
            Form::Npy => {
                let written = exchange::write_npy(target, NpyLayout::Auto, &schema, rows)?;
                let (shape, rows) = (&written.shape, written.rows.display());
                session
                    .bars
                    .say(&format!("an array {shape:?}; the other columns are in {rows}"));
                written.count
            }
            Form::Pictures => exchange::write_images(target, &schema, rows)?,
        };
        session.bars.say(&format!(
            "{written} rows of {table} in {}",
            self.output().display()
        ));
        for run in open {
            let words = format!("run {run} is not finished: these are the rows that it has by now");
            session.bars.say(&words);
        }
        Ok(())
    }

    fn checkpoint(&self, session: &Session<'_>, target: &Target) -> Result<()> {
        let Some(name) = &self.checkpoint_run else {
            bail!(Usage("export checkpoint RUN: the run is missing".into()));
        };
        let run = session.resolve(name)?;
        let row = match self.epoch {
            Some(epoch) => {
                let mut models: Vec<Checkpoint> = session.store.rows(run, None)?;
                models.retain(|row| CheckpointName::Model.is_of(row));
                let epochs = models.iter().map(|row| row.epoch.to_string());
                let epochs = epochs.collect::<Vec<_>>().join(", ");
                let row = models.into_iter().find(|row| row.epoch == epoch);
                row.ok_or_else(|| match epochs.is_empty() {
                    true => format!("run {run} has no checkpoint of an epoch"),
                    false => format!("run {run} has no checkpoint of epoch {epoch}; it has {epochs}"),
                })
            }
            None => match used_row(&session.store, run)? {
                Some(row) => Ok(row),
                None => Err(no_network(session, run)?),
            },
        };
        let row = row.map_err(Usage)?;
        let entries = exchange::write_checkpoint(target, &session.store.blob(&row.blob)?)?;
        let (epoch, tensors) = (row.epoch, entries.len());
        session.bars.say(&format!(
            "{tensors} tensors after epoch {epoch} in {}",
            self.output().display()
        ));
        Ok(())
    }
}

/// What is said of a run that has no checkpoint of a network, and where the one is that it was made from.
fn no_network(session: &Session<'_>, run: RunId) -> Result<String> {
    let spec = session.store.run(run)?.spec;
    let rows: Vec<Checkpoint> = session.store.rows(run, None)?;
    let what = match rows.iter().any(|row| CheckpointName::Head.is_of(row)) {
        true => "has the last layer alone, beside activations, and no network",
        false => "has no checkpoint",
    };
    let mut from = String::new();
    for input in &spec.inputs {
        if used_row(&session.store, input.run)?.is_some() {
            let input = input.run;
            from = format!("; `dream export checkpoint {input}` writes the network that it reads from");
        }
    }
    Ok(format!("run {run} {what}: it is a run of `{}`{from}", spec.stage))
}

/// Says whether the pictures of these runs start from one noise.
fn fixed_noise(session: &Session<'_>, runs: &BTreeSet<RunId>) -> Result<bool> {
    let fixed = |run: &RunId| -> Result<bool> {
        let params = session.store.run(*run)?.spec.params;
        Ok(params
            .get("fixed_noise")
            .and_then(Value::as_bool)
            .unwrap_or(false))
    };
    let all = runs.iter().map(fixed).collect::<Result<Vec<bool>>>()?;
    if all.contains(&true) && all.contains(&false) {
        bail!(Usage(
            "the pictures of some of these runs start from one fixed noise, those of others do not: \
             choose one with --run"
                .into()
        ));
    }
    Ok(all.contains(&true))
}
