//! Presets: whole pipelines in one process, or cut into tasks for several.

use std::path::{Path, PathBuf};

use dream_ood::engine::Processor;
use dream_ood::stage::imagine::Shard;
use dream_ood::stage::pipeline::{Plan, Preset, Step, Task, check_all};
use dream_ood::stage::{self, Room, StageError};
use dream_ood::store::Readable as _;
use dream_ood::{Error, Kind};
use dream_schema::Run;
use pyo3::prelude::*;
use serde_json::{Map, Value, json};

use crate::errors::{of_kind, raised};
use crate::parts::shard;
use crate::session::Machine;
use crate::store::Store;
use crate::work::work;

/// Reads a preset for this processor. `settings`, where they are given, take the place of its sweep: JSON of
/// keys and lists of values.
fn preset(file: &Path, settings: Option<&str>, seeds: Option<Vec<u64>>) -> PyResult<Preset> {
    // A relative path would mean another file in another process.
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let read = Preset::read(&file).map_err(raised)?.on(Processor::Cpu);
    if settings.is_none() && seeds.is_none() {
        return Ok(read);
    }
    let mut sweep: Map<String, Value> = match settings {
        Some(json) => serde_json::from_str(json)
            .map_err(|error| of_kind(Kind::Refused, format!("settings: {error}")))?,
        None => read
            .sweep
            .keys
            .iter()
            .map(|(key, values)| (key.clone(), json!(values)))
            .collect(),
    };
    let own = (!read.sweep.seeds.is_empty()).then(|| read.sweep.seeds.clone());
    if let Some(seeds) = seeds.or(own) {
        sweep.insert("seeds".to_owned(), json!(seeds));
    }
    read.swept(&sweep).map_err(raised)
}

/// Returns the seeds of a preset.
fn seeds(preset: &Preset) -> Vec<u64> {
    match preset.sweep.seeds.is_empty() {
        true => vec![0],
        false => preset.sweep.seeds.clone(),
    }
}

/// Runs the whole pipeline of a preset file, with some keys given other values (JSON), and returns the parts
/// and their runs.
#[pyfunction]
#[pyo3(signature = (store, machine, listener, file, seed, setting))]
pub fn run_preset(
    py: Python<'_>,
    store: &Bound<'_, Store>,
    machine: Machine,
    listener: Py<PyAny>,
    file: PathBuf,
    seed: u64,
    setting: Option<&str>,
) -> PyResult<Vec<(String, String)>> {
    let library = store.get().to_write()?;
    let mut presets = preset(&file, setting, Some(vec![seed]))?
        .settings()
        .map_err(raised)?;
    if presets.len() != 1 {
        let (file, count) = (file.display(), presets.len());
        let words = format!("{file}: its sweep has {count} settings, and one is run at a time");
        return Err(of_kind(Kind::Refused, words));
    }
    let preset = presets.swap_remove(0);
    work(py, &listener, |told| {
        let preset = preset.until(told.stop());
        let refused = check_all(std::slice::from_ref(&preset), &library, &[seed], Room::default())?;
        if !refused.is_empty() {
            return Err(StageError::Refused(refused).into());
        }
        let session = machine.session(&library, told);
        let context = session.context(machine.batch_size());
        let mut done = Vec::new();
        preset.run(&context, seed, &mut |part, run, _| {
            library.move_alias(&preset.alias(seed, part), run.id)?;
            done.push((part.to_owned(), run.id.to_string()));
            Ok(())
        })?;
        Ok(done)
    })
}

/// Checks all pipelines of a preset, registers what they read, and returns the plan, as JSON, of what the
/// store does not have of them.
#[pyfunction]
#[pyo3(signature = (store, listener, file, settings, seeds, shards))]
pub fn planned(
    py: Python<'_>,
    store: &Bound<'_, Store>,
    listener: Py<PyAny>,
    file: PathBuf,
    settings: Option<&str>,
    seeds: Option<Vec<u64>>,
    shards: u64,
) -> PyResult<String> {
    let library = store.get().to_write()?;
    let preset = preset(&file, settings, seeds)?;
    let presets = preset.settings().map_err(raised)?;
    let seeds = self::seeds(&preset);
    work(py, &listener, |told| {
        let until = |preset: Preset| preset.until(told.stop());
        let (preset, presets) = (until(preset), presets.into_iter().map(until).collect::<Vec<_>>());
        let check = || match check_all(&presets, &library, &seeds, Room::default())? {
            none if none.is_empty() => Ok(()),
            refused => Err(StageError::Refused(refused)),
        };
        check()?;
        for preset in &presets {
            preset.register(&library)?;
        }
        // Now that they are registered, more is known of them.
        check()?;
        let plan = Plan::of(&preset, &seeds, shards, &library)?;
        Ok(json!(plan).to_string())
    })
}

fn plan(json: &str) -> PyResult<Plan> {
    serde_json::from_str(json).map_err(|error| of_kind(Kind::Refused, format!("no plan: {error}")))
}

/// A task: its name, its step, whether it is cut into shards, and the tasks that it comes after.
type Named = (String, &'static str, bool, Vec<usize>);

/// Returns the tasks of a plan.
#[pyfunction]
pub fn tasks(json: &str) -> PyResult<Vec<Named>> {
    let plan = plan(json)?;
    let tasks = plan.tasks.iter();
    let divided = |step| step == Step::Imagine && plan.shards > 1;
    Ok(tasks
        .map(|task| {
            (
                task.name(),
                task.step.name(),
                divided(task.step),
                task.after.clone(),
            )
        })
        .collect())
}

/// Carries out a task of a plan, or part I of N of it.
#[pyfunction]
#[pyo3(signature = (store, machine, listener, json, number, part))]
pub fn run_task(
    py: Python<'_>,
    store: &Bound<'_, Store>,
    machine: Machine,
    listener: Py<PyAny>,
    json: &str,
    number: usize,
    part: Option<(u64, u64)>,
) -> PyResult<()> {
    let (library, plan) = (store.get().to_write()?, plan(json)?);
    work(py, &listener, |told| {
        let task = task(&plan, number)?;
        let (preset, seed) = plan.preset_of(task)?;
        let session = machine.session(&library, told);
        let context = session.context(machine.batch_size());
        preset.run_step(
            &context,
            seed,
            task.step,
            shard(part)?,
            &mut |_: &str, _: &Run, _| Ok(()),
        )?;
        Ok(())
    })
}

/// Returns which parts of a task of a plan are left to be made, counted from 1; its inputs are in the store.
#[pyfunction]
pub fn task_parts_left(
    py: Python<'_>,
    store: &Bound<'_, Store>,
    machine: Machine,
    listener: Py<PyAny>,
    json: &str,
    number: usize,
) -> PyResult<Vec<u64>> {
    let (library, plan) = (store.get().to_write()?, plan(json)?);
    work(py, &listener, |told| {
        let task = task(&plan, number)?;
        let (preset, seed) = plan.preset_of(task)?;
        let parts = preset.outlook(&library, seed)?.into_iter();
        let run = parts
            .filter(|part| part.step == task.step)
            .find_map(|part| part.run);
        let (known, _) = library.legible_runs()?;
        let Some(run) = known.into_iter().find(|known| Some(known.id) == run) else {
            return Ok((1..=plan.shards).collect());
        };
        let session = machine.session(&library, told);
        let context = session.context(machine.batch_size());
        let left = stage::parts_left(&context, &run.spec, plan.shards)?;
        Ok(left.into_iter().map(Shard::part).collect())
    })
}

fn task(plan: &Plan, number: usize) -> Result<&Task, StageError> {
    let none = || StageError::Mismatch(format!("the plan has no task {number}"));
    plan.tasks.get(number).ok_or_else(none)
}

/// A pipeline of a plan: its setting as JSON, its seed, its parts with their runs.
type Made = (String, u64, Vec<(String, String)>);

/// Returns the pipelines of a plan that has been carried out, and gives their runs names.
#[pyfunction]
pub fn results(py: Python<'_>, store: &Bound<'_, Store>, json: &str) -> PyResult<Vec<Made>> {
    let (library, plan) = (store.get().to_write()?, plan(json)?);
    py.detach(|| {
        let made = || {
            let presets = plan.presets()?;
            let mut all = Vec::new();
            for point in &plan.points {
                let none = || StageError::Mismatch("the plan has no such setting".into());
                let preset = presets.get(point.setting).ok_or_else(none)?;
                let mut runs = Vec::new();
                for part in preset.outlook(&library, point.seed)? {
                    let run = part.run.filter(|_| part.known).ok_or_else(|| {
                        StageError::Mismatch(format!("the part {} has no finished run", part.part))
                    })?;
                    library.move_alias(&preset.alias(point.seed, &part.part), run)?;
                    runs.push((part.part, run.to_string()));
                }
                let setting: Map<String, Value> = preset.setting.values.iter().cloned().collect();
                all.push((json!(setting).to_string(), point.seed, runs));
            }
            Ok::<_, Error>(all)
        };
        made().map_err(raised)
    })
}
