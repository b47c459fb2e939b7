//! Threads, and what becomes of them when the process forks: a child has none of its parent's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dream_ood::Kind;
use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::errors::of_kind;

/// The threads of a process that compute, and its number.
static POOL: Mutex<Option<(u32, Arc<ThreadPool>)>> = Mutex::new(None);

/// Whether this process, or one that it was forked from, has had threads that the library starts by itself.
static SHARED: AtomicBool = AtomicBool::new(false);

/// The process in which this module was loaded or that was the first to ask.
static FIRST: Mutex<Option<u32>> = Mutex::new(None);

/// Returns the threads of this process, started anew after a fork.
pub fn pool() -> PyResult<Arc<ThreadPool>> {
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let own = std::process::id();
    if let Some((process, threads)) = pool.as_ref()
        && *process == own
    {
        return Ok(threads.clone());
    }
    let threads = ThreadPoolBuilder::new()
        .thread_name(|n| format!("dream-{n}"))
        .build()
        .map_err(|error| of_kind(Kind::Resource, format!("no threads can be had: {error}")))?;
    let threads = Arc::new(threads);
    // The parent's pool is left as it is: its threads are not here to be ended.
    if let Some((_, old)) = pool.replace((own, threads.clone())) {
        std::mem::forget(old);
    }
    Ok(threads)
}

/// Notes that the library's own threads are about to be used; refuses it in a process that was forked from
/// one that had them, where it would wait for them forever.
pub fn share(what: &str) -> PyResult<()> {
    if is_forked() && SHARED.load(Ordering::Relaxed) {
        return Err(of_kind(
            Kind::Unsupported,
            format!(
                "{what} is not possible in a process that was forked from one that has done so: its threads \
                 are not here; start it with the method `spawn` or `forkserver`, or do it before the fork"
            ),
        ));
    }
    SHARED.store(true, Ordering::Relaxed);
    Ok(())
}

/// Says whether this process was forked from the one in which the module was first used.
pub fn is_forked() -> bool {
    let mut first = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
    let own = std::process::id();
    *first.get_or_insert(own) != own
}
