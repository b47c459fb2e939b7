//! What cannot be done of several pipelines, told before any work; and what they read, registered.

use std::collections::BTreeMap;
use std::path::PathBuf;

use dream_schema::RunId;

use super::walk::{Stored, Walker};
use super::{Named, Preset, Reach};
use crate::stage::{Asked, Input, Refusal, Refusals, Room, Stage, StageError};
use crate::store::{Readable as _, Store, StoreError, check_alias};

/// Returns everything that cannot be done of the pipelines of these presets, which are settings of one, with
/// the greatest of their seeds. What is wrong with one setting may be so with all: one is told.
///
/// # Errors
/// If the store fails.
pub fn check_all(
    presets: &[Preset],
    store: &Store,
    seeds: &[u64],
    room: Room,
) -> Result<Vec<Refusal>, StageError> {
    let seed = seeds.iter().copied().max().unwrap_or(0);
    for preset in presets {
        preset.stop.check().map_err(StageError::access(&preset.file))?;
        let mut refused = preset.check(store, seed, room)?;
        let mut refusals = Refusals::of("preset");
        preset.check_name(seed, &refused, &mut refusals);
        preset.check_sources(&mut refusals);
        if refused.is_empty() {
            preset.check_aliases(store, seeds, &mut refusals)?;
        }
        refused.extend(refusals.into_inner());
        if refused.is_empty() {
            continue;
        }
        let setting = preset.setting.in_words();
        if !setting.is_empty() {
            refused
                .iter_mut()
                .for_each(|refusal| refusal.part = format!("with {setting}: {}", refusal.part));
        }
        return Ok(refused);
    }
    Ok(Vec::new())
}

impl Preset {
    /// Registers the image sets and the model that it reads, where they are not registered: all of them, or
    /// where one is refused none.
    ///
    /// # Errors
    /// If one of them cannot be read, or another is registered under its name.
    pub fn register(&self, store: &Store) -> Result<(), StageError> {
        let sources = self.looked_at(store, Reach::Read)?;
        let mut refusals = Refusals::default();
        sources.check_names(store, &mut refusals)?;
        refusals.finish()?;
        sources.register(store)
    }

    /// Says whether the store has all runs of the pipeline.
    ///
    /// # Errors
    /// If the store fails, or a source cannot be looked at.
    pub fn is_answered(&self, store: &Store, seed: u64) -> Result<bool, StageError> {
        let mut stored = Stored { store, missing: 0 };
        self.walk(store, &self.looked_at(store, Reach::Glance)?, seed, &mut stored)?;
        Ok(stored.missing == 0)
    }

    /// Refuses a name that aliases cannot begin with, or files.
    fn check_name(&self, seed: u64, told: &[Refusal], refusals: &mut Refusals) {
        // Where the parts could be looked at, it was told of the first whose alias cannot be one.
        let is_told = |refused: &Refusal| (refused.part.as_str(), refused.key.as_str()) == ("preset", "name");
        if told.iter().any(is_told) {
            return;
        }
        if let Err(error) = check_alias(&self.alias(seed, "evaluate-plain")) {
            refusals.refuse("name", format!("the aliases of its runs begin with it: {error}"));
        } else if self.name.contains('/') || self.name.bytes().all(|b| b == b'.') {
            let found = format!(
                "`{}` leads to another folder, and files are called by it",
                self.name
            );
            refusals.refuse("name", found);
        }
    }

    /// Refuses one name for two things.
    fn check_sources(&self, refusals: &mut Refusals) {
        let data = &self.data;
        let images = std::iter::once(&data.id)
            .chain(&data.ood)
            .chain(&data.ood_validation);
        let mut seen: Vec<(&Named, Option<PathBuf>)> = Vec::new();
        for named in images {
            let path = self.path(named).ok().flatten();
            let is_other = |(other, place): &&(&Named, Option<PathBuf>)| {
                other.name == named.name && place.is_some() && path.is_some() && *place != path
            };
            if seen.iter().any(|known| is_other(&known)) {
                refusals.refuse("data", format!("two image sets are called `{}`", named.name));
            }
            seen.push((named, path));
        }
        if seen.iter().any(|(named, _)| named.name == self.model.name) {
            let name = &self.model.name;
            refusals.refuse("model", format!("`{name}` is the name of an image set here too"));
        }
    }

    /// Refuses aliases that somebody has given to runs which the pipeline would not call so: runs of another
    /// stage or seed. One of the same stage and seed was made by an earlier form of the pipeline.
    fn check_aliases(&self, store: &Store, seeds: &[u64], refusals: &mut Refusals) -> Result<(), StageError> {
        let begin = format!("{}-", self.name);
        let named = store.aliases()?.into_iter();
        let named: BTreeMap<String, RunId> = named.filter(|(name, _)| name.starts_with(&begin)).collect();
        if named.is_empty() {
            return Ok(());
        }
        let sources = self.looked_at(store, Reach::Glance)?;
        for seed in seeds {
            let mut aliases = Aliases {
                preset: self,
                store,
                seed: *seed,
                named: &named,
                refusals,
            };
            self.walk(store, &sources, *seed, &mut aliases)?;
        }
        Ok(())
    }
}

/// Looks at the aliases of every part.
struct Aliases<'a> {
    preset: &'a Preset,
    store: &'a Store,
    seed: u64,
    named: &'a BTreeMap<String, RunId>,
    refusals: &'a mut Refusals,
}

impl Walker for Aliases<'_> {
    fn part<S: Stage>(&mut self, name: &str, asked: Asked<S>) -> Result<Input, StageError> {
        let (alias, seed) = (self.preset.alias(self.seed, name), asked.seed);
        let input = asked.plan(self.store, &mut Refusals::default())?;
        if let Some(run) = self.named.get(&alias)
            && let Ok(record) = self.store.run(*run)
            && (record.spec.stage != S::NAME || record.spec.seed != seed)
        {
            let taken = StoreError::AliasTaken {
                name: alias,
                run: *run,
            };
            self.refusals.take(name, Err::<(), _>(taken))?;
        }
        Ok(input)
    }
}
