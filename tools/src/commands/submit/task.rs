//! `dream submit task FOLDER JOB [NUMBER]`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use dream_ood::stage::imagine::{self, Shard};
use dream_ood::stage::pipeline::{Plan, Preset, Step, Task};
use dream_ood::store::{MergeOptions, Readable as _, Store};
use dream_schema::{Run, RunId, Status, Table};
use serde_json::{Value, json};

use super::folder::{Folder, Job};
use crate::commands::demo::say_moved;
use crate::commands::{Verdict, report};
use crate::globals::{Format, Globals};
use crate::output;
use crate::session::{Failed, Session, Usage, other_store};
use crate::table;

/// A task of a job.
#[derive(Debug, clap::Args)]
pub struct RunTask {
    /// The folder of the job
    folder: PathBuf,
    /// A step of the pipeline, `gather` (brings shards together) or `merge` (brings everything into the
    /// store)
    job: Job,
    /// Its number in the job, from 0; of `merge` none
    number: Option<u64>,
    /// Of `merge`: writes the report; one that is there from before is replaced
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

/// A plan at work.
struct Work<'a> {
    globals: &'a Globals,
    folder: Folder,
    plan: Plan,
}

impl RunTask {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        let folder = Folder(self.folder.clone());
        let work = Work {
            globals,
            plan: folder.required_plan()?,
            folder,
        };
        if self.report.is_some() && self.job != Job::Merge {
            bail!(Usage(format!(
                "--report is for the job merge, not for {}",
                self.job
            )));
        }
        match (self.job, self.number) {
            (Job::Merge, None) => work.merge(self.report.as_deref()),
            (Job::Merge, Some(number)) => bail!(Usage(format!("merge {number}: that job has one task"))),
            (job, None) => bail!(Usage(format!("{job}: the number of its task is missing"))),
            (Job::Gather, Some(number)) => work.gather(work.task(Step::Imagine, self.job, number)?),
            (Job::Step(Step::Imagine), Some(number)) if work.plan.shards > 1 => {
                let shards = work.plan.shards;
                let shard = Shard::new(number % shards + 1, shards);
                work.step(work.task(Step::Imagine, self.job, number / shards)?, shard)
            }
            (Job::Step(step), Some(number)) => work.step(work.task(step, self.job, number)?, None),
        }
    }
}

impl Work<'_> {
    fn task(&self, step: Step, job: Job, number: u64) -> Result<&Task> {
        let tasks = self.plan.tasks_of(step);
        let place = usize::try_from(number).ok().and_then(|number| tasks.get(number));
        let found = place.and_then(|place| self.plan.tasks.get(*place));
        let missing = || {
            Usage(format!(
                "{job}: there is no task of that number; the job is of {} runs",
                tasks.len()
            ))
        };
        Ok(found.ok_or_else(missing)?)
    }

    /// Opens the stores that a task reads: those of the tasks before it, and the one that the job is for.
    fn beneath(&self, task: &Task) -> Result<Vec<Store>> {
        let mut stores = Vec::new();
        for before in task
            .after
            .iter()
            .rev()
            .filter_map(|place| self.plan.tasks.get(*place))
        {
            stores.push(self.made(before, &self.folder.store(before))?);
        }
        if self.globals.store.exists() {
            stores.push(other_store(&self.globals.store)?);
        }
        Ok(stores)
    }

    /// Opens the store of a task that must have run.
    fn made(&self, task: &Task, path: &Path) -> Result<Store> {
        if !path.exists() {
            bail!(
                "the task {} has not run: there is no {}",
                task.name(),
                path.display()
            );
        }
        other_store(path)
    }

    /// Makes the runs of a task, or of one shard of it.
    fn step(&self, task: &Task, shard: Option<Shard>) -> Result<Verdict> {
        let path = match shard {
            Some(shard) => self.folder.shard(task, shard.part(), shard.parts()),
            None => self.folder.store(task),
        };
        let session = Session::laid_over(self.globals, &path, self.beneath(task)?)?;
        self.run(&session, task, shard)?;
        Ok(Verdict::Good)
    }

    fn run(&self, session: &Session<'_>, task: &Task, shard: Option<Shard>) -> Result<Vec<Run>> {
        let (preset, seed) = self.plan.preset_of(task)?;
        let mut begun = std::time::Instant::now();
        let mut told = |_: &str, run: &Run, how| {
            session.say(run, how, begun);
            begun = std::time::Instant::now();
            Ok(())
        };
        preset
            .until(session.stop())
            .run_step(&session.context(), seed, task.step, shard, &mut told)
            .map_err(Failed::of)
    }

    /// Brings the shards of a task together, and finishes its run.
    fn gather(&self, task: &Task) -> Result<Verdict> {
        let session = Session::laid_over(self.globals, &self.folder.store(task), self.beneath(task)?)?;
        let shards = self.plan.shards;
        let mut whole: Option<Run> = None;
        for part in 1..=shards {
            let path = self.folder.shard(task, part, shards);
            let store = self.made(task, &path)?;
            let runs = store.runs()?;
            let [run] = runs.as_slice() else {
                bail!("{}: expected one run, there are {}", path.display(), runs.len());
            };
            match &whole {
                Some(whole) if whole.id != run.id => bail!(
                    "{}: it has shard {part}/{shards} of run {}, and not of {}: it was made with other \
                     parameters, or from other vectors; remove the file and submit the job again",
                    path.display(),
                    run.id,
                    whole.id
                ),
                Some(_) => {}
                None => whole = Some(run.clone()),
            }
            session.store.merge(&store, &MergeOptions::default())?;
        }
        if let Some(run) = whole {
            let (there, all) = (
                session.store.count(run.id, Table::Images)?,
                imagine::pictures(&session.store, &run)?,
            );
            if there < all {
                bail!(
                    "run {}: its {shards} shards have {there} of its {all} pictures; submit the job again to \
                     make the others",
                    run.id
                );
            }
        }
        for run in self.run(&session, task, None)? {
            out!("{}  {}", run.id, run.digest.unwrap_or_default())?;
        }
        Ok(Verdict::Good)
    }

    /// Brings everything into the store that the job is for, where the digests are taken again.
    fn merge(&self, report: Option<&Path>) -> Result<Verdict> {
        let session = Session::laid_over(self.globals, &self.globals.store, Vec::new())?;
        for task in &self.plan.tasks {
            let store = self.made(task, &self.folder.store(task))?;
            session.store.merge(&store, &MergeOptions::default())?;
        }
        let (mut rows, mut evaluations) = (Vec::new(), Vec::new());
        let presets = self.plan.presets()?;
        for point in &self.plan.points {
            let preset = presets
                .get(point.setting)
                .context("the plan has no such setting")?;
            for part in preset.outlook(&session.store, point.seed)? {
                let Some(run) = part.run.filter(|_| part.known) else {
                    bail!(
                        "the part {} has no finished run in the stores of the tasks",
                        part.part
                    );
                };
                let alias = preset.alias(point.seed, &part.part);
                if let Some(other) = session.store.move_alias(&alias, run)? {
                    say_moved(&session, &alias, other, run);
                }
                rows.push(row(&session, preset, point.seed, &part.part, run)?);
                if part.part.starts_with("evaluate") {
                    evaluations.push(run);
                }
            }
        }
        output::records(
            self.globals.format,
            ["setting", "seed", "part", "run", "digest"],
            &rows,
        )?;
        if self.globals.format == Format::Table {
            out!("")?;
            table::print(&session, &evaluations)?;
        }
        if let Some(file) = report {
            report::write(&session, &evaluations, file)?;
        }
        Ok(Verdict::Good)
    }
}

fn row(session: &Session<'_>, preset: &Preset, seed: u64, part: &str, run: RunId) -> Result<[Value; 5]> {
    let record = session.store.run(run)?;
    if record.status != Status::Finished {
        bail!("run {run} is {}", record.status);
    }
    Ok([
        json!(preset.setting.in_words()),
        json!(seed),
        json!(part),
        json!(run),
        json!(record.digest),
    ])
}
