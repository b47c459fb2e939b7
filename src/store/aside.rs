//! redb's own pages against its own checksums. redb checks them only of a database that it may write to, so
//! what it would write is kept in memory, beside a file that is only read.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::{BackendError, Builder, StorageBackend};

use super::Result;
use super::detached::read_at;
use super::error::At;
use super::guard::guard;

/// Bytes that are kept together.
const PAGE: u64 = 4096;
/// Bytes of the file's head, which names both of its commits.
const HEAD: usize = 320;
/// Bytes of pages that redb holds.
const CACHE: usize = 64 << 20;
/// How often a file is read that another process writes to meanwhile.
const ATTEMPTS: usize = 3;

/// Says whether the pages of the file at `path` are those that redb wrote. A file that other processes go on
/// writing to is not judged.
///
/// # Errors
/// If they cannot be followed, or the disk fails.
pub(super) fn pages_are_whole(path: &Path) -> Result<bool> {
    for _ in 0..ATTEMPTS {
        let before = head(path)?;
        let whole = guard(path, || {
            let aside = Aside::over(path).at(path)?;
            let builder = Builder::new().set_cache_size(CACHE).create_with_backend(aside);
            builder.at(path)?.check_integrity().at(path)
        });
        if head(path)? == before {
            return whole;
        }
    }
    Ok(true)
}

fn head(path: &Path) -> Result<[u8; HEAD]> {
    let mut head = [0; HEAD];
    let mut file = File::open(path).at(path)?;
    read_at(&mut file, 0, &mut head).at(path)?;
    Ok(head)
}

/// A file, and what was written over it.
#[derive(Debug)]
struct Aside {
    file: Mutex<File>,
    length: AtomicU64,
    /// The pages that were written to, by number.
    written: Mutex<BTreeMap<u64, Vec<u8>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The parts of `length` bytes from `offset` on by the pages that they lie in: a page, where in it the part
/// begins, and where it lies among the bytes.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let end = offset + length as u64;
    (offset / PAGE..end.div_ceil(PAGE)).map(move |page| {
        let (from, to) = ((page * PAGE).max(offset), ((page + 1) * PAGE).min(end));
        let part = (from - offset) as usize..(to - offset) as usize;
        (page, (from % PAGE) as usize, part)
    })
}

impl Aside {
    fn over(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        Ok(Self {
            length: AtomicU64::new(file.metadata()?.len()),
            file: Mutex::new(file),
            written: Mutex::default(),
        })
    }
}

impl StorageBackend for Aside {
    fn len(&self) -> io::Result<u64> {
        Ok(self.length.load(Ordering::SeqCst))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        read_at(&mut lock(&self.file), offset, out)?;
        let written = lock(&self.written);
        for (page, begin, part) in parts(offset, out.len()) {
            if let Some(bytes) = written.get(&page) {
                let count = part.len();
                out[part].copy_from_slice(&bytes[begin..begin + count]);
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = lock(&self.written);
        for (page, begin, part) in parts(offset, data.len()) {
            let kept = match written.entry(page) {
                Entry::Occupied(kept) => kept.into_mut(),
                Entry::Vacant(free) => {
                    let mut bytes = vec![0; PAGE as usize];
                    read_at(&mut lock(&self.file), page * PAGE, &mut bytes)?;
                    free.insert(bytes)
                }
            };
            kept[begin..begin + part.len()].copy_from_slice(&data[part]);
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.length.store(length, Ordering::SeqCst);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    // Nothing is written to the file: there is no one to keep out.
    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> std::result::Result<bool, BackendError> {
        Ok(true)
    }

    fn try_lock_shared_range(&self, _: Bound<u64>, _: Bound<u64>) -> std::result::Result<bool, BackendError> {
        Ok(true)
    }

    fn lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> std::result::Result<(), BackendError> {
        Ok(())
    }

    fn lock_shared_range(&self, _: Bound<u64>, _: Bound<u64>) -> std::result::Result<(), BackendError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_the_file_stays() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = (0..10_000_u32).map(|n| n as u8).collect();
        std::fs::write(file.path(), &bytes).unwrap();
        let aside = Aside::over(file.path()).unwrap();
        let mut expected = bytes.clone();
        for (offset, data) in [(4000_usize, vec![1; 5000]), (8190, vec![2; 4]), (0, vec![3; 1])] {
            aside.write(offset as u64, &data).unwrap();
            expected[offset..offset + data.len()].copy_from_slice(&data);
            let mut all = vec![0; bytes.len()];
            aside.read(0, &mut all).unwrap();
            assert!(all == expected, "{offset}");
        }
        let mut beyond = [9; 4];
        aside.read(9_998, &mut beyond).unwrap();
        assert_eq!(beyond, [bytes[9_998], bytes[9_999], 0, 0]);
        assert!(std::fs::read(file.path()).unwrap() == bytes);
    }
}
