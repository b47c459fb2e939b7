//! Files that appear whole or not at all: written beside the target, then renamed over it.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::ExchangeError;

/// Where an export goes, and whether something that is there may be replaced.
#[derive(Clone, Debug)]
pub struct Target {
    /// The file or directory.
    pub path: PathBuf,
    /// Whether what is there may be replaced.
    pub overwrite: bool,
}

impl Target {
    /// Returns a target that must not be there yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            overwrite: false,
        }
    }

    /// Returns the same target, replacing what is there if `overwrite`.
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// Refuses a target that is there and may not be replaced.
    pub(crate) fn check(&self) -> Result<(), ExchangeError> {
        if !self.overwrite && self.path.symlink_metadata().is_ok() {
            let path = self.path.clone();
            return Err(ExchangeError::Exists { path });
        }
        Ok(())
    }
}

/// A file in the making. Dropped before [`commit`](AtomicFile::commit), it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct AtomicFile {
    target: Target,
    temporary: PathBuf,
    /// `None` only once committed.
    file: Option<BufWriter<File>>,
}

impl AtomicFile {
    /// Opens a new file beside the target.
    pub(crate) fn create(target: &Target) -> Result<Self, ExchangeError> {
        target.check()?;
        let (temporary, file) = beside(&target.path, |path| {
            File::options().read(true).write(true).create_new(true).open(path)
        })?;
        Ok(Self {
            target: target.clone(),
            temporary,
            file: Some(BufWriter::new(file)),
        })
    }

    /// Makes the bytes durable and puts the file in its place.
    pub(crate) fn commit(mut self) -> Result<(), ExchangeError> {
        self.target.check()?;
        if let Some(mut file) = self.file.take() {
            let durable = file.flush().and_then(|()| file.get_ref().sync_all());
            drop(file);
            let renamed = durable.and_then(|()| fs::rename(&self.temporary, &self.target.path));
            if let Err(source) = renamed {
                // The first error is the one to tell; a leftover is named so that it can be recognised.
                let _ = fs::remove_file(&self.temporary);
                return Err(ExchangeError::io(&self.target.path)(source));
            }
        }
        Ok(())
    }

    fn open(&mut self) -> io::Result<&mut BufWriter<File>> {
        self.file
            .as_mut()
            .ok_or_else(|| io::Error::other("the file is already in its place"))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.open()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.open()?.flush()
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.open()?.seek(to)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // Nobody is left to tell.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Makes something new beside `path` by `create`, under the first free name `.NAME.part-N`.
pub(crate) fn beside<T>(
    path: &Path,
    create: impl Fn(&Path) -> io::Result<T>,
) -> Result<(PathBuf, T), ExchangeError> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "names no file"))
        .map_err(ExchangeError::io(path))?
        .to_string_lossy();
    for n in 0..1000_u32 {
        let temporary = path.with_file_name(format!(".{name}.part-{n}"));
        match create(&temporary) {
            Ok(made) => return Ok((temporary, made)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(ExchangeError::io(path)(e)),
        }
    }
    let full =
        io::Error::other("a thousand unfinished exports lie beside it; remove the files named .*.part-*");
    Err(ExchangeError::io(path)(full))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let target = Target::new(dir.path().join("a.bin"));
        let mut dropped = AtomicFile::create(&target).unwrap();
        dropped.write_all(b"half").unwrap();
        assert_eq!(names(dir.path()), [".a.bin.part-0"]);
        drop(dropped);
        assert!(names(dir.path()).is_empty());

        let mut one = AtomicFile::create(&target).unwrap();
        let mut two = AtomicFile::create(&target).unwrap();
        one.write_all(b"one").unwrap();
        two.write_all(b"two").unwrap();
        one.commit().unwrap();
        let err = two.commit().unwrap_err();
        assert!(err.to_string().contains("is there already"), "{err}");
        assert_eq!(fs::read(&target.path).unwrap(), b"one");
        assert_eq!(names(dir.path()), ["a.bin"]);

        assert!(AtomicFile::create(&target).is_err());
        let mut again = AtomicFile::create(&target.clone().overwrite(true)).unwrap();
        again.write_all(b"again").unwrap();
        again.commit().unwrap();
        assert_eq!(fs::read(&target.path).unwrap(), b"again");
    }

    #[test]
    fn a_missing_directory_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let target = Target::new(dir.path().join("no/such/a.bin"));
        let err = AtomicFile::create(&target).unwrap_err();
        assert!(err.to_string().contains("no/such/a.bin"), "{err}");
    }
}
