//! SVHN's cropped digits as MATLAB files: `X` `[32, 32, 3, n]` bytes (rows, columns, colours, images) and `y`
//! `[n, 1]` with labels 1 to 10, where 10 is the digit 0. One file, or a folder of `train_32x32.mat`,
//! `test_32x32.mat`, `extra_32x32.mat`.
//!
//! <http://ufldl.stanford.edu/housenumbers/>

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::bulk::Part;
use super::error::DatasetError;
use super::item::{FileASplit, Item, Order, Planes, Stored};
use super::{files, list, mat};

/// Label of the digit 0.
const ZERO: i64 = 10;

/// A set of MATLAB files.
pub(super) struct Svhn {
    splits: BTreeMap<String, PathBuf>,
    classes: Vec<String>,
}

fn is_mat(name: &str) -> bool {
    name.to_lowercase().ends_with(".mat")
}

/// Whether `path` is a MATLAB file, or a folder with SVHN's.
pub(super) fn is_svhn(path: &Path) -> bool {
    match path.is_dir() {
        true => !in_folder(path).unwrap_or_default().is_empty(),
        false => is_mat(&path.file_name().unwrap_or_default().to_string_lossy()),
    }
}

fn in_folder(dir: &Path) -> Result<BTreeMap<String, PathBuf>, DatasetError> {
    let named = |e: &files::Entry| !e.is_dir && is_mat(&e.name) && e.name.to_lowercase().contains("32x32");
    let found = files::list(dir)?.into_iter().filter(named);
    Ok(found.map(|e| (list::split_of(&e.path), e.path)).collect())
}

impl Svhn {
    pub fn open(path: &Path) -> Result<Self, DatasetError> {
        let splits = match path.is_dir() {
            true => in_folder(path)?,
            false => BTreeMap::from([(list::split_of(path), path.to_owned())]),
        };
        if splits.is_empty() {
            return Err(DatasetError::Layout {
                path: path.to_owned(),
                reason: "no train_32x32.mat, test_32x32.mat or extra_32x32.mat in it".to_owned(),
            });
        }
        Ok(Self {
            splits,
            classes: (0..10).map(|digit| digit.to_string()).collect(),
        })
    }
}

/// The images in a file's arrays.
pub(super) fn images(path: &Path, split: &str, arrays: Vec<mat::Array>) -> Result<Vec<Item>, DatasetError> {
    let names: Vec<String> = arrays
        .iter()
        .map(|a| format!("{} {:?}", a.name, a.dims))
        .collect();
    let wrong = |reason: &str| DatasetError::Foreign {
        path: path.to_owned(),
        what: "SVHN's cropped digits as a MATLAB file".to_owned(),
        reason: format!("{reason}; the arrays in it are: {}", names.join(", ")),
    };
    let named = |name: &str| arrays.iter().find(|a| a.name == name);
    let pictures = named("X").ok_or_else(|| wrong("it has no array X"))?;
    let labels = named("y").ok_or_else(|| wrong("it has no array y"))?;
    // MATLAB drops a last axis of length one.
    let (height, width, count) = match pictures.dims[..] {
        [height, width, 3] => (height, width, 1),
        [height, width, 3, count] => (height, width, count),
        _ => return Err(wrong("X is not of the shape [rows, columns, 3, images]")),
    };
    if !pictures.numbers.are_bytes() || width * height == 0 {
        return Err(wrong("X does not hold bytes"));
    }
    let labels = labels
        .numbers
        .integers()?
        .ok_or_else(|| wrong("y does not hold integers"))?;
    if labels.len() != count {
        return Err(DatasetError::Count {
            path: path.to_owned(),
            split: split.to_owned(),
            images: count,
            labels: labels.len(),
        });
    }
    let len = 3 * width * height;
    let item = |(number, label): (usize, i64)| {
        let digit = u32::try_from(label % ZERO)
            .ok()
            .filter(|_| (0..=ZERO).contains(&label));
        let label = digit.ok_or_else(|| DatasetError::Label {
            path: path.to_owned(),
            name: number.to_string(),
            label,
            classes: 10,
        })?;
        Ok(Item {
            name: number.to_string(),
            label: Some(label),
            stored: Stored::Planes(Planes {
                width,
                height,
                channels: 3,
                order: Order::Columns,
                part: Part {
                    bulk: pictures.numbers.part.bulk.clone(),
                    offset: pictures.numbers.part.offset + (number * len) as u64,
                    len,
                },
            }),
        })
    };
    labels.into_iter().enumerate().map(item).collect()
}

impl FileASplit for Svhn {
    fn files(&self) -> &BTreeMap<String, PathBuf> {
        &self.splits
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn read(&self, split: &str, file: &Path) -> Result<Vec<Item>, DatasetError> {
        images(file, split, mat::arrays(file)?)
    }
}
