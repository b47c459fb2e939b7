//! Reading a file in whatever state it is: nothing is locked, repaired or written. What the file does not
//! have reads as zeros, so that what it has can be read.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Bound;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use redb::{BackendError, StorageBackend};

use super::error::At;
use super::guard::guard;
use super::head::expected;
use super::open::builder;
use super::{Result, Store};
use crate::input;

/// Where redb says, in bit 0, which of two commit slots is the newer.
const WHICH_SLOT: u64 = 9;
/// The byte that a writer locks once the file is consistent (redb's `CONSISTENT_BYTE`). A commit of ours is
/// on the disk before the head names it, so what the head names is consistent also when its writer was
/// killed.
const CONSISTENT: u64 = (1 << 62) + 4;

/// Which of the two commits that a file names is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Commit {
    Last,
    OneBefore,
}

impl Store {
    /// Opens a store for reading without a lock and without the repair that a file may need which its last
    /// writer did not close. No other process may write to it meanwhile.
    ///
    /// # Errors
    /// If there is no file, it is not a store of a format that this program knows, or it is damaged where the
    /// names of its tables are.
    pub fn open_detached(path: impl AsRef<Path>) -> Result<Store> {
        Self::open_commit(path.as_ref(), Commit::Last)
    }

    pub(super) fn open_commit(path: &Path, commit: Commit) -> Result<Store> {
        let mut file = input::open(path).at(path)?;
        let length = file.metadata().at(path)?.len();
        let mut head = vec![0; 32];
        read_at(&mut file, 0, &mut head).at(path)?;
        let detached = Detached {
            length: expected(&head).unwrap_or(length).max(length),
            file: Mutex::new(file),
            commit,
        };
        let database = guard(path, || builder().open_read_only_with_backend(detached).at(path))?;
        Self::reading(path, database)
    }
}

/// Reads what a file has there; the rest of `out` becomes zeros.
pub(super) fn read_at(file: &mut File, offset: u64, out: &mut [u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start(offset))?;
    let mut read = 0;
    while let Some(rest) = out.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => {
                rest.fill(0);
                break;
            }
            Ok(bytes) => read += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A file that is only read.
#[derive(Debug)]
struct Detached {
    file: Mutex<File>,
    length: u64,
    commit: Commit,
}

impl StorageBackend for Detached {
    fn len(&self) -> io::Result<u64> {
        Ok(self.length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        // A thread that panicked left a place in the file, which is set anew.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        read_at(&mut file, offset, out)?;
        if self.commit == Commit::OneBefore
            && let Some(place) = WHICH_SLOT.checked_sub(offset)
            && let Some(byte) = out.get_mut(place as usize)
        {
            *byte ^= 1;
        }
        Ok(())
    }

    fn set_len(&self, _length: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, _offset: u64, _data: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn try_lock_range(
        &self,
        _start: Bound<u64>,
        _end: Bound<u64>,
    ) -> std::result::Result<bool, BackendError> {
        Ok(true)
    }

    fn try_lock_shared_range(
        &self,
        _start: Bound<u64>,
        _end: Bound<u64>,
    ) -> std::result::Result<bool, BackendError> {
        Ok(true)
    }

    fn lock_range(&self, _start: Bound<u64>, _end: Bound<u64>) -> std::result::Result<(), BackendError> {
        Ok(())
    }

    fn lock_shared_range(
        &self,
        _start: Bound<u64>,
        _end: Bound<u64>,
    ) -> std::result::Result<(), BackendError> {
        Ok(())
    }

    fn unlock_range(&self, _start: Bound<u64>, _end: Bound<u64>) -> std::result::Result<(), BackendError> {
        Ok(())
    }

    /// Says of the one byte that the file is consistent.
    fn query_lock_range(
        &self,
        start: Bound<u64>,
        _end: Bound<u64>,
    ) -> std::result::Result<bool, BackendError> {
        Ok(start == Bound::Included(CONSISTENT))
    }
}
