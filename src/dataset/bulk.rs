//! Bytes that many images are parts of: a file, read where it is asked for, or what a compressed one holds.
//! What is unpacked is held in memory up to [`HELD`] bytes, and lies in a nameless temporary file beyond
//! that.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tempfile::SpooledTempFile;

use super::error::DatasetError;
use super::files;
use crate::input;

/// Unpacked bytes of one file that are held in memory.
pub(super) const HELD: usize = 256 << 20;

/// What can be read at any place.
trait Places: Read + Seek + Send {}
impl<T: Read + Seek + Send> Places for T {}

/// Bytes that many images are parts of.
pub(super) struct Bulk {
    /// The file that they come from, for errors.
    pub path: PathBuf,
    pub len: u64,
    inner: Inner,
}

enum Inner {
    Held(Vec<u8>),
    Placed(Mutex<Box<dyn Places>>),
}

impl Bulk {
    /// Opens a file; a gzip stream is unpacked.
    pub fn open(path: &Path) -> Result<Arc<Self>, DatasetError> {
        let mut file = input::open(path).map_err(files::io(path))?;
        let mut magic = [0; 2];
        let packed = file.read_exact(&mut magic).is_ok() && files::is_gzip(&magic);
        if packed {
            file.rewind().map_err(files::io(path))?;
            return Self::unpack(
                path,
                flate2::read::MultiGzDecoder::new(BufReader::new(file)),
                "gzip",
            );
        }
        Self::of_file(path, file)
    }

    /// Takes all that a decoder of the file at `path` gives; `format` is its name for errors.
    pub fn unpack(path: &Path, mut decoder: impl Read, format: &str) -> Result<Arc<Self>, DatasetError> {
        let mut spool = SpooledTempFile::new(HELD);
        let len = std::io::copy(&mut decoder, &mut spool).map_err(|error| DatasetError::Corrupt {
            path: path.to_owned(),
            reason: format!("{format}: {error}"),
        })?;
        let inner = match spool.into_inner() {
            tempfile::SpooledData::InMemory(bytes) => Inner::Held(bytes.into_inner()),
            tempfile::SpooledData::OnDisk(file) => Inner::Placed(Mutex::new(Box::new(file))),
        };
        Ok(Arc::new(Self {
            path: path.to_owned(),
            len,
            inner,
        }))
    }

    /// Wraps an open file, for what was unpacked from the one at `path`.
    pub fn of_file(path: &Path, mut file: File) -> Result<Arc<Self>, DatasetError> {
        let len = file.seek(SeekFrom::End(0)).map_err(files::io(path))?;
        Ok(Arc::new(Self {
            path: path.to_owned(),
            len,
            inner: Inner::Placed(Mutex::new(Box::new(file))),
        }))
    }

    /// Wraps bytes that came from the file at `path`.
    pub fn held(path: &Path, bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self {
            path: path.to_owned(),
            len: bytes.len() as u64,
            inner: Inner::Held(bytes),
        })
    }

    /// Reads `len` bytes from `offset` on.
    pub fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, DatasetError> {
        let beyond = offset.checked_add(len as u64).is_none_or(|end| end > self.len);
        if beyond {
            return Err(DatasetError::Corrupt {
                path: self.path.clone(),
                reason: format!("{len} bytes from {offset} on are beyond its end at {}", self.len),
            });
        }
        match &self.inner {
            Inner::Held(bytes) => Ok(bytes[offset as usize..][..len].to_vec()),
            Inner::Placed(file) => {
                let mut bytes = vec![0; len];
                let mut file = lock(file);
                let mut read = |file: &mut dyn Places| {
                    file.seek(SeekFrom::Start(offset))?;
                    file.read_exact(&mut bytes)
                };
                read(file.as_mut()).map_err(files::io(&self.path))?;
                Ok(bytes)
            }
        }
    }

    /// A reader from `start` up to `end`.
    pub fn between(self: &Arc<Self>, start: u64, end: u64) -> Reader {
        Reader {
            bulk: self.clone(),
            at: start,
            end: end.min(self.len),
        }
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads a bulk from place to place.
pub(super) struct Reader {
    bulk: Arc<Bulk>,
    at: u64,
    end: u64,
}

impl Read for Reader {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let len = (self.end.saturating_sub(self.at)).min(out.len() as u64) as usize;
        let bytes = self.bulk.read(self.at, len).map_err(std::io::Error::other)?;
        out[..len].copy_from_slice(&bytes);
        self.at += len as u64;
        Ok(len)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.end.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        let outside =
            || std::io::Error::new(std::io::ErrorKind::InvalidInput, "a place before the beginning");
        self.at = at.ok_or_else(outside)?;
        Ok(self.at)
    }
}

/// A part of a bulk.
#[derive(Clone)]
pub(super) struct Part {
    pub bulk: Arc<Bulk>,
    pub offset: u64,
    pub len: usize,
}

impl Part {
    pub fn read(&self) -> Result<Vec<u8>, DatasetError> {
        self.bulk.read(self.offset, self.len)
    }
}
