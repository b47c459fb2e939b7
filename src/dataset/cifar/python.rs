//! The Python version: each file is a pickled dictionary with the array `data` `[n, 3072]` and the list
//! `labels` or, of CIFAR-100, `fine_labels`. Class names come from `label_names` of `batches.meta` or
//! `fine_label_names` of `meta`.

use std::path::Path;

use super::super::bulk::Bulk;
use super::super::error::DatasetError;
use super::super::item::{Container, Item};
use super::super::pickled::{Batch, check_count, dictionary};
use super::{Files, PIXELS, Version, item};
use crate::pickle::Node;

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

/// Takes something out of a file's dictionary.
fn read<T>(
    files: &Files,
    file: &str,
    take: impl FnOnce(Node<'_>) -> Result<T, String>,
) -> Result<T, DatasetError> {
    dictionary(&files.path.join(file), &files.read(file)?, take)
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
            let path = self.files.path.join(name);
            let (images, labels) = dictionary(&path, &self.files.read(name)?, |root| {
                let batch = Batch::of(root, key, |row| row == PIXELS, &format!("[n, {PIXELS}]"))?;
                Ok((batch.bytes.into_owned(), batch.labels))
            })?;
            check_count(&path, split, images.len() / PIXELS, labels.len())?;
            let bulk = Bulk::held(&path, images);
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
