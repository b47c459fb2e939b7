//! CIFAR-10 and CIFAR-100, in the binary and in the Python version: a directory, or the `.tar.gz` as
//! downloaded.
//!
//! Both hold planes `[3, 32, 32]` and, for CIFAR-100, coarse and fine labels, of which the fine ones are
//! used. Images are named by their number in the split, so that the two versions of a set are one set.

mod binary;
mod python;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bulk::{Bulk, Part};
use super::error::DatasetError;
use super::files;
use super::item::{Item, Order, Planes, Stored};
use crate::input;

pub(super) use binary::Binary;
pub(super) use python::Python;

const SIDE: usize = 32;
const PIXELS: usize = 3 * SIDE * SIDE;

/// A version of the sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// Records of bytes.
    Binary,
    /// Python pickles.
    Python,
}

impl Version {
    const ALL: [Self; 2] = [Self::Binary, Self::Python];

    /// Whether a file of that name holds images or class names of this version.
    fn has(self, name: &str) -> bool {
        match self {
            Self::Binary => {
                self.settles(name) || name == "batches.meta.txt" || name == "fine_label_names.txt"
            }
            Self::Python => {
                is_batch(name) || ["test_batch", "batches.meta", "train", "test", "meta"].contains(&name)
            }
        }
    }

    /// Whether such a file among others settles that the set is of this version.
    fn settles(self, name: &str) -> bool {
        match self {
            // torchvision's `meta.bin` beside an ImageNet is none of it.
            Self::Binary => name
                .strip_suffix(".bin")
                .is_some_and(|stem| is_batch(stem) || ["test_batch", "train", "test"].contains(&stem)),
            Self::Python => self.has(name),
        }
    }
}

/// Whether it is `data_batch_` and a number.
fn is_batch(name: &str) -> bool {
    let number = name.strip_prefix("data_batch_");
    number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// Members of an archive that are looked at before it is taken for something else than a CIFAR set.
const LOOKED_AT: usize = 64;

/// The version of the CIFAR set at `path`, if it looks like one.
pub(super) fn version(path: &Path) -> Option<Version> {
    if path.is_dir() {
        let settled = |version: &Version| {
            files_in(path, *version).is_ok_and(|files| files.keys().any(|name| version.settles(name)))
        };
        return Version::ALL.into_iter().find(settled);
    }
    let name = path.file_name()?.to_string_lossy().to_lowercase();
    if ![".tar", ".tar.gz", ".tgz"].iter().any(|end| name.ends_with(end)) {
        return None;
    }
    // The members say it.
    let file = input::open(path).ok()?;
    let mut buffered = std::io::BufReader::new(file);
    let compressed = std::io::BufRead::fill_buf(&mut buffered).is_ok_and(files::is_gzip);
    match compressed {
        true => version_in_tar(flate2::bufread::MultiGzDecoder::new(buffered)),
        false => version_in_tar(buffered),
    }
}

fn version_in_tar(reader: impl Read) -> Option<Version> {
    let mut archive = tar::Archive::new(reader);
    for entry in archive.entries().ok()?.take(LOOKED_AT) {
        let entry = entry.ok()?;
        let name = member(&entry).ok()?;
        let settled = Version::ALL.into_iter().find(|version| version.settles(&name));
        if settled.is_some() && entry.header().entry_type().is_file() {
            return settled;
        }
    }
    None
}

/// The name of an archive's member without its directories.
fn member(entry: &tar::Entry<'_, impl Read>) -> std::io::Result<String> {
    let path = entry.path()?;
    Ok(path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned())
}

/// Where a file of the set lies.
enum Source {
    Path(PathBuf),
    /// A member of an archive.
    Member(Part),
}

/// The set's files in `dir` or, if there are none, in one of its directories (`cifar-10-batches-bin`).
fn files_in(dir: &Path, version: Version) -> Result<BTreeMap<String, Source>, DatasetError> {
    let entries = files::list(dir)?;
    let found: BTreeMap<String, Source> = entries
        .iter()
        .filter(|e| !e.is_dir && version.has(&e.name))
        .map(|e| (e.name.clone(), Source::Path(e.path.clone())))
        .collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let mut inner = BTreeMap::new();
    for entry in entries
        .iter()
        .filter(|e| e.is_dir && e.name.starts_with("cifar-"))
    {
        let found = files_in(&entry.path, version)?;
        if !found.is_empty() {
            inner.insert(entry.name.clone(), found);
        }
    }
    if inner.len() > 1 {
        return Err(DatasetError::Several {
            path: dir.to_owned(),
            sets: inner.into_keys().collect(),
        });
    }
    Ok(inner.into_values().next().unwrap_or_default())
}

/// The folders of CIFAR sets in a folder that is none itself.
pub(super) fn sets_in(dir: &Path) -> Vec<String> {
    let is_set = |entry: &files::Entry| {
        entry.is_dir && entry.name.starts_with("cifar-") && version(&entry.path).is_some()
    };
    let entries = files::list(dir).unwrap_or_default();
    entries
        .into_iter()
        .filter(is_set)
        .map(|entry| entry.name)
        .collect()
}

fn files_in_tar(path: &Path, version: Version) -> Result<BTreeMap<String, Source>, DatasetError> {
    let bulk = Bulk::open(path)?;
    let damaged = |reason: String| DatasetError::Corrupt {
        path: path.to_owned(),
        reason: format!("tar: {reason}"),
    };
    let mut archive = tar::Archive::new(bulk.between(0, bulk.len));
    let mut found = BTreeMap::new();
    for entry in archive.entries_with_seek().map_err(|e| damaged(e.to_string()))? {
        let entry = entry.map_err(|e| damaged(e.to_string()))?;
        let name = member(&entry).map_err(|e| damaged(e.to_string()))?;
        if version.has(&name) && entry.header().entry_type().is_file() {
            let (offset, size) = (entry.raw_file_position(), entry.size());
            let there = bulk.len.saturating_sub(offset);
            if size > there {
                return Err(damaged(format!("{name} ends after {there} of {size} bytes")));
            }
            let part = Part {
                bulk: bulk.clone(),
                offset,
                len: size as usize,
            };
            found.insert(name, Source::Member(part));
        }
    }
    Ok(found)
}

/// The files of a set, and which of them are which split.
struct Files {
    path: PathBuf,
    files: BTreeMap<String, Source>,
    /// Split name, and its files in order.
    splits: BTreeMap<String, Vec<String>>,
    /// Whether it is a CIFAR-100, with two labels an image.
    fine: bool,
}

impl Files {
    /// Finds the files of a version, whose names end with `end`.
    fn open(path: &Path, version: Version, end: &str) -> Result<Self, DatasetError> {
        let files = match path.is_dir() {
            true => files_in(path, version)?,
            false => files_in_tar(path, version)?,
        };
        let mut splits = BTreeMap::new();
        let batches: Vec<String> = (1..=5).map(|i| format!("data_batch_{i}{end}")).collect();
        let (train, test, test_batch) = (
            format!("train{end}"),
            format!("test{end}"),
            format!("test_batch{end}"),
        );
        let has = |name: &String| files.contains_key(name);
        let fine = has(&train) || has(&test);
        if fine {
            for (split, name) in [("train", train), ("test", test)] {
                if has(&name) {
                    splits.insert(split.to_owned(), vec![name]);
                }
            }
        } else {
            if batches.iter().any(has) {
                if let Some(missing) = batches.iter().find(|name| !has(name)) {
                    return Err(DatasetError::Missing {
                        path: path.to_owned(),
                        expected: missing.clone(),
                    });
                }
                splits.insert("train".to_owned(), batches);
            }
            if has(&test_batch) {
                splits.insert("test".to_owned(), vec![test_batch]);
            }
        }
        if splits.is_empty() {
            return Err(DatasetError::Layout {
                path: path.to_owned(),
                reason: format!("no data_batch_1{end}, test_batch{end}, train{end} or test{end} in it"),
            });
        }
        Ok(Self {
            path: path.to_owned(),
            files,
            splits,
            fine,
        })
    }

    /// A file of the set, read at any place.
    fn part(&self, name: &str) -> Result<Part, DatasetError> {
        match self.files.get(name) {
            Some(Source::Path(path)) => {
                let bulk = Bulk::open(path)?;
                Ok(Part {
                    offset: 0,
                    len: bulk.len as usize,
                    bulk,
                })
            }
            Some(Source::Member(part)) => Ok(part.clone()),
            None => Err(DatasetError::Missing {
                path: self.path.clone(),
                expected: name.to_owned(),
            }),
        }
    }

    /// A file of the set, whole.
    fn read(&self, name: &str) -> Result<Vec<u8>, DatasetError> {
        self.part(name)?.read()
    }

    /// The files of a split, in order.
    fn of_split(&self, split: &str) -> impl Iterator<Item = &String> {
        self.splits.get(split).into_iter().flatten()
    }
}

/// Image number `number` of a split, of planes `[3, 32, 32]` that begin at `offset`.
fn item(number: usize, label: u32, bulk: &Arc<Bulk>, offset: u64) -> Item {
    Item {
        name: number.to_string(),
        label: Some(label),
        stored: Stored::Planes(Planes {
            width: SIDE,
            height: SIDE,
            channels: 3,
            order: Order::Rows,
            part: Part {
                bulk: bulk.clone(),
                offset,
                len: PIXELS,
            },
        }),
    }
}
