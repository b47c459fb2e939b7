//! A job of many settings and seeds, cut into tasks that other processes carry out: each step once, however
//! many pipelines have it in common.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Outlook, Preset, Step};
use crate::engine::Processor;
use crate::input;
use crate::stage::StageError;
use crate::store::Store;

/// A job in its tasks. It holds the text of its preset, so that a change of the file changes no task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The preset's file, in whose folder relative paths start.
    pub file: PathBuf,
    /// What it said.
    pub text: String,
    /// The processor that it is carried out on.
    pub processor: Option<Processor>,
    /// In how many shards pictures are imagined.
    pub shards: u64,
    /// The pipelines.
    pub points: Vec<Point>,
    /// What is to be made for them; each task comes after those that it reads from.
    pub tasks: Vec<Task>,
}

/// A pipeline of the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// The place of its setting, from 0.
    pub setting: usize,
    /// Its seed.
    pub seed: u64,
}

/// A step of one or more of the pipelines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The step.
    pub step: Step,
    /// What it is asked, as a hash.
    pub key: String,
    /// The first pipeline that has it.
    pub point: usize,
    /// The tasks that it reads from, and those that these read from.
    pub after: Vec<usize>,
}

impl Task {
    /// Returns its name: that of its step, and the beginning of its key.
    pub fn name(&self) -> String {
        format!("{}-{:.12}", self.step, self.key)
    }
}

impl Plan {
    /// Returns the tasks of a preset with all its settings and these seeds. What the store has is no task.
    ///
    /// # Errors
    /// As [`Preset::outlook`].
    pub fn of(preset: &Preset, seeds: &[u64], shards: u64, store: &Store) -> Result<Self, StageError> {
        let mut plan = Self {
            file: preset.file.clone(),
            text: preset.text.clone(),
            processor: preset.processor,
            shards,
            points: Vec::new(),
            tasks: Vec::new(),
        };
        let wrong = |message: String| StageError::File {
            path: preset.file.clone(),
            message,
        };
        preset.sweep.check_pipelines(seeds.len()).map_err(wrong)?;
        for (setting, preset) in preset.settings()?.iter().enumerate() {
            for seed in seeds {
                preset.stop.check().map_err(StageError::access(&preset.file))?;
                plan.add(Point { setting, seed: *seed }, &preset.outlook(store, *seed)?);
            }
        }
        // The tasks of a step are one job: all of them together.
        let mut order: Vec<usize> = (0..plan.tasks.len()).collect();
        order.sort_by_key(|place| Step::ALL.iter().position(|step| *step == plan.tasks[*place].step));
        let new: BTreeMap<usize, usize> = order.iter().zip(0..).map(|(old, new)| (*old, new)).collect();
        let moved = |task: &usize| {
            let mut task = plan.tasks[*task].clone();
            task.after = task.after.iter().map(|old| new[old]).collect();
            task.after.sort_unstable();
            task
        };
        plan.tasks = order.iter().map(moved).collect();
        Ok(plan)
    }

    fn add(&mut self, point: Point, parts: &[Outlook]) {
        let number = self.points.len();
        self.points.push(point);
        let mut own: BTreeMap<&'static str, usize> = BTreeMap::new();
        for step in Step::ALL {
            let parts: Vec<&Outlook> = parts.iter().filter(|part| part.step == step).collect();
            if parts.iter().all(|part| part.known) {
                continue;
            }
            let mut hasher = blake3::Hasher::new();
            for part in &parts {
                hasher.update(part.key.as_bytes());
            }
            let key = hasher.finalize().to_hex().to_string();
            let known = self
                .tasks
                .iter()
                .position(|task| task.step == step && task.key == key);
            let place = known.unwrap_or_else(|| {
                let read = parts.iter().flat_map(|part| &part.after);
                let mut after: Vec<usize> = Vec::new();
                for task in read.filter_map(|step| own.get(step.name())) {
                    after.extend(&self.tasks[*task].after);
                    after.push(*task);
                }
                after.sort_unstable();
                after.dedup();
                self.tasks.push(Task {
                    step,
                    key,
                    point: number,
                    after,
                });
                self.tasks.len() - 1
            });
            own.insert(step.name(), place);
        }
    }

    /// Returns the presets of its settings.
    ///
    /// # Errors
    /// As [`Preset::parse`].
    pub fn presets(&self) -> Result<Vec<Preset>, StageError> {
        let preset = Preset::parse(&self.text, &self.file)?;
        match self.processor {
            Some(processor) => preset.on(processor).settings(),
            None => preset.settings(),
        }
    }

    /// Returns the preset and the seed of a task.
    ///
    /// # Errors
    /// As [`Preset::parse`], and [`StageError::Mismatch`] if the plan has no such setting.
    pub fn preset_of(&self, task: &Task) -> Result<(Preset, u64), StageError> {
        let missing = || StageError::Mismatch("the plan has no setting for its task".into());
        let point = self.points.get(task.point).ok_or_else(missing)?;
        let mut presets = self.presets()?;
        match point.setting < presets.len() {
            true => Ok((presets.swap_remove(point.setting), point.seed)),
            false => Err(missing()),
        }
    }

    /// Returns the places of the tasks of a step.
    pub fn tasks_of(&self, step: Step) -> Vec<usize> {
        let all = self.tasks.iter().enumerate();
        all.filter(|(_, task)| task.step == step)
            .map(|(place, _)| place)
            .collect()
    }

    /// Returns the steps that have tasks, each with the steps that it comes after directly or through others.
    pub fn steps(&self) -> Vec<(Step, Vec<Step>)> {
        let steps = Step::ALL
            .into_iter()
            .filter(|step| !self.tasks_of(*step).is_empty());
        let before = |step: Step| {
            let tasks = self.tasks_of(step).into_iter();
            let read: Vec<usize> = tasks.flat_map(|task| self.tasks[task].after.clone()).collect();
            let is_read = |other: &Step| read.iter().any(|task| self.tasks[*task].step == *other);
            (step, Step::ALL.into_iter().filter(is_read).collect())
        };
        steps.map(before).collect()
    }

    /// Reads a plan from its file.
    ///
    /// # Errors
    /// If it cannot be read or is none.
    pub fn read(path: &Path) -> Result<Self, StageError> {
        let bytes = input::whole(path, input::LABELS).map_err(StageError::access(path))?;
        serde_json::from_slice(&bytes).map_err(|error| StageError::File {
            path: path.to_owned(),
            message: format!("it is no plan of this version: {error}"),
        })
    }
}
