//! Opening a store to read it, whatever became of its last writer.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use crate::store::{Store, StoreError};

/// Opens a store that must be there, for reading only. Where its last writer was killed it is opened for
/// writing once, which puts that right; where that is not allowed it is read without.
///
/// # Errors
/// As [`Store::open_read_only`].
pub fn open_to_read(path: &Path) -> Result<Store, StoreError> {
    match Store::open_read_only(path) {
        Err(StoreError::NeedsRecovery { .. }) => match Store::open(path) {
            Err(StoreError::NotWritable { .. }) => return Store::open_detached(path),
            // Another process came first.
            Ok(_) | Err(StoreError::Locked { .. }) => {}
            Err(error) => return Err(error),
        },
        opened => return opened,
    }
    Store::open_read_only(path)
}

/// How often a store that is held is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// Opens a store for writing, made new if there is none, laid over others ([`Store::over`]). Another process
/// that holds it is waited for as long as the `patience` goes: an earlier attempt at the same work may be
/// about to end.
///
/// # Errors
/// As [`Store::open_or_create`].
pub fn open_laid_over(path: &Path, beneath: Vec<Store>, patience: Duration) -> Result<Store, StoreError> {
    let mut waited = Duration::ZERO;
    loop {
        match Store::open_or_create(path) {
            Err(StoreError::Locked { .. }) if waited < patience => {
                sleep(AGAIN);
                waited += AGAIN;
            }
            opened => return Ok(opened?.over(beneath)),
        }
    }
}
