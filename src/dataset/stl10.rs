//! STL-10 in its binary form: `train_X.bin`, `test_X.bin` and `unlabeled_X.bin` hold pictures `[3, 96, 96]`
//! of bytes, each plane column by column, and `train_y.bin` and `test_y.bin` a byte a label, from 1 to 10.
//! Names of the classes come from `class_names.txt`. A folder of these, or the one around their
//! `stl10_binary`.
//!
//! <https://cs.stanford.edu/~acoates/stl10/>

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::bulk::{Bulk, Part};
use super::error::DatasetError;
use super::files;
use super::item::{FileASplit, Item, Order, Planes, Stored};
use crate::input;

const SIDE: usize = 96;
const PIXELS: usize = 3 * SIDE * SIDE;
const CLASSES: usize = 10;
/// The splits, and whether they have labels.
const SPLITS: [(&str, bool); 3] = [("train", true), ("test", true), ("unlabeled", false)];
/// The folder that the archive has.
const FOLDER: &str = "stl10_binary";

/// A set of such files.
pub(super) struct Stl10 {
    splits: BTreeMap<String, PathBuf>,
    classes: Vec<String>,
    unread: Vec<String>,
}

/// Whether `path` is a folder with STL-10's files, or around one.
pub(super) fn is_stl10(path: &Path) -> bool {
    !files_in(path).1.is_empty()
}

/// The folder that holds the files of pictures, and these by split.
fn files_in(path: &Path) -> (PathBuf, BTreeMap<String, PathBuf>) {
    let found = |folder: &Path| -> BTreeMap<String, PathBuf> {
        let file = |(split, _): (&str, bool)| (split.to_owned(), folder.join(format!("{split}_X.bin")));
        SPLITS
            .map(file)
            .into_iter()
            .filter(|(_, file)| file.is_file())
            .collect()
    };
    let own = found(path);
    match own.is_empty() {
        true => (path.join(FOLDER), found(&path.join(FOLDER))),
        false => (path.to_owned(), own),
    }
}

impl Stl10 {
    pub fn open(path: &Path) -> Result<Self, DatasetError> {
        let (folder, splits) = files_in(path);
        if splits.is_empty() {
            return Err(DatasetError::Layout {
                path: path.to_owned(),
                reason: "no train_X.bin, test_X.bin or unlabeled_X.bin in it".to_owned(),
            });
        }
        let names = folder.join("class_names.txt");
        let classes = match names.is_file() {
            true => files::lines(&files::read(&names, input::TABLE)?),
            false => (1..=CLASSES).map(|label| label.to_string()).collect(),
        };
        let folds = folder.join("fold_indices.txt").is_file();
        Ok(Self {
            splits,
            classes,
            unread: folds
                .then(|| "the file fold_indices.txt".to_owned())
                .into_iter()
                .collect(),
        })
    }
}

impl FileASplit for Stl10 {
    fn files(&self) -> &BTreeMap<String, PathBuf> {
        &self.splits
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn unread(&self) -> &[String] {
        &self.unread
    }

    fn read(&self, split: &str, file: &Path) -> Result<Vec<Item>, DatasetError> {
        let bulk = Bulk::open(file)?;
        let size = |path: &Path, expected: String, actual: u64| DatasetError::Size {
            path: path.to_owned(),
            expected,
            actual: actual as usize,
        };
        if bulk.len == 0 || !bulk.len.is_multiple_of(PIXELS as u64) {
            return Err(size(file, format!("a multiple of {PIXELS}"), bulk.len));
        }
        let count = (bulk.len / PIXELS as u64) as usize;
        let labels = match SPLITS.contains(&(split, true)) {
            true => Some(labels(file, split, count)?),
            false => None,
        };
        let item = |number: usize| {
            let label = labels.as_ref().map(|labels| labels[number]);
            let label = label.map(|label| match (1..=CLASSES).contains(&usize::from(label)) {
                true => Ok(u32::from(label) - 1),
                false => Err(DatasetError::Label {
                    path: file.to_owned(),
                    name: number.to_string(),
                    label: i64::from(label),
                    classes: CLASSES,
                }),
            });
            Ok(Item {
                name: number.to_string(),
                label: label.transpose()?,
                stored: Stored::Planes(Planes {
                    width: SIDE,
                    height: SIDE,
                    channels: 3,
                    order: Order::Columns,
                    part: Part {
                        bulk: bulk.clone(),
                        offset: number as u64 * PIXELS as u64,
                        len: PIXELS,
                    },
                }),
            })
        };
        (0..count).map(item).collect()
    }
}

/// The labels of a split's `count` pictures, which lie beside them.
fn labels(pictures: &Path, split: &str, count: usize) -> Result<Vec<u8>, DatasetError> {
    let name = format!("{split}_y.bin");
    let path = pictures.with_file_name(&name);
    if !path.is_file() {
        let folder = pictures.parent().unwrap_or(pictures);
        return Err(DatasetError::Missing {
            path: folder.to_owned(),
            expected: name,
        });
    }
    let labels = files::read(&path, input::LABELS)?;
    match labels.len() == count {
        true => Ok(labels),
        false => Err(DatasetError::Count {
            path,
            split: split.to_owned(),
            images: count,
            labels: labels.len(),
        }),
    }
}
