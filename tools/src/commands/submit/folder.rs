//! The folder of a submitted job: its plan, its scripts, the stores of its tasks, what they say.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};
use dream_ood::exchange::{Target, write_file};
use dream_ood::stage::did_you_mean;
use dream_ood::stage::pipeline::{Plan, Step, Task};

/// The jobs that a plan is cut into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// The tasks of a step.
    Step(Step),
    /// Brings the shards of each `imagine` task together, and finishes its run.
    Gather,
    /// Brings everything into the store that the job is for.
    Merge,
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Step(step) => step.name(),
            Self::Gather => "gather",
            Self::Merge => "merge",
        })
    }
}

impl FromStr for Job {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let all = Step::ALL.map(Self::Step).into_iter();
        let all: Vec<Self> = all.chain([Self::Gather, Self::Merge]).collect();
        let names: Vec<String> = all.iter().map(Self::to_string).collect();
        let found = names.iter().position(|known| known == name);
        found.and_then(|place| all.get(place).copied()).ok_or_else(|| {
            let near = did_you_mean(name, names.iter().map(String::as_str));
            format!("expected {}{near}", names.join(", "))
        })
    }
}

/// The folder of a job.
#[derive(Clone, Debug)]
pub struct Folder(pub PathBuf);

impl Folder {
    fn plan_file(&self) -> PathBuf {
        self.0.join("plan.json")
    }

    /// Returns the folder of what tasks say.
    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// Returns the script of a job.
    pub fn script(&self, job: Job) -> PathBuf {
        self.0.join(format!("{job}.sh"))
    }

    /// Returns the file with the numbers of the jobs that were submitted.
    pub fn jobs(&self) -> PathBuf {
        self.0.join("jobs.txt")
    }

    /// Reads the plan, where there is one.
    pub fn plan(&self) -> Result<Option<Plan>> {
        match self.plan_file().exists() {
            true => Ok(Some(Plan::read(&self.plan_file())?)),
            false => Ok(None),
        }
    }

    /// Reads the plan, which must be there.
    pub fn required_plan(&self) -> Result<Plan> {
        let missing = || {
            format!(
                "{}: it is no folder of a submitted job (it has no plan.json)",
                self.0.display()
            )
        };
        self.plan()?.with_context(missing)
    }

    /// Makes the folder, with the plan in it.
    pub fn make(&self, plan: &Plan) -> Result<()> {
        for folder in [self.0.clone(), self.logs(), self.0.join("stores")] {
            std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        }
        write(&self.plan_file(), &serde_json::to_string_pretty(plan)?)
    }

    /// Returns the store with the runs of a task.
    pub fn store(&self, task: &Task) -> PathBuf {
        self.0.join("stores").join(format!("{}.redb", task.name()))
    }

    /// Returns the store of one shard of an `imagine` task, counted from 1.
    pub fn shard(&self, task: &Task, part: u64, parts: u64) -> PathBuf {
        let name = format!("{}.{part}-of-{parts}.redb", task.name());
        self.0.join("stores").join(name)
    }
}

/// Writes a file whole or not at all: a task may be reading it.
pub fn write(path: &Path, text: &str) -> Result<()> {
    Ok(write_file(&Target::new(path).overwrite(true), text.as_bytes())?)
}

/// Refuses the folder for this plan where it is of another job.
pub fn check(folder: &Folder, plan: &Plan) -> Result<()> {
    let Some(known) = folder.plan()? else {
        return Ok(());
    };
    let of = |plan: &Plan| {
        (
            plan.file.clone(),
            plan.text.clone(),
            plan.processor,
            plan.points.clone(),
        )
    };
    let why = if of(&known) != of(plan) {
        "of another preset, or one that has changed since, or of other seeds or another device".to_owned()
    } else if known.shards != plan.shards {
        format!("of {} shards", known.shards)
    } else {
        return Ok(());
    };
    bail!(
        "{}: it is the folder of a job {why}; `--folder` names another one, or remove it with all that its \
         tasks have made",
        folder.0.display()
    )
}
