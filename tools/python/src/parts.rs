//! A run of `imagine` made in parts by several processes: each makes one in a store of its own, and one
//! process brings them together.

use dream_ood::stage::imagine::Shard;
use dream_ood::stage::{self, How, StageError};
use dream_ood::{Error, Kind};
use dream_schema::RunSpec;
use pyo3::prelude::*;

use crate::errors::of_kind;
use crate::session::Machine;
use crate::store::Store;
use crate::work::work;

fn spec(json: &str) -> PyResult<RunSpec> {
    serde_json::from_str(json).map_err(|error| of_kind(Kind::Refused, format!("no question: {error}")))
}

/// Returns the id of the run that a question is answered by.
#[pyfunction]
pub fn run_of(question: &str) -> PyResult<String> {
    Ok(spec(question)?.id().to_string())
}

/// Begins the run of a question, and returns which of `parts` parts of it are left to be made, from 1 on.
#[pyfunction]
pub fn parts_left(
    py: Python<'_>,
    store: &Bound<'_, Store>,
    machine: Machine,
    listener: Py<PyAny>,
    question: &str,
    parts: u64,
) -> PyResult<Vec<u64>> {
    let (library, spec) = (store.get().to_write()?, spec(question)?);
    work(py, &listener, |told| {
        let session = machine.session(&library, told);
        let left = stage::parts_left(&session.context(machine.batch_size()), &spec, parts)?;
        Ok(left.into_iter().map(Shard::part).collect())
    })
}

/// Answers a question, or makes part I of N of its answer. Says whether the store had it.
#[pyfunction]
#[pyo3(signature = (store, machine, listener, question, part))]
pub fn answered(
    py: Python<'_>,
    store: &Bound<'_, Store>,
    machine: Machine,
    listener: Py<PyAny>,
    question: &str,
    part: Option<(u64, u64)>,
) -> PyResult<bool> {
    let (library, spec) = (store.get().to_write()?, spec(question)?);
    work(py, &listener, |told| {
        let session = machine.session(&library, told);
        let context = session.context(machine.batch_size());
        let (_, how) = match shard(part)? {
            Some(shard) => stage::run_part(&context, &spec, shard)?,
            None => stage::run(&context, &spec)?,
        };
        Ok(how == How::Known)
    })
}

/// Returns the shard of that number, of so many.
pub fn shard(part: Option<(u64, u64)>) -> Result<Option<Shard>, Error> {
    let Some((part, parts)) = part else {
        return Ok(None);
    };
    let none = || StageError::Mismatch(format!("there is no part {part} of {parts}"));
    Ok(Some(Shard::new(part, parts).ok_or_else(none)?))
}
