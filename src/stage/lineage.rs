//! Where a run comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use dream_schema::{Run, RunId};

use super::{Role, Source, StageError};
use crate::store::{Readable, Store};

/// Returns the run and all runs that it depends on, inputs before what reads them. Inputs that the store does
/// not have are left out: a run says by id and digest what they were.
///
/// # Errors
/// If the store cannot be read, or `run` is not in it.
pub fn ancestors(store: &Store, run: RunId) -> Result<Vec<Run>, StageError> {
    // A record that cannot be read is as one that is not there.
    let (known, _) = store.legible_runs()?;
    let known = known.into_iter().map(|r| (r.id, r)).collect();
    let mut order = Vec::new();
    visit(&known, &store.run(run)?, &mut BTreeSet::new(), &mut order);
    Ok(order)
}

/// Returns the source that the run, or else what it came from, read as `role`; none if there is none, or it
/// is not registered where it lies.
///
/// # Errors
/// If the store cannot be read, or `run` is not in it.
pub fn source<T: Source>(store: &Store, run: RunId, role: &Role) -> Result<Option<T>, StageError> {
    let runs = ancestors(store, run)?;
    let reads = |run: &&Run| run.spec.sources.keys().any(|text| role.is(text));
    let Some(run) = runs.iter().rev().find(reads) else {
        return Ok(None);
    };
    match T::find(store, run, role) {
        Ok(source) => Ok(Some(source).filter(|source| Path::new(source.path()).exists())),
        Err(StageError::UnknownSource { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the digest of what the run, or else what it came from, read as `role`.
///
/// # Errors
/// If the store cannot be read, or `run` is not in it.
pub fn digest(store: &Store, run: RunId, role: &Role) -> Result<Option<String>, StageError> {
    let runs = ancestors(store, run)?;
    let sources = runs.into_iter().rev().flat_map(|run| run.spec.sources);
    Ok(sources
        .into_iter()
        .find(|(text, _)| role.is(text))
        .map(|(_, digest)| digest))
}

fn visit(known: &BTreeMap<RunId, Run>, run: &Run, seen: &mut BTreeSet<RunId>, order: &mut Vec<Run>) {
    // A run's id hashes its inputs' digests, so there are no cycles.
    if !seen.insert(run.id) {
        return;
    }
    for input in run.spec.inputs.iter().filter_map(|i| known.get(&i.run)) {
        visit(known, input, seen, order);
    }
    order.push(run.clone());
}
