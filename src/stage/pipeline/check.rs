//! What cannot be done of several pipelines, told before any work; and what they read, registered.

use super::{Preset, Reach};
use crate::stage::{Refusal, Refusals, Room, StageError};
use crate::store::{Store, check_alias};

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
        let mut refused = preset.check(store, seed, room)?;
        let mut refusals = Refusals::of("preset");
        if let Err(error) = check_alias(&preset.alias(seed, "evaluate-plain")) {
            refusals.refuse("name", format!("the aliases of its runs begin with it: {error}"));
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
    /// Registers the image sets and the model that it reads, where they are not registered.
    ///
    /// # Errors
    /// If one of them cannot be read, or another is registered under its name.
    pub fn register(&self, store: &Store) -> Result<(), StageError> {
        self.looked_at(store, Reach::Register).map(|_| ())
    }
}
