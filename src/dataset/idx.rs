//! IDX, the format of MNIST and Fashion-MNIST: a directory with the four standard files, plain or gzip.
//!
//! An image file is the magic number 0x803, the counts n, height, width (big-endian u32) and n * height *
//! width bytes; a label file is 0x801, n, and n bytes. A file `classes.txt` beside them names the classes,
//! one a line.

use std::path::{Path, PathBuf};

use super::error::DatasetError;
use super::files;
use super::item::{Container, Item, Stored};

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
    ];
    names
        .iter()
        .map(|name| dir.join(name))
        .find(|path| path.is_file())
}

/// Whether `dir` holds IDX images.
pub(super) fn is_idx(dir: &Path) -> bool {
    SPLITS.iter().any(|(_, p)| find(dir, p, "images", 3).is_some())
}

impl Idx {
    pub fn open(path: &Path) -> Result<Self, DatasetError> {
        if !is_idx(path) {
            return Err(DatasetError::Layout {
                path: path.to_owned(),
                reason: "no train-images-idx3-ubyte[.gz] or t10k-images-idx3-ubyte[.gz] in it".to_owned(),
            });
        }
        Ok(Self {
            path: path.to_owned(),
            classes: files::class_names(path)?,
        })
    }
}

/// Reads a file of magic number `magic`, and returns its dimensions (one or three) and its bytes.
fn parse(path: &Path, magic: u32) -> Result<(Vec<usize>, Vec<u8>), DatasetError> {
    let mut bytes = files::read_maybe_gzip(path)?;
    let rank = (magic & 0xff) as usize;
    let size_error = |expected: String, actual: usize| DatasetError::Size {
        path: path.to_owned(),
        expected,
        actual,
    };
    let header = 4 + 4 * rank;
    let (words, _) = bytes.as_chunks::<4>();
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
        None => return Err(size_error(format!("at least {header}"), bytes.len())),
    }
    let dims: Vec<usize> = words.take(rank).map(|word| word as usize).collect();
    if dims.len() < rank {
        return Err(size_error(format!("at least {header}"), bytes.len()));
    }
    let body = dims.iter().try_fold(1_usize, |a, b| a.checked_mul(*b));
    let expected = body.and_then(|body| body.checked_add(header));
    match expected {
        Some(expected) if expected == bytes.len() => {}
        Some(expected) => return Err(size_error(format!("{expected} by its header"), bytes.len())),
        None => return Err(size_error("less than its header says".to_owned(), bytes.len())),
    }
    Ok((dims, bytes.split_off(header)))
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
        let (dims, pixels) = parse(&images, IMAGES)?;
        let (_, labels) = parse(&file("labels", 1)?, LABELS)?;
        // `parse` gave three dimensions, whose product is the length of `pixels`.
        let (n, height, width) = (dims[0], dims[1], dims[2]);
        if labels.len() != n {
            return Err(DatasetError::Count {
                path: self.path.clone(),
                split: split.to_owned(),
                images: n,
                labels: labels.len(),
            });
        }
        if n > 0 && height * width == 0 {
            return Err(DatasetError::Corrupt {
                path: images,
                reason: "its images have no pixels".to_owned(),
            });
        }
        let rows = pixels.chunks_exact((height * width).max(1)).zip(labels);
        Ok(rows
            .enumerate()
            .map(|(i, (bytes, label))| Item {
                name: i.to_string(),
                label: Some(u32::from(label)),
                stored: Stored::Planes {
                    width,
                    height,
                    channels: 1,
                    bytes: bytes.to_vec(),
                },
            })
            .collect())
    }
}
