//! Parquet as Hugging Face `datasets` writes it: one file, or a folder with one file (or several shards) a
//! split; see `shards` for the layouts.
//!
//! The column `image` (or `img`, or the one that the metadata says) is `struct<bytes: binary, path: string>`
//! or plain binary, each value a PNG or JPEG file; an integer column `label` (or `labels`, `fine_label`) is
//! optional, and -1 or null in it is no label. Class names are those of the ClassLabel in the file's
//! `huggingface` metadata.

mod codec;
mod file;
mod pages;
mod shards;
mod wire;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::DatasetError;
use super::files;
use super::item::{Container, Item, Stored};
use crate::content::Content;
use file::ImageFile;

/// A set of Parquet files.
pub(super) struct ParquetSet {
    path: PathBuf,
    /// Shards by split.
    splits: BTreeMap<String, Vec<Arc<ImageFile>>>,
    classes: Vec<String>,
}

/// Whether `path` is a Parquet file or a folder with some.
pub(super) fn is_parquet(path: &Path) -> bool {
    match path.is_dir() {
        true => shards::any(path),
        false => {
            path.extension().is_some_and(|e| e == "parquet")
                || matches!(Content::at(path), Ok(Content::Parquet))
        }
    }
}

impl ParquetSet {
    pub fn open(path: &Path) -> Result<Self, DatasetError> {
        let mut classes: Vec<String> = Vec::new();
        let mut splits = BTreeMap::new();
        let (cache, mut number) = (Arc::default(), 0);
        for (split, paths) in shards::shards(path)? {
            let mut files = Vec::new();
            for path in paths {
                let (file, names) = ImageFile::open(&path, number, &cache)?;
                number += 1;
                if !classes.is_empty() && !names.is_empty() && names != classes {
                    return Err(DatasetError::Layout {
                        path,
                        reason: "its class names are not those of the other files".to_owned(),
                    });
                }
                if classes.is_empty() {
                    classes = names;
                }
                files.push(Arc::new(file));
            }
            splits.insert(split, files);
        }
        if classes.is_empty() && path.is_dir() {
            classes = files::class_names(path)?;
        }
        Ok(Self {
            path: path.to_owned(),
            splits,
            classes,
        })
    }
}

impl Container for ParquetSet {
    fn splits(&self) -> Vec<String> {
        self.splits.keys().cloned().collect()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn items(&self, split: &str) -> Result<Vec<Item>, DatasetError> {
        let mut items = Vec::new();
        for file in self.splits.get(split).into_iter().flatten() {
            for (number, row) in file.rows()?.into_iter().enumerate() {
                let name = row.name.unwrap_or_else(|| items.len().to_string());
                let label = row.label.map(|label| {
                    u32::try_from(label).map_err(|_| DatasetError::Label {
                        path: self.path.clone(),
                        name: name.clone(),
                        label,
                        classes: self.classes.len(),
                    })
                });
                items.push(Item {
                    label: label.transpose()?,
                    stored: Stored::Encoded(file.clone(), number),
                    name,
                });
            }
        }
        Ok(items)
    }
}
