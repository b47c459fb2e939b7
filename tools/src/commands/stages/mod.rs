//! The stages as commands. Each starts from a preset's parameters and lets options change them.

mod detect;
mod embed;
mod encode;
mod evaluate;
mod imagine;
mod observe;
mod overlay;
mod sample;
mod select;

pub use detect::Detect;
pub use embed::Embed;
pub use encode::Encode;
pub use evaluate::Evaluate;
pub use imagine::Imagine;
pub use observe::Observe;
pub use sample::Sample;
pub use select::Select;

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use dream_ood::ask;
use dream_ood::query::runs_batch;
use dream_ood::stage::pipeline::{Preset, Reach};
use dream_ood::stage::{
    Asked, ImageSource, Input, ModelSource, Refusals, Role, Room, Source, Stage, StateSource, did_you_mean,
    lineage,
};
use dream_ood::store::{Readable as _, Store};
use dream_schema::{Run, RunId, RunSpec};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Verdict;
use crate::globals::{Format, Globals};
use crate::session::{Session, Usage, data_dir};
use crate::{memory, output};

/// Where parameters come from.
#[derive(Debug, clap::Args)]
pub struct Base {
    /// The preset to start from: one that ships, or a file
    #[arg(long, default_value = "fashion-mini", value_name = "NAME|FILE")]
    preset: String,
    /// Changes any parameter of the stage
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Names the run, by a name that no other run has; beside a classifier with outliers the plain one is
    /// ALIAS-plain
    #[arg(long)]
    alias: Option<String>,
    /// Says what is refused, or that all is well, and stops: nothing is read whole, registered or run
    #[arg(long)]
    check: bool,
}

/// The commands of the stages, each with a parameter that it has for the help of `--set`.
pub const SET_EXAMPLES: [(&str, &str); 8] = [
    ("embed", "tokens=first"),
    ("encode", "training.depth=18"),
    ("sample", "sampling.sigma=0.1"),
    ("imagine", "steps=20"),
    ("select", "k=20"),
    ("detect", "training.depth=18"),
    ("observe", "network.depth=18"),
    ("evaluate", "convention=openood"),
];

/// Weights that a network starts from.
#[derive(Debug, clap::Args)]
pub struct Weights {
    /// Starts from the weights of a ResNet: safetensors or a PyTorch file, by torchvision's names below any
    /// prefix (DataParallel, Lightning, torch.compile, MoCo, ...), or their registered name
    #[arg(long, value_name = "FILE|NAME")]
    init: Option<String>,
    /// Leaves the last layer of these weights out
    #[arg(long, requires = "init")]
    new_head: bool,
}

impl Weights {
    /// Returns the weights, registering a file where the reach goes so far.
    fn source(&self, store: &Store, reach: Reach) -> Result<Option<StateSource>> {
        let Some(name) = &self.init else { return Ok(None) };
        Ok(Some(weights(store, "--init", name, reach)?))
    }

    fn are_given(&self) -> bool {
        self.init.is_some()
    }

    /// Returns the parameter, if it is asked for.
    fn new_head(&self) -> Option<Value> {
        self.new_head.then_some(Value::Bool(true))
    }
}

/// Returns the weights that `option` names, registering a file where the reach goes so far.
fn weights(store: &Store, option: &str, name: &str, reach: Reach) -> Result<StateSource> {
    ask::weights(store, name, reach).with_context(|| match Path::new(name).is_file() {
        true => format!("{option} {name}"),
        false => format!("{option} {name} is neither a file nor registered"),
    })
}

/// Reads a preset that ships, by name, or from a file, for the device that models run on.
pub fn read_preset(globals: &Globals, name: &str) -> Result<Preset> {
    Ok(preset_as_written(name)?.on(globals.device.processor()))
}

/// Returns the presets that a preset stands for, one for each setting of its sweep.
pub fn settings_of(preset: &Preset) -> Result<Vec<Preset>> {
    Ok(preset.settings().map_err(|error| Usage(error.to_string()))?)
}

fn preset_as_written(name: &str) -> Result<Preset> {
    let path = Path::new(name);
    let read = |path: &Path| Preset::read(path).map_err(|error| Usage(error.to_string()).into());
    if path.extension().is_some_and(|e| e == "toml") {
        return read(path);
    }
    let folder = data_dir()?.join("presets");
    let path = folder.join(name).with_extension("toml");
    if !path.is_file() {
        let files = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        let names = files.filter_map(|f| Some(f.ok()?.path().file_stem()?.to_string_lossy().into_owned()));
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        bail!(Usage(format!(
            "there is no preset `{name}`; there are {}, or give a .toml file{}",
            names.join(", "),
            did_you_mean(name, names.iter().map(String::as_str))
        )));
    }
    read(&path)
}

/// Says that a check found nothing.
pub fn all_is_well(globals: &Globals) -> Result<Verdict> {
    match globals.format {
        Format::Table => out!("all is well")?,
        Format::Json | Format::Csv => {
            output::records(globals.format, ["check"], &[[Value::from("all is well")]])?;
        }
    }
    Ok(Verdict::Good)
}

/// Prints runs that were asked for: their ids, or for programs what is on record of them.
fn print_runs(session: &Session<'_>, runs: &[Run]) -> Result<()> {
    match session.globals.format {
        Format::Table => runs.iter().try_for_each(|run| out!("{}", run.id)),
        format @ (Format::Json | Format::Csv) => {
            output::batch(format, runs_batch(runs, &session.store.aliases()?)?)
        }
    }
}

impl Base {
    /// Opens the store, made new if there is none; for a check, it is only read.
    fn writing<'a>(&self, globals: &'a Globals) -> Result<Session<'a>> {
        match self.check {
            true => Session::checking(globals),
            false => Session::answering(globals, false),
        }
    }

    /// Opens a store that must be there; for a check, it is only read.
    fn existing<'a>(&self, globals: &'a Globals) -> Result<Session<'a>> {
        match self.check {
            true => Session::reading(globals),
            false => Session::answering(globals, true),
        }
    }

    /// Checks what is asked, with sources looked at as far as names tell. Then it is asked again with sources
    /// as they are, which are registered. Returns the specification of the run; none if `--check` ends here.
    fn spec<S: Stage>(
        &self,
        session: &Session<'_>,
        room: Room,
        ask: impl Fn(Reach) -> Result<Asked<S>>,
    ) -> Result<Option<RunSpec>> {
        let mut refusals = Refusals::of(S::NAME).within(room);
        let planned = ask(Reach::Glance)?.plan(&session.store, &mut refusals)?;
        refuse_alias(session, self.alias.as_deref(), &planned, &mut refusals)?;
        refusals.finish()?;
        session.require_room_for(&planned)?;
        match self.check {
            true => Ok(None),
            false => Ok(Some(ask(Reach::Register)?.spec(&session.store)?)),
        }
    }

    /// Checks what is asked and carries it out, as far as `--check` allows.
    fn run<S: Stage>(
        &self,
        session: &Session<'_>,
        ask: impl Fn(Reach) -> Result<Asked<S>>,
    ) -> Result<Verdict> {
        let Some(spec) = self.spec(session, memory::room(session.globals), ask)? else {
            return all_is_well(session.globals);
        };
        print_runs(session, &[session.run(&spec, self.alias.as_deref())?])?;
        Ok(Verdict::Good)
    }

    /// Says whether `--set` gives a parameter, or a part of it.
    fn sets(&self, key: &str) -> bool {
        let given = self.set.iter().filter_map(|pair| pair.split_once('='));
        given
            .map(|(given, _)| given)
            .any(|given| given.split('.').next() == Some(key))
    }

    fn preset(&self, globals: &Globals) -> Result<Preset> {
        read_preset(globals, &self.preset)
    }

    /// Returns `params` with the named options, then `--set`, laid over them.
    fn apply<P: Serialize + DeserializeOwned>(
        &self,
        params: &P,
        options: &[(&str, Option<Value>)],
    ) -> Result<P> {
        overlay::overlay(params, options, &self.set)
    }
}

/// Refuses an alias that cannot be given, or that names another run than the one that is asked for.
fn refuse_alias(
    session: &Session<'_>,
    alias: Option<&str>,
    asked: &Input,
    refusals: &mut Refusals,
) -> Result<()> {
    let (Some(alias), Input::Planned(known)) = (alias, asked) else {
        return Ok(());
    };
    let fault = match known.id {
        Some(id) => session.alias_fault(alias, id)?,
        // A run of another stage is another run whatever its id will be.
        None => match session.named(alias)? {
            Some(run) if session.store.run(run)?.spec.stage == known.stage => None,
            _ => session.alias_fault(alias, RunId([0; 16]))?,
        },
    };
    if let Some(fault) = fault {
        refusals.refuse("alias", fault);
    }
    Ok(())
}

/// Reads a finite number: JSON, and so the parameters of a run, has no word for others.
fn finite(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|n| n.is_finite());
    number.ok_or_else(|| "expected a finite number".to_owned())
}

/// Returns the JSON of an option that was given.
fn json<T: Serialize>(option: &Option<T>) -> Option<Value> {
    option.as_ref().and_then(|value| serde_json::to_value(value).ok())
}

/// Returns the diffusion model that an option names, by its registered name or by its path, or the preset's.
/// A path that is not registered yet is, under its last part.
fn model_or(
    session: &Session<'_>,
    name: &Option<String>,
    from: Option<RunId>,
    reach: Reach,
    preset: &Preset,
) -> Result<ModelSource> {
    let Some(name) = name else {
        let made_with = from.map(|run| lineage::source(&session.store, run, &Role::Model));
        if let Some(model) = made_with.transpose()?.flatten() {
            return Ok(model);
        }
        let own = preset.model(&session.store, reach)?;
        agree(&session.store, from, &Role::Model, &own)?;
        return Ok(own);
    };
    let found = ask::model(&session.store, name, reach);
    if !Path::new(name).exists() {
        return Ok(found?.source);
    }
    let own = ask::name_of(Path::new(name));
    let found = found.with_context(|| {
        format!("--model {name} (`dream dataset add NAME {name}` gives it another name than `{own}`)")
    })?;
    if found.registered {
        let source = &found.source;
        session
            .bars
            .say(&format!("registered {} as `{}`", source.path(), source.name()));
    }
    Ok(found.source)
}

/// Returns the image set that an option names, or that the run `from` and what it came from were made of, or
/// the preset's in-distribution set.
fn images_or(
    store: &Store,
    name: &Option<String>,
    from: Option<RunId>,
    reach: Reach,
    preset: &Preset,
) -> Result<ImageSource> {
    if let Some(name) = name {
        return Ok(ImageSource::named(store, name)?);
    }
    if let Some(run) = from
        && let Some(images) = lineage::source(store, run, &Role::Images)?
    {
        return Ok(images);
    }
    let own = preset.id_set(store, reach)?;
    agree(store, from, &Role::Images, &own)?;
    Ok(own)
}

/// Refuses what a preset names where the run `from` and what it came from were made of something else, which
/// is not at hand.
fn agree(store: &Store, from: Option<RunId>, role: &Role, own: &impl Source) -> Result<()> {
    let Some(run) = from else { return Ok(()) };
    match lineage::digest(store, run, role)? {
        Some(digest) if own.is_registered() && own.digest() != digest => bail!(Usage(format!(
            "run {run} was made of other {role} (digest {digest:.12}) than `{}` of the preset, and they are \
             not where they were registered; register them again",
            own.name()
        ))),
        Some(_) | None => Ok(()),
    }
}
