//! What a run reads from outside the store: image sets, diffusion models and weights, each kind its own type.
//! They are registered by name and pinned by digest.

mod images;
mod memo;
mod model;
mod state;

use dream_schema::{Dataset, Run, RunSpec};

use super::{Role, StageError};
use crate::store::{Readable, Store};

pub(super) use images::read_images;
pub use images::{ImageSource, notes_on_images, register_images};
pub(super) use model::read_model;
pub use model::{MODEL_KIND, ModelSource, register_model};
pub(in crate::stage) use state::UseOf;
pub use state::{STATE_KIND, StateSource, register_state};

/// Something registered in the store that runs read, of one kind.
pub trait Source: Sized {
    /// What it is, in words: `an image set`.
    const WHAT: &'static str;

    /// Says whether an entry of that kind is one.
    fn is_kind(kind: &str) -> bool;

    /// Returns the entry as this kind of source, without asking whether it is one.
    fn wrap(entry: Dataset) -> Self;

    /// Returns what is registered.
    fn entry(&self) -> &Dataset;

    /// Returns the source that an entry of the store is.
    ///
    /// # Errors
    /// If it is of another kind.
    fn of(entry: Dataset) -> Result<Self, StageError> {
        if Self::is_kind(&entry.kind) {
            return Ok(Self::wrap(entry));
        }
        Err(StageError::SourceKind {
            name: entry.name,
            kind: entry.kind,
            expected: Self::WHAT,
        })
    }

    /// Returns the source registered under `name`.
    ///
    /// # Errors
    /// If there is none, or it is of another kind.
    fn named(store: &Store, name: &str) -> Result<Self, StageError> {
        Self::of(store.dataset(name)?)
    }

    /// Returns the source that serves as `role` in a run.
    ///
    /// # Errors
    /// If the run names none, no registered one has the digest, or it is of another kind.
    fn find(store: &Store, run: &Run, role: &Role) -> Result<Self, StageError> {
        let role = role.to_string();
        match run.spec.sources.get(&role) {
            Some(digest) => {
                let name = run.spec.source_names.get(&role).map(String::as_str);
                Self::of(with_digest(store, &role, digest, name)?)
            }
            None => Err(StageError::MissingInput {
                stage: run.spec.stage.clone(),
                role,
            }),
        }
    }

    /// Returns its name in the store.
    fn name(&self) -> &str {
        &self.entry().name
    }

    /// Returns its digest in hex.
    fn digest(&self) -> &str {
        &self.entry().digest
    }

    /// Returns where it lies.
    fn path(&self) -> &str {
        &self.entry().path
    }

    /// Says whether it is registered: what was only glanced at has no digest.
    fn is_registered(&self) -> bool {
        !self.digest().is_empty()
    }

    /// Checks that what was read now is what is on record.
    ///
    /// # Errors
    /// [`StageError::SourceChanged`].
    fn check_digest(&self, actual: String) -> Result<(), StageError> {
        let entry = self.entry();
        if actual == entry.digest {
            return Ok(());
        }
        Err(StageError::SourceChanged {
            name: entry.name.clone(),
            path: entry.path.clone(),
            expected: entry.digest.clone(),
            actual,
        })
    }
}

/// Says whether both are the same, as far as is known: by their digests, and where one of them is not
/// registered yet, by its name, under which a store has one thing alone and refuses others, or by the place
/// where it lies and the classes that are read of it.
pub(super) fn is_same(one: &Dataset, other: &Dataset) -> bool {
    match one.digest.is_empty() || other.digest.is_empty() {
        false => one.digest == other.digest,
        true => {
            let named = !one.name.is_empty() && one.name == other.name;
            named || one.path == other.path && one.classes == other.classes
        }
    }
}

/// Returns the registered entry with that digest. Of several, the one that was `named`, or that a role
/// `ood/NAME` names; but one that is where the store says comes before: it may have been moved, or have come
/// with another machine's store.
///
/// # Errors
/// If no registered one has it.
pub fn with_digest(
    store: &Store,
    role: &str,
    digest: &str,
    named: Option<&str>,
) -> Result<Dataset, StageError> {
    let mut same = store.datasets()?;
    same.retain(|entry| entry.digest == digest);
    let named = named.or(Role::ood_name(role));
    let is_named = |entry: &Dataset| named == Some(entry.name.as_str());
    // A digest does not cover the names of classes.
    if let Some(classes) = same
        .iter()
        .find(|entry| is_named(entry))
        .map(|entry| entry.classes.clone())
    {
        same.retain(|entry| is_named(entry) || entry.classes == classes);
    }
    let there = |entry: &Dataset| std::path::Path::new(&entry.path).exists();
    same.sort_by_key(|entry| (!there(entry), !is_named(entry)));
    same.into_iter().next().ok_or_else(|| StageError::UnknownSource {
        role: role.to_owned(),
        digest: digest.to_owned(),
    })
}

/// Returns the name of what a run read as a role, among what is registered: the one that was asked for, if it
/// still has that digest, else another one with it.
pub fn name_of_source<'a>(registered: &'a [Dataset], spec: &RunSpec, role: &str) -> Option<&'a str> {
    let digest = spec.sources.get(role)?;
    let mut same = registered.iter().filter(|entry| entry.digest == *digest);
    let first = same.clone().next()?;
    let named = same.find(|entry| spec.source_names.get(role) == Some(&entry.name));
    Some(&named.unwrap_or(first).name)
}

/// Checks the name under which something is to be registered, before it is read: as those of aliases, unless
/// it is in use already.
///
/// # Errors
/// If it could be mistaken for something else.
pub fn check_source_name(store: &Store, name: &str) -> Result<(), StageError> {
    if store.datasets()?.iter().any(|entry| entry.name == name) {
        return Ok(());
    }
    Ok(crate::store::check_name(name)?)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::Kind;
    use crate::dataset::Reading;
    use crate::error::HasKind as _;
    use crate::stop::Stop;

    /// What `--check` looks at has no digest: one set by a path and by its registered name are still one.
    #[test]
    fn a_set_by_its_path_is_the_one_that_is_registered_under_its_name() {
        let entry = |name: &str, path: &str, digest: &str| Dataset {
            name: name.into(),
            path: path.into(),
            digest: digest.into(),
            ..Dataset::default()
        };
        let registered = entry("garments", "/there", "12");
        for (other, same) in [
            (entry("garments", "/here", ""), true),
            (entry("clothes", "/there", ""), true),
            (entry("clothes", "/here", ""), false),
            (entry("clothes", "/here", "12"), true),
            (entry("garments", "/there", "34"), false),
            (entry("", "/here", ""), false),
        ] {
            assert_eq!(is_same(&registered, &other), same, "{other:?}");
            assert_eq!(is_same(&other, &registered), same, "{other:?}");
        }
    }

    #[test]
    fn nothing_is_registered_where_somebody_has_asked_to_stop() {
        let store = Store::in_memory().unwrap();
        let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
        // Between the checks of the set's two stretches.
        let asked = AtomicUsize::new(0);
        let stop = Stop::when(move || asked.fetch_add(1, Ordering::Relaxed) > 0);
        let reading = Reading {
            stop,
            ..Reading::default()
        };
        let set = register_images(&store, "garments", &data.join("fashion-mini"), &reading);
        let stop = Stop::when(|| true);
        let weights = data.join("tiny-sd/unet/diffusion_pytorch_model.safetensors");
        let digest = state::digest(&weights, &|| stop.is_asked());
        let model = register_model(&store, "tiny", &data.join("tiny-sd"), None, &stop);
        for error in [set.err(), digest.err(), model.err()] {
            assert_eq!(error.unwrap().kind(), Kind::Interrupted);
        }
        assert!(store.datasets().unwrap().is_empty());
    }
}
