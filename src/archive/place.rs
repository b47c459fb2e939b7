//! Where a data set lies: in a folder, or in a bucket (`bucket.rs`).

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use super::ArchiveError;
use crate::exchange::{AtomicFile, ExchangeError, Target};
use crate::input;

/// Writes an object to a target that it is given.
pub type Write<'a> = &'a mut dyn FnMut(&Target) -> Result<(), ArchiveError>;

/// Says whether the caller asked to stop.
pub type Cancelled<'a> = &'a dyn Fn() -> bool;

/// A place for named objects. Names are paths with `/`; an object appears whole or not at all. What waits for
/// another machine ends with [`ArchiveError::Interrupted`] when `cancelled` says so.
pub trait Place {
    /// Returns what the place is called.
    fn shown(&self) -> String;

    /// Says whether it is there; a bucket has no folders that could be missing.
    fn is_there(&self) -> bool {
        true
    }

    /// Writes an object that is made in a file, over the one of that name.
    ///
    /// # Errors
    /// If the place refuses.
    fn write(&self, name: &str, cancelled: Cancelled<'_>, write: Write<'_>) -> Result<(), ArchiveError>;

    /// Writes bytes as an object, over the one of that name.
    ///
    /// # Errors
    /// If the place refuses.
    fn put(&self, name: &str, bytes: &[u8], cancelled: Cancelled<'_>) -> Result<(), ArchiveError>;

    /// Returns whether there is an object of that name.
    ///
    /// # Errors
    /// If the place refuses.
    fn has(&self, name: &str, cancelled: Cancelled<'_>) -> Result<bool, ArchiveError>;

    /// Returns the bytes of an object, or none if there is none.
    ///
    /// # Errors
    /// If the place refuses.
    fn bytes(&self, name: &str, cancelled: Cancelled<'_>) -> Result<Option<Vec<u8>>, ArchiveError>;

    /// Returns an object as a file, or none if there is none.
    ///
    /// # Errors
    /// If the place refuses.
    fn read(&self, name: &str, cancelled: Cancelled<'_>) -> Result<Option<Local>, ArchiveError>;

    /// Returns the names of all objects below a folder, in order.
    ///
    /// # Errors
    /// If the place refuses.
    fn list(&self, folder: &str, cancelled: Cancelled<'_>) -> Result<Vec<String>, ArchiveError>;
}

/// An object as a file of this machine.
pub enum Local {
    /// The object itself.
    There(PathBuf),
    /// A copy, which goes with this.
    Fetched(TempPath),
}

impl Local {
    /// Returns where it is.
    pub fn path(&self) -> &Path {
        match self {
            Self::There(path) => path,
            Self::Fetched(path) => path,
        }
    }
}

/// What a place is named by.
pub(super) const EXPECTED: &str = "expected a folder, s3://BUCKET/FOLDER, gs://BUCKET/FOLDER or \
                                   az://CONTAINER/FOLDER";

/// Returns the place of that name: a folder, or the folder of a bucket as an address says, with the
/// credentials that the environment names. A bucket is not asked for anything yet.
///
/// # Errors
/// [`ArchiveError::Place`] if the address is none or something is missing in it or in the environment,
/// [`ArchiveError::NoCloud`] if it is that of a bucket and the library was built without the feature `cloud`.
pub fn open(name: &str) -> Result<Box<dyn Place>, ArchiveError> {
    match name.split_once("://") {
        None if Path::new(name).is_file() => Err(ArchiveError::Place {
            place: name.to_owned(),
            reason: "it is a file, and whole runs are in a folder".to_owned(),
        }),
        None => Ok(Box::new(Folder(PathBuf::from(name)))),
        Some((scheme, _)) => cloud(name, scheme),
    }
}

#[cfg(feature = "cloud")]
fn cloud(address: &str, _: &str) -> Result<Box<dyn Place>, ArchiveError> {
    Ok(Box::new(super::cloud::open(address)?))
}

#[cfg(not(feature = "cloud"))]
fn cloud(address: &str, scheme: &str) -> Result<Box<dyn Place>, ArchiveError> {
    let place = address.to_owned();
    match scheme {
        "s3" | "s3a" | "gs" | "az" | "abfs" | "abfss" | "https" => Err(ArchiveError::NoCloud { place }),
        _ => Err(ArchiveError::Place {
            place,
            reason: EXPECTED.to_owned(),
        }),
    }
}

/// A folder.
struct Folder(PathBuf);

impl Folder {
    /// Returns the path of an object, in a folder that is there.
    fn path_for(&self, name: &str) -> Result<PathBuf, ArchiveError> {
        let path = self.0.join(name);
        let folder = path.parent().unwrap_or(&path);
        fs::create_dir_all(folder).map_err(ExchangeError::io(folder))?;
        Ok(path)
    }
}

impl Place for Folder {
    fn shown(&self) -> String {
        self.0.display().to_string()
    }

    fn is_there(&self) -> bool {
        self.0.is_dir()
    }

    fn write(&self, name: &str, _: Cancelled<'_>, write: Write<'_>) -> Result<(), ArchiveError> {
        write(&Target::new(self.path_for(name)?).overwrite(true))
    }

    fn put(&self, name: &str, bytes: &[u8], _: Cancelled<'_>) -> Result<(), ArchiveError> {
        let path = self.path_for(name)?;
        let mut file = AtomicFile::create(&Target::new(&path).overwrite(true))?;
        file.write_all(bytes).map_err(ExchangeError::io(&path))?;
        Ok(file.commit()?)
    }

    fn has(&self, name: &str, _: Cancelled<'_>) -> Result<bool, ArchiveError> {
        Ok(self.0.join(name).is_file())
    }

    fn bytes(&self, name: &str, _: Cancelled<'_>) -> Result<Option<Vec<u8>>, ArchiveError> {
        let path = self.0.join(name);
        match input::whole(&path, input::ANY) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ExchangeError::io(&path)(error).into()),
        }
    }

    fn read(&self, name: &str, _: Cancelled<'_>) -> Result<Option<Local>, ArchiveError> {
        let path = self.0.join(name);
        Ok(path.is_file().then_some(Local::There(path)))
    }

    fn list(&self, folder: &str, _: Cancelled<'_>) -> Result<Vec<String>, ArchiveError> {
        let mut names = Vec::new();
        walk(&self.0.join(folder), folder, &mut names)?;
        names.sort_unstable();
        Ok(names)
    }
}

fn walk(folder: &Path, name: &str, names: &mut Vec<String>) -> Result<(), ArchiveError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
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
