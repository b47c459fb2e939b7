//! Questions: what a stage is asked, checked as far as it can be without work, then turned into the
//! specification of a run.
//!
//! The checks go from cheap to dear: parameters, then runs and registrations (the store), then the heads of
//! files. Bytes are read by `execute` alone. What is read from a run that is still to be made is checked as
//! far as its own question tells.

use std::path::Path;
use std::sync::Arc;

use dream_schema::{Dataset, Run, RunId, RunSpec, Status};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::known::{Input, Known, Reference};
use super::source::with_digest;
use super::{Arithmetic, Context, ImageSource, Refusals, Role, Source, StageError};
use crate::store::{Readable, Store};

/// A stage of the pipeline.
pub trait Stage: Sized {
    /// Its name, as runs carry it.
    const NAME: &'static str;
    /// Version of its algorithm: raised when the same parameters would give another result.
    const VERSION: u32;
    /// What decides its result, beside seed, inputs and sources.
    type Params: Clone + Serialize + DeserializeOwned;

    /// Refuses what cannot be done, and brings the question into its one form, so that it has one id.
    ///
    /// # Errors
    /// If the store fails.
    fn check(store: &Store, asked: &mut Asked<Self>, refusals: &mut Refusals) -> Result<(), StageError>;

    /// Returns how its network is computed, where it has one and a choice.
    fn arithmetic(params: &Self::Params) -> Arithmetic {
        let _ = params;
        Arithmetic::PLAIN
    }

    /// Executes a run; the context's engine is the one of [`arithmetic`](Stage::arithmetic).
    ///
    /// # Errors
    /// Whatever the work fails with; what is committed stays.
    fn execute(ctx: &Context<'_>, order: &Order<'_, Self::Params>) -> Result<(), StageError>;
}

/// A run to be executed, with its parameters as their type.
pub struct Order<'a, P> {
    /// The run.
    pub run: &'a Run,
    /// Its parameters.
    pub params: P,
}

impl<'a, P: DeserializeOwned> Order<'a, P> {
    /// Reads the parameters of a run.
    ///
    /// # Errors
    /// If they are not of this type.
    pub(super) fn of(run: &'a Run) -> Result<Self, StageError> {
        let params = super::params(run)?;
        Ok(Self { run, params })
    }
}

/// What a stage is asked.
#[derive(Clone, Debug)]
pub struct Asked<S: Stage> {
    /// The parameters.
    pub params: S::Params,
    /// The seed of all random numbers.
    pub seed: u64,
    inputs: Vec<(Role, Input)>,
    sources: Vec<(Role, Dataset)>,
}

impl<S: Stage> Asked<S> {
    /// Asks for the result of these parameters.
    pub fn new(params: &S::Params, seed: u64) -> Self {
        Self {
            params: params.clone(),
            seed,
            inputs: Vec::new(),
            sources: Vec::new(),
        }
    }

    /// Adds a run to read from.
    pub fn reads(mut self, role: Role, input: impl Into<Input>) -> Self {
        self.inputs.push((role, input.into()));
        self
    }

    /// Adds a source to read.
    pub fn from(mut self, role: Role, source: &impl Source) -> Self {
        self.sources.push((role, source.entry().clone()));
        self
    }

    /// Returns the run that serves as `role`.
    pub fn input(&self, role: &Role) -> Option<&Input> {
        self.inputs
            .iter()
            .find(|(r, _)| r == role)
            .map(|(_, input)| input)
    }

    /// Returns what is known of the run that serves as `role`, refusing a run of another stage than `stages`,
    /// or one that is not finished.
    ///
    /// # Errors
    /// If the store fails.
    pub fn known(
        &self,
        store: &Store,
        role: &Role,
        stages: &[&str],
        refusals: &mut Refusals,
    ) -> Result<Option<Arc<Known>>, StageError> {
        let Some(input) = self.input(role) else {
            refusals.refuse(role, format!("`{}` needs a run as its {role}", S::NAME));
            return Ok(None);
        };
        refusals.take(role, input.known(store, role, stages))
    }

    /// Returns the source that serves as `role`.
    ///
    /// # Errors
    /// If it is of another kind.
    pub fn source<T: Source>(&self, role: &Role) -> Result<Option<T>, StageError> {
        let found = self.sources.iter().find(|(r, _)| r == role);
        found.map(|(_, entry)| T::of(entry.clone())).transpose()
    }

    /// Returns all runs to read from, by role.
    pub(super) fn inputs(&self) -> &[(Role, Input)] {
        &self.inputs
    }

    /// Returns the id of its run; none where it reads what is not made or registered yet. It is the one that
    /// the run will have only after the question was checked, and so has its one form.
    pub(super) fn id(&self, store: &Store) -> Option<RunId> {
        let registered = self.sources.iter().all(|(_, entry)| !entry.digest.is_empty());
        let spec = registered.then(|| self.spec_unchecked(store).ok()).flatten();
        spec.map(|spec| spec.id())
    }

    /// Says whether the store has the answer, so that nothing needs to be read.
    pub fn is_answered(&self, store: &Store) -> bool {
        let run = self.id(store).and_then(|id| store.run(id).ok());
        run.is_some_and(|run| run.status == Status::Finished)
    }

    /// Checks the question, and returns what is known of its run for those that read from it.
    ///
    /// # Errors
    /// If the store fails.
    pub fn plan(mut self, store: &Store, refusals: &mut Refusals) -> Result<Input, StageError> {
        S::check(store, &mut self, refusals)?;
        if let Some(processor) = refusals.room().processor.filter(|_| !self.is_answered(store)) {
            S::arithmetic(&self.params).check(processor, refusals);
            self.check_there(store, refusals);
        }
        let id = self.id(store);
        self.check_class_names(store, id, refusals);
        let source = |(role, entry): (Role, Dataset)| (role.to_string(), Reference::Entry(entry));
        let input = |(role, input): (Role, Input)| (role.to_string(), input);
        Ok(Input::Planned(Arc::new(Known {
            run: None,
            id,
            stage: S::NAME.to_owned(),
            params: serde_json::json!(self.params),
            inputs: self.inputs.into_iter().map(input).collect(),
            sources: self.sources.into_iter().map(source).collect(),
        })))
    }

    /// Checks the question, and returns the specification of its run.
    ///
    /// # Errors
    /// [`StageError::Refused`] with all that is wrong; also if the store fails.
    pub fn spec(mut self, store: &Store) -> Result<RunSpec, StageError> {
        let mut refusals = Refusals::of(S::NAME);
        S::check(store, &mut self, &mut refusals)?;
        self.check_class_names(store, self.id(store), &mut refusals);
        if !self.is_answered(store) {
            self.check_there(store, &mut refusals);
        }
        refusals.finish()?;
        self.spec_unchecked(store)
    }

    /// Refuses image sets that are not where they were registered, nor registered anywhere else. Models and
    /// weights are looked into by the checks of stages.
    fn check_there(&self, store: &Store, refusals: &mut Refusals) {
        let is_set = |entry: &Dataset| ImageSource::is_kind(&entry.kind) && !entry.digest.is_empty();
        for (role, entry) in self.sources.iter().filter(|(_, entry)| is_set(entry)) {
            let named = Some(entry.name.as_str());
            let found = with_digest(store, &role.to_string(), &entry.digest, named);
            let path = found.map_or(entry.path.clone(), |found| found.path);
            if !Path::new(&path).exists() {
                let name = &entry.name;
                let found = format!(
                    "`{name}` was registered from {path}, and nothing is there now; `dream dataset add \
                     {name} PATH` tells where it is"
                );
                refusals.refuse(role, found);
            }
        }
    }

    /// Refuses an image set whose pictures the answer in the store read under other class names: a digest
    /// does not cover names, and what reads the answer would go by those.
    fn check_class_names(&self, store: &Store, id: Option<RunId>, refusals: &mut Refusals) {
        let Some(run) = id.and_then(|id| store.run(id).ok()) else {
            return;
        };
        for (role, entry) in &self.sources {
            let name = run.spec.source_names.get(&role.to_string());
            let known = name.and_then(|name| store.dataset(name).ok());
            let known = known
                .filter(|known| known.digest == entry.digest)
                .map(ImageSource::of);
            let (Some(Ok(known)), Ok(asked)) = (known, ImageSource::of(entry.clone())) else {
                continue;
            };
            let (id, name) = (run.id, known.name());
            let whose = format!("`{name}`, as which run {id}, the answer, read the same pictures");
            if !known.may_have_classes(asked.classes())
                && let Err(error) = asked.check_classes(known.classes(), &whose)
            {
                let found = format!("{error}; `dream dataset rm {name}` removes that entry");
                refusals.refuse(role, found);
            }
        }
    }

    fn spec_unchecked(&self, store: &Store) -> Result<RunSpec, StageError> {
        let input = |(role, input): &(Role, Input)| match input {
            Input::Stored(run) => super::input(store, &role.to_string(), *run, super::ANY),
            Input::Planned(_) => Err(StageError::MissingInput {
                stage: S::NAME.to_owned(),
                role: role.to_string(),
            }),
        };
        Ok(RunSpec {
            stage: S::NAME.to_owned(),
            stage_version: S::VERSION,
            params: serde_json::json!(self.params),
            seed: self.seed,
            inputs: self.inputs.iter().map(input).collect::<Result<_, _>>()?,
            sources: self
                .sources
                .iter()
                .map(|(role, entry)| (role.to_string(), entry.digest.clone()))
                .collect(),
            source_names: self
                .sources
                .iter()
                .map(|(role, entry)| (role.to_string(), entry.name.clone()))
                .collect(),
        })
    }

    /// Adds a run to read from that was not named: it follows from another.
    pub(super) fn add_input(&mut self, role: Role, input: Input) {
        self.inputs.retain(|(r, _)| *r != role);
        self.inputs.push((role, input));
    }
}
