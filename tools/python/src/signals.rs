//! Ctrl-C during work that holds no lock of the interpreter.

use std::sync::OnceLock;
use std::thread::{self, ThreadId};

use pyo3::ffi;
use pyo3::prelude::*;

/// The thread that loaded the module: it is the one that Python handles signals in.
static MAIN: OnceLock<ThreadId> = OnceLock::new();

/// Remembers the calling thread as the main one.
pub fn init() {
    MAIN.get_or_init(|| thread::current().id());
}

/// Says whether a signal handler has raised something, as Ctrl-C's does; it is raised again once Python goes
/// on. Of other threads than the main one the answer is no.
pub fn interrupted() -> bool {
    if MAIN.get() != Some(&thread::current().id()) {
        return false;
    }
    let raised = Python::try_attach(|py| {
        let raised = py.check_signals().is_err();
        if raised {
            // SAFETY: it sets a flag.
            unsafe { ffi::PyErr_SetInterrupt() };
        }
        raised
    });
    raised.unwrap_or(false)
}
