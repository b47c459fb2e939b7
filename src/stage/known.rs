//! Runs to read from, whether they are in the store or still to be made.

use std::sync::Arc;

use dream_schema::{Dataset, RunId, RunInput, Status};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Role, Source, StageError};
use crate::store::{Readable, Store};

/// A run that another one reads from.
#[derive(Clone, Debug)]
pub enum Input {
    /// One that is in the store.
    Stored(RunId),
    /// One that is made before.
    Planned(Arc<Known>),
}

impl Input {
    /// Returns what is known of the run, which is to serve as `role`.
    ///
    /// # Errors
    /// If it is none of `stages`, not finished, or the store fails.
    pub fn known(&self, store: &Store, role: &Role, stages: &[&str]) -> Result<Arc<Known>, StageError> {
        let id = match self {
            Self::Stored(id) => *id,
            Self::Planned(known) => return Ok(known.clone()),
        };
        super::input(store, &role.to_string(), id, stages)?;
        let spec = store.run(id)?.spec;
        let input = |i: RunInput| (i.role, Self::Stored(i.run));
        let mut names = spec.source_names;
        let source = |(role, digest): (String, String)| {
            let name = names.remove(&role);
            (role, Reference::Digest { digest, name })
        };
        Ok(Arc::new(Known {
            run: Some(id),
            id: Some(id),
            stage: spec.stage,
            params: spec.params,
            inputs: spec.inputs.into_iter().map(input).collect(),
            sources: spec.sources.into_iter().map(source).collect(),
        }))
    }

    /// Returns the stage that the run is of.
    ///
    /// # Errors
    /// If the store fails, or does not have the run.
    pub fn stage(&self, store: &Store) -> Result<String, StageError> {
        Ok(match self {
            Self::Stored(run) => store.run(*run)?.spec.stage,
            Self::Planned(known) => known.stage.clone(),
        })
    }

    /// Returns the finished run that the store has of it.
    pub fn answer(&self, store: &Store) -> Option<RunId> {
        let id = match self {
            Self::Stored(id) => Some(*id),
            Self::Planned(known) => known.id,
        };
        let finished = |id: &RunId| store.run(*id).is_ok_and(|run| run.status == Status::Finished);
        id.filter(finished)
    }

    /// Returns it as a stored run, where the store has it finished.
    pub fn settled(self, store: &Store) -> Self {
        self.answer(store).map_or(self, Self::Stored)
    }
}

impl PartialEq for Input {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Stored(a), Self::Stored(b)) => a == b,
            (Self::Planned(a), Self::Planned(b)) => Arc::ptr_eq(a, b),
            (Self::Stored(_), Self::Planned(_)) | (Self::Planned(_), Self::Stored(_)) => false,
        }
    }
}

impl From<RunId> for Input {
    fn from(run: RunId) -> Self {
        Self::Stored(run)
    }
}

/// What is known of a run to read from, whether it is there or still to be made: what it was asked.
#[derive(Clone, Debug)]
pub struct Known {
    /// The run, if it is there.
    pub run: Option<RunId>,
    /// The id that it has or will have; none where it reads what is not made or registered yet.
    pub id: Option<RunId>,
    /// Its stage.
    pub stage: String,
    pub(super) params: Value,
    pub(super) inputs: Vec<(String, Input)>,
    pub(super) sources: Vec<(String, Reference)>,
}

/// A source that a run reads.
#[derive(Clone, Debug)]
pub(super) enum Reference {
    /// By the digest that the run has on record, and the name that was asked for where it has that.
    Digest { digest: String, name: Option<String> },
    /// Itself; before it is registered it has no digest.
    Entry(Dataset),
}

impl Reference {
    /// Says whether both are the same source, as far as is known.
    fn is_same(&self, other: &Self) -> bool {
        super::source::is_same(&self.entry(), &other.entry())
    }

    /// Returns what is known of the source, as an entry of a store.
    fn entry(&self) -> Dataset {
        match self {
            Self::Digest { digest, name } => Dataset {
                digest: digest.clone(),
                name: name.clone().unwrap_or_default(),
                ..Dataset::default()
            },
            Self::Entry(entry) => entry.clone(),
        }
    }
}

impl Known {
    /// Returns the parameters.
    ///
    /// # Errors
    /// If they are not of this type.
    pub fn params<P: DeserializeOwned>(&self) -> Result<P, StageError> {
        serde_json::from_value(self.params.clone()).map_err(|source| StageError::Params {
            stage: self.stage.clone(),
            message: source.to_string(),
        })
    }

    /// Returns the run that it reads from as `role`.
    pub fn input(&self, role: &Role) -> Option<Input> {
        let found = self.inputs.iter().find(|(text, _)| role.is(text));
        found.map(|(_, input)| input.clone())
    }

    /// Says whether the other reads the same source as `role`, or neither reads one.
    pub(super) fn same_source(&self, other: &Self, role: &Role) -> bool {
        let of = |known: &Self| {
            let found = known.sources.iter().find(|(text, _)| role.is(text));
            found.map(|(_, reference)| reference.clone())
        };
        match (of(self), of(other)) {
            (Some(one), Some(other)) => one.is_same(&other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// Returns the source that it reads as `role`.
    ///
    /// # Errors
    /// If there is none, or it is not registered.
    pub fn source<T: Source>(&self, store: &Store, role: &Role) -> Result<T, StageError> {
        let found = self.sources.iter().find(|(text, _)| role.is(text));
        let missing = || StageError::MissingInput {
            stage: self.stage.clone(),
            role: role.to_string(),
        };
        let (text, reference) = found.ok_or_else(missing)?;
        T::of(match reference {
            Reference::Digest { digest, name } => {
                super::source::with_digest(store, text, digest, name.as_deref())?
            }
            Reference::Entry(entry) => entry.clone(),
        })
    }
}
