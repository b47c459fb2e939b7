//! The files of a model's folder, each read once and counted in the model's digest.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::error::{DiffusionError, Result};

/// A model's folder, and the digests of the files read from it so far.
pub(crate) struct Folder {
    root: PathBuf,
    read: Vec<(String, [u8; 32])>,
}

impl Folder {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
            read: Vec::new(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Reads a file whole.
    pub(crate) fn bytes(&mut self, name: &str) -> Result<Vec<u8>> {
        let path = self.path(name);
        let bytes = std::fs::read(&path).map_err(|source| DiffusionError::Read { path, source })?;
        let digest = *blake3::Hasher::new().update_rayon(&bytes).finalize().as_bytes();
        self.read.push((name.to_owned(), digest));
        Ok(bytes)
    }

    /// Reads a JSON file.
    pub(crate) fn json<T: DeserializeOwned>(&mut self, name: &str) -> Result<T> {
        let bytes = self.bytes(name)?;
        serde_json::from_slice(&bytes).map_err(|e| DiffusionError::Config {
            path: self.path(name),
            message: e.to_string(),
        })
    }

    /// Reads a JSON file that need not be there.
    pub(crate) fn json_if_present<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>> {
        if self.path(name).is_file() {
            self.json(name).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Reads the first of `names` that exists.
    pub(crate) fn first_of(&mut self, names: &[&str]) -> Result<(PathBuf, Vec<u8>)> {
        let present = names.iter().find(|n| self.path(n).is_file());
        let name = present.or(names.first()).copied().unwrap_or_default();
        Ok((self.path(name), self.bytes(name)?))
    }

    /// Returns BLAKE3 over the files read, sorted by name: each name's length (u64, little-endian), name and content digest.
    pub(crate) fn digest(mut self) -> [u8; 32] {
        self.read.sort();
        let mut hasher = blake3::Hasher::new();
        for (name, digest) in &self.read {
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
            hasher.update(digest);
        }
        *hasher.finalize().as_bytes()
    }
}
