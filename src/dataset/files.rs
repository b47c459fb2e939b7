//! Reading files, and listing directories in a fixed order.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::error::DatasetError;
use crate::input;

pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> DatasetError {
    let path = path.to_owned();
    move |source| DatasetError::Io { path, source }
}

/// Reads a whole file, of `most` bytes at most.
pub(super) fn read(path: &Path, most: u64) -> Result<Vec<u8>, DatasetError> {
    input::whole(path, most).map_err(io(path))
}

/// Whether `bytes` are a gzip stream, by their magic number rather than a file's name.
pub(super) fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

/// One entry of a directory.
pub(super) struct Entry {
    pub name: String,
    pub path: PathBuf,
    pub is_dir: bool,
}

/// What other programs leave beside a set, in folders and in archives.
const LITTER: [&str; 9] = [
    "__MACOSX",
    "__pycache__",
    "Thumbs.db",
    "desktop.ini",
    "lost+found",
    "$RECYCLE.BIN",
    "System Volume Information",
    "@eaDir",
    "#recycle",
];

/// Whether a file or folder of that name is no part of a set: hidden, or another program's.
pub(crate) fn is_litter(name: &str) -> bool {
    name.starts_with('.') || LITTER.iter().any(|litter| litter.eq_ignore_ascii_case(name))
}

/// A name as text: bytes that are no UTF-8 become `\xE9`, so that two names stay two.
pub(super) fn readable(name: &OsStr) -> String {
    let text = name.to_str().map(str::to_owned);
    text.unwrap_or_else(|| {
        let chunks = name.as_encoded_bytes().utf8_chunks();
        let chunk = |chunk: std::str::Utf8Chunk<'_>| format!("{}{}", chunk.valid(), escaped(chunk.invalid()));
        chunks.map(chunk).collect()
    })
}

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\x{byte:02X}")).collect()
}

/// Lists a directory by name (bytes ascending), without what is no part of a set. Links are followed; one
/// that leads nowhere is a file.
pub(super) fn list(dir: &Path) -> Result<Vec<Entry>, DatasetError> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io(dir))? {
        let entry = entry.map_err(io(dir))?;
        let path = entry.path();
        let name = readable(&entry.file_name());
        if is_litter(&name) {
            continue;
        }
        let kind = entry.file_type().map_err(io(&path))?;
        let is_dir = kind.is_dir() || kind.is_symlink() && path.is_dir();
        entries.push(Entry { name, path, is_dir });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// Class names, one per line, from text; empty lines at the end do not count.
pub(super) fn lines(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    text.trim_end()
        .lines()
        .map(|line| line.trim().to_owned())
        .collect()
}

/// Where something lies, as an absolute path without detours: its folder's real place and its own name. A
/// link keeps its name, which says what it is; Hugging Face's cache links such names to files without one. Of
/// a repository in that cache it is the snapshot that its `refs/main` names, or its only one.
///
/// # Errors
/// If there is nothing, or several snapshots, of which none is the main one.
pub fn place(path: &Path) -> std::io::Result<PathBuf> {
    if let (Some(name), false) = (path.file_name(), path.is_dir()) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        // What is named must be there; only a folder has a real place of its own.
        std::fs::metadata(path)?;
        return Ok(folder.unwrap_or(Path::new(".")).canonicalize()?.join(name));
    }
    let folder = path.canonicalize()?;
    // A copy of one has no blobs where there are no links.
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let is_cached = ["models--", "datasets--"]
        .iter()
        .any(|start| name.starts_with(start));
    match folder.join("snapshots").is_dir() && (is_cached || folder.join("blobs").is_dir()) {
        true => snapshot(&folder),
        false => Ok(folder),
    }
}

/// The snapshot of a repository in Hugging Face's cache.
fn snapshot(repository: &Path) -> std::io::Result<PathBuf> {
    let folder = repository.join("snapshots");
    let main = input::text(&repository.join("refs/main"), input::TABLE).unwrap_or_default();
    let main = folder.join(main.trim());
    if main != folder.join("") && main.is_dir() {
        return Ok(main);
    }
    let entries = std::fs::read_dir(&folder)?.collect::<std::io::Result<Vec<_>>>()?;
    let mut names: Vec<String> = entries
        .iter()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    match names.as_slice() {
        [only] => Ok(folder.join(only)),
        none_or_several => Err(std::io::Error::other(format!(
            "a repository of Hugging Face's cache with {} snapshots{}: name the folder of one, \
             snapshots/REVISION",
            none_or_several.len(),
            match none_or_several {
                [] => String::new(),
                several => format!(" ({})", several.join(", ")),
            }
        ))),
    }
}

/// Class names from the file `classes.txt` of a directory, if there is one: for containers that name no
/// classes.
pub(super) fn class_names(dir: &Path) -> Result<Vec<String>, DatasetError> {
    let path = dir.join("classes.txt");
    match path.is_file() {
        true => Ok(lines(&read(&path, input::TABLE)?)),
        false => Ok(Vec::new()),
    }
}
