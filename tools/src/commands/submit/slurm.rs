//! `dream submit slurm FILE.toml`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use dream_ood::stage::pipeline::{Plan, Preset};
use serde_json::{Value, json};

use super::folder::{self, Folder, Job};
use super::script::{Frame, Script, given, scripts};
use crate::commands::Verdict;
use crate::commands::demo::check;
use crate::commands::seeds::Seeds;
use crate::commands::stages::{read_preset, settings_of};
use crate::globals::Globals;
use crate::output;
use crate::session::{Usage, store_to_check};

/// The options of a submission.
#[derive(Debug, clap::Args)]
pub struct Slurm {
    /// The preset: a .toml file, or the name of one that ships; its sweep gives settings and seeds
    preset: String,
    /// In how many tasks the pictures of a run are imagined
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    shards: u64,
    #[command(flatten)]
    seeds: Seeds,
    /// The folder of the job, where every machine of the cluster can write: NAME-slurm without it
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Has the last job write the report; one that is there from before is replaced
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// What each task that computes gets: `gpu:N` with N GPUs as --device
    #[arg(long, value_name = "GRES")]
    gres: Option<String>,
    /// Processors of each task
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    cpus: Option<u32>,
    /// The time limit of each task, as Slurm has it: MINUTES, HH:MM:SS, D-HH:MM, ...
    #[arg(long, value_name = "TIME")]
    time: Option<String>,
    /// Seconds before the time limit at which a task stops and is queued again: more than some pictures take
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    grace: u32,
    /// At most so many tasks of an array at the same time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    at_once: Option<u32>,
    /// Another option of sbatch, for all jobs, as in `--sbatch=--partition=gpu`
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
    sbatch: Vec<String>,
    /// Prints the scripts and stops: nothing is written or submitted
    #[arg(long)]
    dry_run: bool,
}

impl Slurm {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        let as_json = globals.as_json()?;
        self.check_options()?;
        let preset = read_preset(globals, &self.preset)?;
        let seeds = self.seeds.of(&preset)?;
        check(globals, &settings_of(&preset)?, &seeds, self.report.as_deref())?;
        let plan = self.plan(globals, preset.clone(), &seeds)?;
        let folder = match &self.folder {
            Some(folder) => folder.clone(),
            None => PathBuf::from(format!("{}-slurm", preset.name)),
        };
        let folder = Folder(std::path::absolute(&folder).with_context(|| folder.display().to_string())?);
        folder::check(&folder, &plan)?;
        if plan.tasks.is_empty() {
            let said = "everything is in the store already: there is nothing to submit";
            match as_json {
                true => output::document(&json!({ "jobs": [], "note": said }))?,
                false => out!("{said}")?,
            }
            return Ok(Verdict::Good);
        }
        let frame = self.frame(globals, &preset, &folder)?;
        let program = std::env::current_exe().context("the path of this program")?;
        let scripts = scripts(&plan);
        if self.dry_run {
            return dry(&scripts, &frame, &program, as_json);
        }
        refuse_while_queued(&folder)?;
        folder.make(&plan)?;
        for script in &scripts {
            folder::write(&folder.script(script.job), &script.text(&frame, &program))?;
        }
        let ids = submit(&scripts, &folder)?;
        let row = |(script, id): (&Script, &String)| {
            let (job, tasks) = (script.job.to_string(), script.tasks.unwrap_or(1));
            json!({ "job": job, "id": id, "tasks": tasks })
        };
        if as_json {
            let rows: Vec<Value> = scripts.iter().zip(&ids).map(row).collect();
            output::document(&json!({ "jobs": rows, "folder": folder.0 }))?;
            return Ok(Verdict::Good);
        }
        for (script, id) in scripts.iter().zip(&ids) {
            out!("{id}  {:<14}  {} tasks", script.job, script.tasks.unwrap_or(1))?;
        }
        out!(
            "what they say is in {}; `squeue` shows how far they are, `scancel {}` stops them",
            folder.logs().display(),
            ids.join(" ")
        )?;
        Ok(Verdict::Good)
    }

    /// Refuses what would not be one option in a script.
    fn check_options(&self) -> Result<()> {
        let given = [("--gres", &self.gres), ("--time", &self.time)];
        for (option, value) in given {
            if let Some(value) = value
                && (value.is_empty() || value.contains(char::is_whitespace))
            {
                bail!(Usage(format!("{option} {value:?}: expected one word")));
            }
        }
        if let Some(time) = self.time.as_ref().filter(|time| !is_time(time)) {
            bail!(Usage(format!(
                "--time {time}: expected MINUTES, HH:MM:SS, D-HH:MM or another of Slurm's forms"
            )));
        }
        for option in &self.sbatch {
            if !option.starts_with('-') || option.contains(['\n', '\r']) {
                bail!(Usage(format!(
                    "--sbatch {option}: expected an option of sbatch, as in `--sbatch=--partition=gpu`"
                )));
            }
        }
        Ok(())
    }

    fn plan(&self, globals: &Globals, mut preset: Preset, seeds: &[u64]) -> Result<Plan> {
        preset.file = std::path::absolute(&preset.file).with_context(|| preset.file.display().to_string())?;
        Ok(Plan::of(&preset, seeds, self.shards, &store_to_check(globals)?)?)
    }

    fn frame<'a>(&self, globals: &Globals, preset: &'a Preset, folder: &'a Folder) -> Result<Frame<'a>> {
        let path = |path: &Path| -> Result<String> {
            let path = std::path::absolute(path).with_context(|| path.display().to_string())?;
            Ok(path.display().to_string())
        };
        let mut shared = vec!["--store".to_owned(), path(&globals.store)?];
        if let Some(threads) = globals.threads {
            shared.extend(["--threads".to_owned(), threads.to_string()]);
        }
        if let Some(pictures) = globals.batch_size {
            shared.extend(["--batch-size".to_owned(), pictures.to_string()]);
        }
        if let Some(bytes) = globals.memory {
            shared.extend(["--memory".to_owned(), bytes.0.to_string()]);
        }
        let mut options: Vec<String> = self
            .cpus
            .map(|n| format!("--cpus-per-task={n}"))
            .into_iter()
            .collect();
        options.extend(self.time.as_ref().map(|time| format!("--time={time}")));
        options.extend(self.sbatch.iter().map(|option| given(option)));
        let own = (globals.device.gpus() > 0).then(|| format!("gpu:{}", globals.device.gpus()));
        let gres = self.gres.clone().or(own);
        let merge = match &self.report {
            Some(file) => vec!["--report".to_owned(), path(file)?],
            None => Vec::new(),
        };
        Ok(Frame {
            name: &preset.name,
            folder,
            options,
            computing: gres.map(|gres| format!("--gres={gres}")).into_iter().collect(),
            shared,
            device: vec!["--device".to_owned(), globals.device.to_string()],
            merge,
            grace: self.grace,
            at_once: self.at_once,
        })
    }
}

/// Says whether Slurm takes a time limit of this form: `[D-]` and up to three numbers, or none at all.
fn is_time(text: &str) -> bool {
    let number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let (days, rest) = match text.split_once('-') {
        Some((days, rest)) => (Some(days), rest),
        None => (None, text),
    };
    let parts: Vec<&str> = rest.split(':').collect();
    matches!(text, "UNLIMITED" | "INFINITE")
        || (days.is_none_or(number) && parts.len() <= 3 && parts.into_iter().all(number))
}

/// Prints what would be submitted.
fn dry(scripts: &[Script], frame: &Frame<'_>, program: &Path, as_json: bool) -> Result<Verdict> {
    let names = |jobs: &[Job]| jobs.iter().map(Job::to_string).collect::<Vec<_>>();
    if as_json {
        let row = |script: &Script| {
            json!({
                "job": script.job.to_string(), "tasks": script.tasks.unwrap_or(1),
                "after": names(&script.after), "script": script.text(frame, program),
            })
        };
        let rows: Vec<Value> = scripts.iter().map(row).collect();
        output::document(&json!({ "jobs": rows, "folder": frame.folder.0 }))?;
        return Ok(Verdict::Good);
    }
    for script in scripts {
        let after = match names(&script.after) {
            none if none.is_empty() => "at once".to_owned(),
            after => format!("after {}", after.join(", ")),
        };
        out!("# {}: {after}", frame.folder.script(script.job).display())?;
        out!("{}", script.text(frame, program))?;
    }
    Ok(Verdict::Good)
}

/// Submits the jobs, in order, and returns their numbers. Where one is refused, those before it are taken
/// back.
fn submit(scripts: &[Script], folder: &Folder) -> Result<Vec<String>> {
    let mut ids: Vec<String> = Vec::new();
    for script in scripts {
        let of = |job: &Job| scripts.iter().position(|other| other.job == *job);
        let after: Vec<&str> = (script.after.iter().filter_map(of))
            .filter_map(|place| ids.get(place))
            .map(String::as_str)
            .collect();
        let mut sbatch = Command::new("sbatch");
        sbatch.arg("--parsable");
        if !after.is_empty() {
            sbatch.arg(format!("--dependency=afterok:{}", after.join(":")));
        }
        sbatch.arg(folder.script(script.job));
        match answer(&mut sbatch) {
            // `--parsable` gives the number, and of several clusters the name.
            Ok(said) => ids.push(said.split(';').next().unwrap_or_default().trim().to_owned()),
            Err(error) => {
                if !ids.is_empty() {
                    let _ = answer(Command::new("scancel").args(&ids));
                }
                return Err(error.context(format!(
                    "the job {} was not taken by Slurm; nothing is queued",
                    script.job
                )));
            }
        }
        folder::write(&folder.jobs(), &ids.join("\n"))?;
    }
    Ok(ids)
}

/// Runs a command of Slurm and returns what it prints.
fn answer(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = match command.output() {
        Err(error) if error.kind() == ErrorKind::NotFound => bail!(
            "there is no `{name}` on the path: is Slurm on this machine? `dream submit slurm FILE \
             --dry-run` prints the scripts"
        ),
        output => output.with_context(|| name.clone())?,
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{name}: {}", said.trim().replace('\n', "; "));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Refuses to submit a job again while it is in the queue: two tasks would work on the same store.
fn refuse_while_queued(folder: &Folder) -> Result<()> {
    let Ok(text) = std::fs::read_to_string(folder.jobs()) else {
        return Ok(());
    };
    let ids: Vec<&str> = text.split_whitespace().collect();
    let list = format!("--jobs={}", ids.join(","));
    // Slurm forgets jobs that ended long ago, and then knows none of these numbers.
    let queued =
        answer(Command::new("squeue").args(["--noheader", "--format=%A", &list])).unwrap_or_default();
    let mut left: Vec<&str> = queued.split_whitespace().collect();
    left.sort_unstable();
    left.dedup();
    if !left.is_empty() {
        bail!(
            "{}: its jobs are in the queue; wait for them, or `scancel {}`",
            folder.0.display(),
            ids.join(" ")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_limits_are_slurms() {
        for time in [
            "90",
            "90:30",
            "4:00:00",
            "2-12",
            "2-12:30",
            "2-12:30:00",
            "UNLIMITED",
        ] {
            assert!(is_time(time), "{time}");
        }
        for time in ["", "abc", "4h", "1:2:3:4", "-1", "2-", "1::2"] {
            assert!(!is_time(time), "{time}");
        }
    }
}
