//! IDX, the format of MNIST and Fashion-MNIST: a directory with the four standard files, plain or gzip.
//!
//! An image file is the magic number 0x803, the counts n, height, width (big-endian u32) and n * height *
//! width bytes; a label file is 0x801, n, and n bytes. A file `classes.txt` beside them names the classes,
//! one per line.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bulk::{Bulk, Part};
use super::error::DatasetError;
use super::files;
use super::item::{Container, Item, Order, Planes, Stored};

const IMAGES: u32 = 0x803;
const LABELS: u32 = 0x801;
/// Our names of the splits, and the files' prefixes.
const SPLITS: [(&str, &str); 2] = [("test", "t10k"), ("train", "train")];

/// A directory of IDX files.
pub(super) struct Idx {
    path: PathBuf,
    classes: Vec<String>,
}

fn find(dir: &Path, prefix: &str, what: &str, rank: u32) -> Option<PathBuf> {
    let names = [
        format!("{prefix}-{what}-idx{rank}-ubyte"),
        format!("{prefix}-{what}-idx{rank}-ubyte.gz"),
        format!("{prefix}-{what}.idx{rank}-ubyte"),
        format!("{prefix}-{what}.idx{rank}-ubyte.gz"),
    ];
    names
        .iter()
        .map(|name| dir.join(name))
        .find(|path| path.is_file())
}

/// Where torchvision puts the files of a set in its root.
const HOMES: [&str; 4] = ["MNIST/raw", "FashionMNIST/raw", "KMNIST/raw", "QMNIST/raw"];

/// The folder with the IDX files of `dir`: itself, or its `raw`.
fn home(dir: &Path) -> Option<PathBuf> {
    [dir.to_owned(), dir.join("raw")].into_iter().find(|dir| has(dir))
}

fn has(dir: &Path) -> bool {
    let images = |(_, prefix): &(_, &str)| find(dir, prefix, "images", 3).is_some();
    SPLITS.iter().any(images)
}

/// The folders of IDX sets in a root of torchvision's.
pub(super) fn sets_in(dir: &Path) -> Vec<String> {
    let homes = HOMES.iter().filter(|home| has(&dir.join(home)));
    homes.map(|home| (*home).to_owned()).collect()
}

/// Whether `dir` holds IDX images.
pub(super) fn is_idx(dir: &Path) -> bool {
    home(dir).is_some() || !sets_in(dir).is_empty()
}

impl Idx {
    pub fn open(path: &Path) -> Result<Self, DatasetError> {
        let home = match (home(path), sets_in(path)) {
            (Some(home), _) => home,
            (None, sets) if sets.len() > 1 => {
                let path = path.to_owned();
                return Err(DatasetError::Several { path, sets });
            }
            (None, sets) => {
                let only = sets.first().map(|set| path.join(set));
                only.ok_or_else(|| DatasetError::Layout {
                    path: path.to_owned(),
                    reason: "no train-images-idx3-ubyte[.gz] or t10k-images-idx3-ubyte[.gz] in it".to_owned(),
                })?
            }
        };
        Ok(Self {
            classes: files::class_names(&home)?,
            path: home,
        })
    }
}

/// A file of IDX: its dimensions (one or three), and where its bytes begin.
struct Parsed {
    dims: Vec<usize>,
    header: usize,
    bulk: Arc<Bulk>,
}

/// Opens a file of magic number `magic`.
fn parse(path: &Path, magic: u32) -> Result<Parsed, DatasetError> {
    let bulk = Bulk::open(path)?;
    let rank = (magic & 0xff) as usize;
    let size_error = |expected: String| DatasetError::Size {
        path: path.to_owned(),
        expected,
        actual: bulk.len as usize,
    };
    let header = 4 + 4 * rank;
    let head = bulk.read(0, header.min(bulk.len as usize))?;
    let (words, _) = head.as_chunks::<4>();
    let mut words = words.iter().map(|word| u32::from_be_bytes(*word));
    match words.next() {
        Some(word) if word == magic => {}
        Some(actual) => {
            return Err(DatasetError::Magic {
                path: path.to_owned(),
                expected: magic,
                actual,
            });
        }
        None => return Err(size_error(format!("at least {header}"))),
    }
    let dims: Vec<usize> = words.take(rank).map(|word| word as usize).collect();
    if dims.len() < rank {
        return Err(size_error(format!("at least {header}")));
    }
    let body = dims.iter().try_fold(1_usize, |a, b| a.checked_mul(*b));
    match body.and_then(|body| body.checked_add(header)) {
        Some(expected) if expected as u64 == bulk.len => Ok(Parsed { dims, header, bulk }),
        Some(expected) => Err(size_error(format!("{expected} by its header"))),
        None => Err(size_error("less than its header says".to_owned())),
    }
}

impl Container for Idx {
    fn splits(&self) -> Vec<String> {
        let exists = |prefix: &str| find(&self.path, prefix, "images", 3).is_some();
        let splits = SPLITS.iter().filter(|(_, prefix)| exists(prefix));
        splits.map(|(name, _)| (*name).to_owned()).collect()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn items(&self, split: &str) -> Result<Vec<Item>, DatasetError> {
        let prefix = if split == "test" { "t10k" } else { "train" };
        let file = |what: &str, rank: u32| {
            find(&self.path, prefix, what, rank).ok_or_else(|| DatasetError::Missing {
                path: self.path.clone(),
                expected: format!("{prefix}-{what}-idx{rank}-ubyte[.gz]"),
            })
        };
        let images = file("images", 3)?;
        let Parsed { dims, header, bulk } = parse(&images, IMAGES)?;
        let labels = parse(&file("labels", 1)?, LABELS)?;
        let labels = labels.bulk.read(labels.header as u64, labels.dims[0])?;
        // `parse` gave three dimensions, whose product is the number of bytes behind the header.
        let (n, height, width) = (dims[0], dims[1], dims[2]);
        if labels.len() != n {
            return Err(DatasetError::Count {
                path: self.path.clone(),
                split: split.to_owned(),
                images: n,
                labels: labels.len(),
            });
        }
        let len = height * width;
        if n > 0 && len == 0 {
            return Err(DatasetError::Corrupt {
                path: images,
                reason: "its images have no pixels".to_owned(),
            });
        }
        let item = |(number, label): (usize, u8)| Item {
            name: number.to_string(),
            label: Some(u32::from(label)),
            stored: Stored::Planes(Planes {
                width,
                height,
                channels: 1,
                order: Order::Rows,
                part: Part {
                    bulk: bulk.clone(),
                    offset: (header + number * len) as u64,
                    len,
                },
            }),
        };
        Ok(labels.into_iter().enumerate().map(item).collect())
    }
}
