//! The Python version: each file is a pickled dictionary with the array `data` `[n, 3072]` and the list
//! `labels` or, of CIFAR-100, `fine_labels`. Class names come from `label_names` of `batches.meta` or
//! `fine_label_names` of `meta`.

use std::path::Path;

use super::super::bulk::Bulk;
use super::super::error::DatasetError;
use super::super::item::{Container, Item};
use super::{Files, PIXELS, Version, item};
use crate::pickle::numpy::Array;
use crate::pickle::{Node, Pickle};

/// A CIFAR set in the Python version.
pub(in super::super) struct Python {
    files: Files,
    classes: Vec<String>,
}

impl Python {
    pub fn open(path: &Path) -> Result<Self, DatasetError> {
        let files = Files::open(path, Version::Python, "")?;
        let (file, key) = match files.fine {
            true => ("meta", "fine_label_names"),
            false => ("batches.meta", "label_names"),
        };
        let classes = match files.files.contains_key(file) {
            true => read(&files, file, |root| {
                list(root, key, |name| Some(name.text()?.into_owned()))
                    .ok_or(format!("no list of strings {key}"))
            })?,
            false => Vec::new(),
        };
        Ok(Self { files, classes })
    }
}

/// The list under a key of a dictionary.
fn list<'p, T>(root: Node<'p>, key: &str, item: impl Fn(Node<'p>) -> Option<T>) -> Option<Vec<T>> {
    root.get(key)?.items()?.map(item).collect()
}

/// Takes something out of a pickled dictionary; `take` says what is missing from it.
fn read<T>(
    files: &Files,
    file: &str,
    take: impl FnOnce(Node<'_>) -> Result<T, String>,
) -> Result<T, DatasetError> {
    let corrupt = |reason: String| DatasetError::Corrupt {
        path: files.path.join(file),
        reason,
    };
    let bytes = files.read(file)?;
    let pickle = Pickle::parse(&bytes).map_err(|error| corrupt(error.to_string()))?;
    if pickle.root().entries().is_none() {
        return Err(corrupt("pickle: it holds no dictionary".into()));
    }
    take(pickle.root()).map_err(|missing| corrupt(format!("its dictionary has {missing}")))
}

impl Container for Python {
    fn splits(&self) -> Vec<String> {
        self.files.splits.keys().cloned().collect()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn items(&self, split: &str) -> Result<Vec<Item>, DatasetError> {
        let key = if self.files.fine { "fine_labels" } else { "labels" };
        let mut items = Vec::new();
        for name in self.files.of_split(split) {
            let (images, labels) = read(&self.files, name, |root| {
                let data = root.get("data").ok_or("no array of bytes `data`")?;
                let data = Array::read(data).map_err(|found| format!("under `data` {found}"))?;
                if data.shape.len() != 2 || data.shape[1] != PIXELS {
                    return Err(format!(
                        "`data` of shape {:?}, expected [n, {PIXELS}]",
                        data.shape
                    ));
                }
                let labels = root.lists().into_iter().find(|list| list.name == key);
                let labels = labels.ok_or(format!("no list of integers `{key}`"))?;
                let what = labels.what;
                let labels = labels
                    .integers
                    .ok_or(format!("under `{key}` {what} that is not of integers"))?;
                Ok((data.bytes.into_owned(), labels))
            })?;
            let count = images.len() / PIXELS;
            if labels.len() != count {
                return Err(DatasetError::Count {
                    path: self.files.path.join(name),
                    split: split.to_owned(),
                    images: count,
                    labels: labels.len(),
                });
            }
            let bulk = Bulk::held(&self.files.path.join(name), images);
            for (number, label) in labels.into_iter().enumerate() {
                let known = u32::try_from(label).map_err(|_| DatasetError::Label {
                    path: self.files.path.clone(),
                    name: items.len().to_string(),
                    label,
                    classes: self.classes.len(),
                })?;
                items.push(item(items.len(), known, &bulk, (number * PIXELS) as u64));
            }
        }
        Ok(items)
    }
}
