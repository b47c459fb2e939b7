//! Opening a store to read it, whatever became of its last writer.

use std::path::Path;

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
