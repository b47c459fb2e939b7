//! Kinds of containers, and what a set holds.

use super::error::DatasetError;
use super::item::{Container, Item};
use super::{cifar, folder, idx, table};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The container formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// MNIST and Fashion-MNIST: a directory of IDX files, plain or gzip.
    Idx,
    /// CIFAR-10 and CIFAR-100, binary version: a directory or a `.tar.gz`.
    CifarBinary,
    /// `split/class/*.png|jpg`, `class/*.png|jpg` or `*.png|jpg`.
    ImageFolder,
    /// A Parquet file or a directory of them.
    Parquet,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Idx, Self::CifarBinary, Self::ImageFolder, Self::Parquet];

    /// Returns the kind's name: "idx", "cifar-binary", "image-folder" or "parquet".
    pub fn name(self) -> &'static str {
        match self {
            Self::Idx => "idx",
            Self::CifarBinary => "cifar-binary",
            Self::ImageFolder => "image-folder",
            Self::Parquet => "parquet",
        }
    }

    /// Returns the kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Returns the kind that `path` looks like, from the names in it.
    ///
    /// # Errors
    /// Nothing is there, or a file of no known kind.
    pub fn guess(path: &Path) -> Result<Self, DatasetError> {
        let exists = std::fs::metadata(path).map_err(|source| DatasetError::Io {
            path: path.to_owned(),
            source,
        })?;
        if table::is_table(path) {
            Ok(Self::Parquet)
        } else if idx::is_idx(path) {
            Ok(Self::Idx)
        } else if cifar::is_cifar(path) {
            Ok(Self::CifarBinary)
        } else if exists.is_dir() {
            Ok(Self::ImageFolder)
        } else {
            Err(DatasetError::Layout {
                path: path.to_owned(),
                reason: "expected a directory, a .parquet file or a .tar.gz".to_owned(),
            })
        }
    }
}

/// What a set holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// The container format.
    pub kind: Kind,
    /// Where it lies.
    pub path: PathBuf,
    /// Number of images by split.
    pub splits: BTreeMap<String, usize>,
    /// Class names by label: the container's, else the labels as numbers; empty if there are no labels.
    pub classes: Vec<String>,
    /// By split, the number of images of each class (empty if the split has no labels).
    pub class_sizes: BTreeMap<String, Vec<usize>>,
    /// (width, height, channels) if all images agree; channels are 1 or 3.
    pub image_size: Option<(usize, usize, usize)>,
    /// BLAKE3 over every split's name, and its images' sizes, labels and pixels as RGB, in order: the same whatever the
    /// container, the compression of an image, or whether grey is stored as one channel or three.
    pub digest: [u8; 32],
}

/// An opened set.
pub(super) struct Set {
    kind: Kind,
    pub path: PathBuf,
    pub container: Box<dyn Container>,
}

impl Set {
    pub fn open(path: &Path, kind: Option<Kind>) -> Result<Self, DatasetError> {
        let kind = match kind {
            Some(kind) => kind,
            None => Kind::guess(path)?,
        };
        let container: Box<dyn Container> = match kind {
            Kind::Idx => Box::new(idx::Idx::open(path)?),
            Kind::CifarBinary => Box::new(cifar::Cifar::open(path)?),
            Kind::ImageFolder => Box::new(folder::Folder::open(path)?),
            Kind::Parquet => Box::new(table::Table::open(path)?),
        };
        Ok(Self {
            kind,
            path: path.to_owned(),
            container,
        })
    }

    /// The images of a split: at least one, and every label below the number of classes if these are named.
    pub fn items(&self, split: &str) -> Result<Vec<Item>, DatasetError> {
        let existing = self.container.splits();
        if !existing.iter().any(|name| name == split) {
            return Err(DatasetError::UnknownSplit {
                path: self.path.clone(),
                split: split.to_owned(),
                existing,
            });
        }
        let items = self.container.items(split)?;
        if items.is_empty() {
            return Err(DatasetError::EmptySplit {
                path: self.path.clone(),
                split: split.to_owned(),
            });
        }
        let classes = self.container.classes().len();
        let outside = |item: &&Item| classes > 0 && item.label.is_some_and(|l| l as usize >= classes);
        match items.iter().find(outside) {
            Some(item) => Err(DatasetError::Label {
                path: self.path.clone(),
                name: item.name.clone(),
                label: item.label.map_or(-1, i64::from),
                classes,
            }),
            None => Ok(items),
        }
    }
}

/// Reads a whole set and says what it holds. Every image is decoded, in parallel.
///
/// # Errors
/// Whatever is wrong with any file or image of it; see [`DatasetError`].
pub fn describe(path: &Path, kind: Option<Kind>) -> Result<Description, DatasetError> {
    let set = Set::open(path, kind)?;
    let mut digest = blake3::Hasher::new_derive_key("dream-ood image set digest v1");
    let mut splits = BTreeMap::new();
    let mut labels = BTreeMap::new();
    let mut sizes = Vec::new();
    for split in set.container.splits() {
        let items = set.items(&split)?;
        let rows: Result<Vec<_>, DatasetError> = items
            .par_iter()
            .map(|item| {
                let image = item.decode(&set.path)?;
                let size = (image.width, image.height, image.channels);
                Ok((size, image_digest(item.label, size, &image.into_rgb())))
            })
            .collect();
        let rows = rows?;
        digest.update(&(split.len() as u64).to_le_bytes());
        digest.update(split.as_bytes());
        digest.update(&(rows.len() as u64).to_le_bytes());
        for (size, image) in &rows {
            digest.update(image);
            if sizes.last() != Some(size) {
                sizes.push(*size);
            }
        }
        labels.insert(
            split.clone(),
            items.iter().filter_map(|item| item.label).collect::<Vec<u32>>(),
        );
        splits.insert(split, items.len());
    }
    let mut classes = set.container.classes().to_vec();
    if classes.is_empty() {
        let count = labels.values().flatten().max().map_or(0, |label| label + 1);
        classes = (0..count).map(|label| label.to_string()).collect();
    }
    let class_sizes = labels.into_iter().map(|(split, labels)| {
        let mut counts = vec![0; if labels.is_empty() { 0 } else { classes.len() }];
        for label in labels {
            // `items` checked labels against named classes, and unnamed ones were counted to the largest label.
            counts[label as usize] += 1;
        }
        (split, counts)
    });
    Ok(Description {
        kind: set.kind,
        path: set.path,
        class_sizes: class_sizes.collect(),
        splits,
        classes,
        image_size: match sizes[..] {
            [size] => Some(size),
            _ => None,
        },
        digest: *digest.finalize().as_bytes(),
    })
}

fn image_digest(label: Option<u32>, size: (usize, usize, usize), rgb: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(size.0 as u64).to_le_bytes());
    hasher.update(&(size.1 as u64).to_le_bytes());
    hasher.update(&label.map_or(-1, i64::from).to_le_bytes());
    hasher.update(rgb);
    *hasher.finalize().as_bytes()
}
