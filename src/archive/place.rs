//! Where a data set lies. Storage of another kind than a folder is another [`Place`].

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::ArchiveError;
use crate::exchange::{ExchangeError, Target};

/// Writes an object to a target that it is given.
pub type Write<'a> = &'a mut dyn FnMut(&Target) -> Result<(), ArchiveError>;

/// A place for named objects. Names are paths with `/`; an object appears whole or not at all.
pub trait Place {
    /// Returns what the place is called.
    fn shown(&self) -> String;

    /// Writes an object, over the one of that name.
    ///
    /// # Errors
    /// If the place refuses.
    fn write(&self, name: &str, write: Write<'_>) -> Result<(), ArchiveError>;

    /// Returns an object as a file, or none if there is none.
    ///
    /// # Errors
    /// If the place refuses.
    fn read(&self, name: &str) -> Result<Option<Local>, ArchiveError>;

    /// Returns the names of all objects below a folder, in order.
    ///
    /// # Errors
    /// If the place refuses.
    fn list(&self, folder: &str) -> Result<Vec<String>, ArchiveError>;
}

/// An object as a file of this machine.
pub struct Local {
    path: PathBuf,
}

impl Local {
    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns its bytes.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn bytes(&self) -> Result<Vec<u8>, ArchiveError> {
        Ok(fs::read(&self.path).map_err(ExchangeError::io(&self.path))?)
    }
}

impl dyn Place + '_ {
    /// Writes bytes as an object.
    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.write(name, &mut |target| {
            let path = &target.path;
            let folder = path.parent().unwrap_or(path);
            let beside = tempfile::NamedTempFile::new_in(folder).map_err(ExchangeError::io(path))?;
            beside
                .as_file()
                .write_all(bytes)
                .map_err(ExchangeError::io(path))?;
            beside.as_file().sync_all().map_err(ExchangeError::io(path))?;
            beside
                .persist(path)
                .map_err(|error| ExchangeError::io(path)(error.error))?;
            Ok(())
        })
    }
}

/// Returns the place of that name: a folder.
///
/// # Errors
/// [`ArchiveError::Place`] if it is a URL: buckets are not written to directly.
pub fn open(name: &str) -> Result<Box<dyn Place>, ArchiveError> {
    match name.contains("://") {
        false => Ok(Box::new(Folder(PathBuf::from(name)))),
        true => Err(ArchiveError::Place {
            place: name.to_owned(),
            reason: "expected a folder; a bucket's own program (`aws s3 sync`, `gcloud storage rsync`, \
                     `azcopy sync`) takes one there"
                .to_owned(),
        }),
    }
}

/// A folder.
struct Folder(PathBuf);

impl Place for Folder {
    fn shown(&self) -> String {
        self.0.display().to_string()
    }

    fn write(&self, name: &str, write: Write<'_>) -> Result<(), ArchiveError> {
        let path = self.0.join(name);
        let folder = path.parent().unwrap_or(&path);
        fs::create_dir_all(folder).map_err(ExchangeError::io(folder))?;
        write(&Target::new(path).overwrite(true))
    }

    fn read(&self, name: &str) -> Result<Option<Local>, ArchiveError> {
        let path = self.0.join(name);
        Ok(path.is_file().then_some(Local { path }))
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, ArchiveError> {
        let mut names = Vec::new();
        walk(&self.0.join(folder), folder, &mut names)?;
        names.sort_unstable();
        Ok(names)
    }
}

fn walk(folder: &Path, name: &str, names: &mut Vec<String>) -> Result<(), ArchiveError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(ExchangeError::io(folder)(error).into()),
    };
    for entry in entries {
        let entry = entry.map_err(ExchangeError::io(folder))?;
        let own = entry.file_name();
        // What is in the making begins with a dot.
        let Some(own) = own.to_str().filter(|own| !own.starts_with('.')) else {
            continue;
        };
        let below = format!("{name}/{own}");
        match entry.path().is_dir() {
            true => walk(&entry.path(), &below, names)?,
            false => names.push(below),
        }
    }
    Ok(())
}
