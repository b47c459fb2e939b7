//! Files that appear whole or not at all: written beside the target, then renamed to it.

use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile, TempDir};

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

    /// Refuses a target that is there and may not be replaced, or whose folder is not there: to be asked
    /// before any work.
    ///
    /// # Errors
    /// [`ExchangeError::Exists`], [`ExchangeError::NoFolder`].
    pub fn check(&self) -> Result<(), ExchangeError> {
        let folder = match self.path.parent() {
            Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
            Some(folder) => folder,
            None => Path::new("/"),
        };
        if !folder.is_dir() {
            return Err(ExchangeError::NoFolder {
                path: self.path.clone(),
                folder: folder.to_owned(),
            });
        }
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
    file: BufWriter<NamedTempFile>,
}

impl AtomicFile {
    /// Opens a new file beside the target.
    pub(crate) fn create(target: &Target) -> Result<Self, ExchangeError> {
        target.check()?;
        if target.path.is_dir() {
            let path = target.path.clone();
            return Err(ExchangeError::IsFolder { path });
        }
        let file = beside(&target.path, 0o666, |builder, folder| builder.tempfile_in(folder))?;
        Ok(Self {
            target: target.clone(),
            file: BufWriter::new(file),
        })
    }

    /// Makes the bytes durable and puts the file in its place. What someone else has put there meanwhile
    /// stays, unless it may be replaced.
    pub(crate) fn commit(self) -> Result<(), ExchangeError> {
        let Target { path, overwrite } = self.target;
        let file = self
            .file
            .into_inner()
            .map_err(|e| ExchangeError::io(&path)(e.into_error()))?;
        file.as_file().sync_all().map_err(ExchangeError::io(&path))?;
        let placed = if overwrite {
            file.persist(&path)
        } else {
            file.persist_noclobber(&path)
        };
        match placed {
            Ok(_) => Ok(()),
            Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => Err(ExchangeError::Exists { path }),
            Err(e) => Err(ExchangeError::io(&path)(e.error)),
        }
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// Writes a file of these bytes, which appears whole or not at all.
///
/// # Errors
/// [`ExchangeError::Exists`], [`ExchangeError::NoFolder`], [`ExchangeError::IsFolder`], or if the disk fails.
pub fn write_file(target: &Target, bytes: &[u8]) -> Result<(), ExchangeError> {
    let mut file = AtomicFile::create(target)?;
    file.write_all(bytes).map_err(ExchangeError::io(&target.path))?;
    file.commit()
}

/// Makes a directory beside `path`. Dropped, it goes with all that is in it.
pub(super) fn folder_beside(path: &Path) -> Result<TempDir, ExchangeError> {
    beside(path, 0o777, |builder, folder| builder.tempdir_in(folder))
}

/// Makes something named `.NAME.part-...` beside `path`. Whoever may read what a program writes may read it:
/// `mode` is what the user's mask takes from.
fn beside<T>(
    path: &Path,
    mode: u32,
    make: impl FnOnce(&Builder<'_, '_>, &Path) -> io::Result<T>,
) -> Result<T, ExchangeError> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "names no file"))
        .map_err(ExchangeError::io(path))?;
    let prefix = format!(".{}.part-", name.to_string_lossy());
    let mut builder = Builder::new();
    builder.prefix(&prefix);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    #[cfg(not(unix))]
    let _ = mode;
    make(&builder, path.parent().unwrap_or(path)).map_err(ExchangeError::io(path))
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        let [part] = &names(dir.path())[..] else {
            panic!("one file")
        };
        assert!(part.starts_with(".a.bin.part-"), "{part}");
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

    /// Two exports to one place, committed at once: a check before the rename would let one replace the
    /// other.
    #[test]
    fn what_appears_at_the_last_moment_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        for round in 0..500 {
            let target = Target::new(dir.path().join(format!("{round}.bin")));
            let start = std::sync::Barrier::new(2);
            let commit = |content: &'static str| {
                let mut file = AtomicFile::create(&target).unwrap();
                file.write_all(content.as_bytes()).unwrap();
                start.wait();
                file.commit().map(|()| content)
            };
            let results = std::thread::scope(|scope| {
                ["one", "two"]
                    .map(|content| scope.spawn(move || commit(content)))
                    .map(|thread| thread.join().unwrap())
            });
            let placed: Vec<_> = results.iter().flatten().collect();
            assert_eq!(placed.len(), 1, "round {round}");
            assert_eq!(
                &&fs::read_to_string(&target.path).unwrap(),
                placed[0],
                "round {round}"
            );
            assert!(
                results
                    .iter()
                    .any(|r| matches!(r, Err(ExchangeError::Exists { .. })))
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn others_may_read_what_they_could_read_before() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let plain = dir.path().join("plain");
        fs::write(&plain, "").unwrap();
        let target = Target::new(dir.path().join("a.bin"));
        AtomicFile::create(&target).unwrap().commit().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&target.path), mode(&plain));
        fs::create_dir(dir.path().join("folder")).unwrap();
        let folder = folder_beside(&dir.path().join("b")).unwrap();
        assert_eq!(mode(folder.path()), mode(&dir.path().join("folder")));
    }

    #[test]
    fn a_missing_directory_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let target = Target::new(dir.path().join("no/such/a.bin"));
        let err = AtomicFile::create(&target).unwrap_err();
        assert!(err.to_string().contains("no/such/a.bin"), "{err}");
    }
}
