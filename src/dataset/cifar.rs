//! CIFAR-10 and CIFAR-100 in the binary version: a directory, or the `.tar.gz` as downloaded.
//!
//! A CIFAR-10 record is a label and 3072 bytes `[3, 32, 32]`; a CIFAR-100 record has a coarse label before the fine one, of
//! which the fine one is used. Class names come from `batches.meta.txt` or `fine_label_names.txt`.

use super::error::DatasetError;
use super::files;
use super::item::{Container, Item, Stored};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

const SIDE: usize = 32;
const PIXELS: usize = 3 * SIDE * SIDE;

/// Where a file of the set lies.
enum Source {
    Path(PathBuf),
    Bytes(Vec<u8>),
}

/// A CIFAR set.
pub(super) struct Cifar {
    path: PathBuf,
    files: BTreeMap<String, Source>,
    /// Split name, and its files in order.
    splits: BTreeMap<String, Vec<String>>,
    /// Label bytes of a record; the last is the label.
    labels: usize,
    classes: Vec<String>,
}

fn is_of_the_set(name: &str) -> bool {
    name.ends_with(".bin") || name == "batches.meta.txt" || name == "fine_label_names.txt"
}

/// The set's files in `dir` or, if there are none, in one of its directories (`cifar-10-batches-bin`).
fn files_in(dir: &Path) -> Result<BTreeMap<String, Source>, DatasetError> {
    let entries = files::list(dir)?;
    let found: BTreeMap<String, Source> = entries
        .iter()
        .filter(|e| !e.is_dir && is_of_the_set(&e.name))
        .map(|e| (e.name.clone(), Source::Path(e.path.clone())))
        .collect();
    if !found.is_empty() {
        return Ok(found);
    }
    for entry in entries
        .iter()
        .filter(|e| e.is_dir && e.name.starts_with("cifar-"))
    {
        let found = files_in(&entry.path)?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(found)
}

fn files_in_tar(path: &Path) -> Result<BTreeMap<String, Source>, DatasetError> {
    let bytes = files::read_maybe_gzip(path)?;
    let damaged = |error: std::io::Error| DatasetError::Corrupt {
        path: path.to_owned(),
        reason: format!("tar: {error}"),
    };
    let mut archive = tar::Archive::new(&bytes[..]);
    let mut found = BTreeMap::new();
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let inner = entry.path().map_err(damaged)?;
        let name = inner
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if is_of_the_set(&name) {
            let size = entry.size();
            let mut data = Vec::new();
            entry.read_to_end(&mut data).map_err(damaged)?;
            if data.len() as u64 != size {
                return Err(DatasetError::Corrupt {
                    path: path.to_owned(),
                    reason: format!("tar: {name} ends after {} of {size} bytes", data.len()),
                });
            }
            found.insert(name, Source::Bytes(data));
        }
    }
    Ok(found)
}

/// Whether `path` looks like a CIFAR set.
pub(super) fn is_cifar(path: &Path) -> bool {
    if path.is_dir() {
        return files_in(path).is_ok_and(|files| files.keys().any(|name| name.ends_with(".bin")));
    }
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    [".tar", ".tar.gz", ".tgz"].iter().any(|end| name.ends_with(end))
}

impl Cifar {
    pub fn open(path: &Path) -> Result<Self, DatasetError> {
        let files = match path.is_dir() {
            true => files_in(path)?,
            false => files_in_tar(path)?,
        };
        let mut splits = BTreeMap::new();
        let batches: Vec<String> = (1..=5).map(|i| format!("data_batch_{i}.bin")).collect();
        let has = |name: &str| files.contains_key(name);
        let labels = if has("train.bin") || has("test.bin") {
            for split in ["train", "test"] {
                if has(&format!("{split}.bin")) {
                    splits.insert(split.to_owned(), vec![format!("{split}.bin")]);
                }
            }
            2
        } else {
            if batches.iter().any(|name| has(name)) {
                if let Some(missing) = batches.iter().find(|name| !has(name)) {
                    return Err(DatasetError::Missing {
                        path: path.to_owned(),
                        expected: missing.clone(),
                    });
                }
                splits.insert("train".to_owned(), batches);
            }
            if has("test_batch.bin") {
                splits.insert("test".to_owned(), vec!["test_batch.bin".to_owned()]);
            }
            1
        };
        if splits.is_empty() {
            return Err(DatasetError::Layout {
                path: path.to_owned(),
                reason: "no data_batch_1.bin, test_batch.bin, train.bin or test.bin in it".to_owned(),
            });
        }
        let mut set = Self {
            path: path.to_owned(),
            files,
            splits,
            labels,
            classes: Vec::new(),
        };
        let names = if labels == 2 {
            "fine_label_names.txt"
        } else {
            "batches.meta.txt"
        };
        if set.files.contains_key(names) {
            set.classes = files::lines(&set.read(names)?);
        }
        Ok(set)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, DatasetError> {
        match self.files.get(name) {
            Some(Source::Path(path)) => files::read(path),
            Some(Source::Bytes(bytes)) => Ok(bytes.clone()),
            None => Err(DatasetError::Missing {
                path: self.path.clone(),
                expected: name.to_owned(),
            }),
        }
    }
}

impl Container for Cifar {
    fn splits(&self) -> Vec<String> {
        self.splits.keys().cloned().collect()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn items(&self, split: &str) -> Result<Vec<Item>, DatasetError> {
        let record = self.labels + PIXELS;
        let mut items = Vec::new();
        for name in self.splits.get(split).into_iter().flatten() {
            let bytes = self.read(name)?;
            if bytes.is_empty() || !bytes.len().is_multiple_of(record) {
                return Err(DatasetError::Size {
                    path: self.path.join(name),
                    expected: format!("a multiple of {record}"),
                    actual: bytes.len(),
                });
            }
            for bytes in bytes.chunks_exact(record) {
                let (labels, pixels) = bytes.split_at(self.labels);
                items.push(Item {
                    name: items.len().to_string(),
                    label: labels.last().map(|label| u32::from(*label)),
                    stored: Stored::Planes {
                        width: SIDE,
                        height: SIDE,
                        channels: 3,
                        bytes: pixels.to_vec(),
                    },
                });
            }
        }
        Ok(items)
    }
}
