//! Reading files, compressed or not, and listing directories in a fixed order.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::error::DatasetError;

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> DatasetError {
    let path = path.to_owned();
    move |source| DatasetError::Io { path, source }
}

/// Reads a whole file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, DatasetError> {
    std::fs::read(path).map_err(io(path))
}

/// Whether `bytes` are a gzip stream, by their magic number rather than a file's name.
pub(super) fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

/// Reads a whole file and decompresses it if it is a gzip stream.
pub(super) fn read_maybe_gzip(path: &Path) -> Result<Vec<u8>, DatasetError> {
    let bytes = read(path)?;
    match is_gzip(&bytes) {
        true => gunzip(path, &bytes),
        false => Ok(bytes),
    }
}

/// Decompresses a gzip stream that came from `path`.
pub(super) fn gunzip(path: &Path, bytes: &[u8]) -> Result<Vec<u8>, DatasetError> {
    let mut out = Vec::new();
    let mut decoder = flate2::read::MultiGzDecoder::new(bytes);
    decoder
        .read_to_end(&mut out)
        .map_err(|error| DatasetError::Corrupt {
            path: path.to_owned(),
            reason: format!("gzip: {error}"),
        })?;
    Ok(out)
}

/// One entry of a directory.
pub(super) struct Entry {
    pub name: String,
    pub path: PathBuf,
    pub is_dir: bool,
}

/// Lists a directory by name (bytes ascending), without hidden entries. Links are followed.
pub(super) fn list(dir: &Path) -> Result<Vec<Entry>, DatasetError> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io(dir))? {
        let path = entry.map_err(io(dir))?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if !name.starts_with('.') {
            let is_dir = std::fs::metadata(&path).map_err(io(&path))?.is_dir();
            entries.push(Entry { name, path, is_dir });
        }
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// Class names, one a line, from text; empty lines at the end do not count.
pub(super) fn lines(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    text.trim_end()
        .lines()
        .map(|line| line.trim().to_owned())
        .collect()
}

/// Class names from the file `classes.txt` of a directory, if there is one: for containers that name no
/// classes.
pub(super) fn class_names(dir: &Path) -> Result<Vec<String>, DatasetError> {
    let path = dir.join("classes.txt");
    match path.is_file() {
        true => Ok(lines(&read(&path)?)),
        false => Ok(Vec::new()),
    }
}
