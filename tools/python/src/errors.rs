//! Errors of the library as exceptions of `dream_ood.errors`, in the same words.

use dream_ood::stage::StageError;
use dream_ood::{Error, Kind};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyModule;

/// The exceptions, which are classes of Python: each is also one of Python's own that callers catch anyway.
const MODULE: &str = "dream_ood.errors";

/// Returns the exception that an error is in Python.
pub fn raised(error: impl Into<Error>) -> PyErr {
    let error = error.into();
    Python::attach(|py| exception(py, error).unwrap_or_else(|error| error))
}

/// Returns an exception of a kind, of faults that the library is not asked about.
pub fn of_kind(kind: Kind, words: impl Into<String>) -> PyErr {
    let words = words.into();
    Python::attach(|py| {
        let made = class(py, kind).and_then(|class| class.call1((words,)));
        made.map_or_else(|error| error, PyErr::from_value)
    })
}

fn exception(py: Python<'_>, error: Error) -> PyResult<PyErr> {
    let class = class(py, error.kind())?;
    let exception = class.call1((error.to_string(),))?;
    if let Some(StageError::Refused(refusals)) = error.into_inner().downcast_ref() {
        let refusals = refusals
            .iter()
            .map(|refusal| (&refusal.part, &refusal.key, refusal.to_string()));
        exception.setattr("refusals", refusals.collect::<Vec<_>>())?;
    }
    Ok(PyErr::from_value(exception))
}

fn class<'py>(py: Python<'py>, kind: Kind) -> PyResult<Bound<'py, PyAny>> {
    static CLASSES: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let module = CLASSES.get_or_try_init(py, || PyModule::import(py, MODULE).map(Bound::unbind))?;
    module.bind(py).getattr(match kind {
        Kind::Missing => "MissingError",
        Kind::Exists => "ExistsError",
        Kind::Refused => "RefusedError",
        Kind::Changed => "ChangedError",
        Kind::Locked => "LockedError",
        Kind::Corrupt => "CorruptError",
        Kind::Unsupported => "UnsupportedError",
        Kind::Interrupted => "StoppedError",
        Kind::Diverged => "DivergedError",
        Kind::Resource => "ResourceError",
        Kind::Io => "FileError",
        // The list of kinds is open.
        _ => "InternalError",
    })
}
