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
