//! NumPy arrays of pictures: bytes `[n, height, width]` (grey), `[n, height, width, 1 | 3]` or
//! `[n, 1 | 3, height, width]`, and integers `[n]` or `[n, 1]` as labels, or texts, which name the classes.
//!
//! - `.npz` with pairs of members called by their split: `train_images` and `train_labels` (MedMNIST),
//!   `x_train` and `y_train` (Keras), `trainX` and `trainY`, or `images` and `labels` alone.
//! - A folder of `.npy` with `labels.npy` for all others, each a split (CIFAR-10-C and -100-C: a corruption a
//!   split, the five severities one after the other), or with `*_images.npy` and the like.
//! - One `.npy` of pictures without labels.

mod array;
mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::bulk::Part;
use super::error::DatasetError;
use super::item::{Container, Item, Planes, Stored};
use super::names::ordered;
use super::{files, tree};
pub(super) use array::members;
use array::{Array, arrays_in};

/// The name of a split whose array does not name one.
const ALL: &str = "all";

/// How arrays of pictures and their labels are called around the name of their split.
const CALLED: [(&str, &str); 8] = [
    ("{}_images", "{}_labels"),
    ("{}_images", "{}_label"),
    ("images_{}", "labels_{}"),
    ("x_{}", "y_{}"),
    ("{}_x", "{}_y"),
    ("{}_data", "{}_labels"),
    ("X_{}", "y_{}"),
    ("{}_X", "{}_y"),
];

/// The same where there is one split.
const ALONE: [(&str, &str); 4] = [("images", "labels"), ("x", "y"), ("X", "y"), ("data", "labels")];

/// What arrays are called that list the names of classes.
const LISTS: [&str; 7] = [
    "class_names",
    "classes",
    "label_names",
    "labels_names",
    "target_names",
    "categories",
    "names",
];

/// Sets of arrays.
pub(super) struct Numpy {
    path: PathBuf,
    classes: Vec<String>,
    /// Pictures, and labels if there are any, by split.
    splits: BTreeMap<String, (Array, Option<Array>)>,
    /// The names of classes that stand for the labels of a split.
    names: BTreeMap<String, Vec<String>>,
    unread: Vec<String>,
}

/// Whether `path` is a file of arrays, or a folder with arrays of pictures in it and neither pictures nor
/// folders.
pub(super) fn is_numpy(path: &Path) -> bool {
    let is = |path: &Path, ending: &str| {
        path.extension()
            .is_some_and(|own| own.eq_ignore_ascii_case(ending))
    };
    match path.is_dir() {
        true => {
            !has_other_pictures(path)
                && arrays_in(path).is_ok_and(|arrays| arrays.iter().any(Array::is_of_pictures))
        }
        false => is(path, "npz") || is(path, "npy"),
    }
}

fn has_other_pictures(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        !name.starts_with(['.', '_']) && (path.is_dir() || tree::has_picture_name(&name))
    })
}

impl Numpy {
    pub fn open(path: &Path) -> Result<Self, DatasetError> {
        let arrays = match path.is_dir() {
            true => arrays_in(path)?,
            false
                if path
                    .extension()
                    .is_some_and(|own| own.eq_ignore_ascii_case("npz")) =>
            {
                members(path)?
            }
            false => vec![Array::open(path, ALL.to_owned())?],
        };
        let classes = match path.is_dir() {
            true => files::class_names(path)?,
            false => Vec::new(),
        };
        let splits = paired(&arrays);
        if arrays.is_empty() {
            return Err(DatasetError::Layout {
                path: path.to_owned(),
                reason: "there is no NumPy array in it".to_owned(),
            });
        }
        match splits.is_empty() {
            true => Err(foreign(path, &arrays, why_none(&arrays))),
            false => {
                let mut names = BTreeMap::new();
                for (split, (_, labels)) in &splits {
                    if let Some(texts) = labels.as_ref().map(Array::texts).transpose()?.flatten() {
                        names.insert(split.clone(), texts);
                    }
                }
                let said = names.values().flatten().filter(|name| !name.is_empty());
                let said: BTreeSet<String> = said.cloned().collect();
                let mut left = unread(&arrays, &splits);
                // Names of the classes whose numbers the labels are.
                let listed = left.iter().position(|array| LISTS.contains(&array.name.as_str()));
                let listed = listed.filter(|_| classes.is_empty() && said.is_empty());
                let listed = match listed {
                    Some(place) => left[place].texts()?.inspect(|_| {
                        left.remove(place);
                    }),
                    None => None,
                };
                let in_words = |array: &&Array| format!("the array {} {:?}", array.name, array.header.shape);
                Ok(Self {
                    path: path.to_owned(),
                    classes: match classes.is_empty() {
                        true => listed.unwrap_or_else(|| ordered(said)),
                        false => classes,
                    },
                    names,
                    unread: left.iter().map(in_words).collect(),
                    splits,
                })
            }
        }
    }

    /// Returns the labels of a split in an array; -1 is none.
    fn labels(&self, split: &str, array: &Array) -> Result<Vec<i64>, DatasetError> {
        let Some(names) = self.names.get(split) else {
            let wrong = |reason: String| foreign(&self.path, std::slice::from_ref(array), &reason);
            return array.labels()?.map_err(wrong);
        };
        let classes: BTreeMap<&String, i64> = self.classes.iter().zip(0..).collect();
        let label = |(row, name): (usize, &String)| match classes.get(name) {
            Some(label) => Ok(*label),
            None if name.is_empty() => Ok(-1),
            None => Err(DatasetError::Layout {
                path: self.path.clone(),
                reason: format!("the label of {row} in {split} is `{name}`, and there is no such class"),
            }),
        };
        names.iter().enumerate().map(label).collect()
    }
}

/// Returns the pictures and labels of each split.
fn paired(arrays: &[Array]) -> BTreeMap<String, (Array, Option<Array>)> {
    let named = |name: &str| arrays.iter().find(|array| array.name == name);
    let pictures: Vec<&Array> = arrays.iter().filter(|array| array.is_of_pictures()).collect();
    let mut splits = BTreeMap::new();
    for array in &pictures {
        let around = |(of_pictures, of_labels): &(&str, &str)| {
            let (before, after) = of_pictures.split_once("{}")?;
            let split = array.name.strip_prefix(before)?.strip_suffix(after)?;
            let labels = named(&of_labels.replace("{}", split))?;
            (!split.is_empty()).then(|| (split.to_owned(), Some(labels.clone())))
        };
        let alone = |(of_pictures, of_labels): &(&str, &str)| {
            let is = array.name == *of_pictures;
            is.then(|| (ALL.to_owned(), named(of_labels).cloned()))
        };
        let (split, labels) = (CALLED.iter().find_map(around))
            .or_else(|| ALONE.iter().find_map(alone))
            .unwrap_or_else(|| (array.name.clone(), named("labels").cloned()));
        // By the words of their names, where no list has them.
        let by_words = || {
            arrays
                .iter()
                .find(|other| names::belong_together(&array.name, &other.name))
        };
        let (split, labels) = match (labels, by_words()) {
            (None, Some(labels)) => {
                let split = names::split_of(&array.name).unwrap_or(split);
                (split, Some(labels.clone()))
            }
            (labels, _) => (split, labels),
        };
        splits.insert(split, ((*array).clone(), labels));
    }
    splits
}

/// Arrays that are neither pictures nor labels.
fn unread<'a>(arrays: &'a [Array], splits: &BTreeMap<String, (Array, Option<Array>)>) -> Vec<&'a Array> {
    let is_read = |array: &Array| {
        let labels = splits.values().filter_map(|(_, labels)| labels.as_ref());
        array.is_of_pictures() || labels.into_iter().any(|labels| labels.name == array.name)
    };
    arrays.iter().filter(|array| !is_read(array)).collect()
}

/// Says why none of the arrays is of pictures that are read.
fn why_none(arrays: &[Array]) -> &'static str {
    let mut shaped = arrays.iter().filter(|array| array.has_shape_of_pictures());
    match shaped.next() {
        Some(array) if array.header.fortran => {
            "its pictures are in Fortran's order, and `numpy.ascontiguousarray` brings them into the one \
             that is read"
        }
        Some(_) => "its array of pictures is empty",
        None => "none of its arrays is of pictures",
    }
}

fn foreign(path: &Path, arrays: &[Array], reason: &str) -> DatasetError {
    let named: Vec<String> = (arrays.iter())
        .map(|array| format!("{} {} {:?}", array.name, array.header.descr, array.header.shape))
        .collect();
    DatasetError::Foreign {
        path: path.to_owned(),
        what: "NumPy arrays".to_owned(),
        reason: format!(
            "{reason}: bytes [images, height, width], [images, height, width, 1 or 3] or [images, 1 or 3, \
             height, width]; there are {}",
            named.join(", ")
        ),
    }
}

impl Container for Numpy {
    fn splits(&self) -> Vec<String> {
        self.splits.keys().cloned().collect()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn unread(&self) -> &[String] {
        &self.unread
    }

    fn items(&self, split: &str) -> Result<Vec<Item>, DatasetError> {
        let Some((pictures, labels)) = self.splits.get(split) else {
            return Ok(Vec::new());
        };
        let Some(([height, width, channels], order)) = pictures.picture() else {
            return Ok(Vec::new());
        };
        let count = pictures.header.shape.first().copied().unwrap_or(0) as usize;
        let labels = match labels {
            Some(array) => Some(self.labels(split, array)?),
            None => None,
        };
        if let Some(labels) = labels.as_ref().filter(|labels| labels.len() != count) {
            return Err(DatasetError::Count {
                path: self.path.clone(),
                split: split.to_owned(),
                images: count,
                labels: labels.len(),
            });
        }
        let len = height * width * channels;
        let item = |number: usize| {
            let name = number.to_string();
            let label = labels
                .as_ref()
                .map(|labels| labels[number])
                .filter(|label| *label != -1);
            let label = label.map(|label| {
                u32::try_from(label).map_err(|_| DatasetError::Label {
                    path: self.path.clone(),
                    name: name.clone(),
                    label,
                    classes: self.classes.len(),
                })
            });
            Ok(Item {
                label: label.transpose()?,
                stored: Stored::Planes(Planes {
                    width,
                    height,
                    channels,
                    order,
                    part: Part {
                        bulk: pictures.bulk.clone(),
                        offset: pictures.header.length + (number * len) as u64,
                        len,
                    },
                }),
                name,
            })
        };
        (0..count).map(item).collect()
    }
}
