//! The binary version: a CIFAR-10 record is a label and 3072 bytes; a CIFAR-100 record has a coarse label
//! before the fine one. Class names come from `batches.meta.txt` or `fine_label_names.txt`.

use std::path::Path;

use super::super::error::DatasetError;
use super::super::files;
use super::super::item::{Container, Item};
use super::{Files, PIXELS, Version, item};

/// A CIFAR set in the binary version.
pub(in super::super) struct Binary {
    files: Files,
    /// Label bytes of a record; the last is the label.
    labels: usize,
    classes: Vec<String>,
}

impl Binary {
    pub fn open(path: &Path) -> Result<Self, DatasetError> {
        let files = Files::open(path, Version::Binary, ".bin")?;
        let (labels, names) = match files.fine {
            true => (2, "fine_label_names.txt"),
            false => (1, "batches.meta.txt"),
        };
        let classes = match files.files.contains_key(names) {
            true => files::lines(&files.read(names)?),
            false => Vec::new(),
        };
        Ok(Self {
            files,
            labels,
            classes,
        })
    }
}

impl Container for Binary {
    fn splits(&self) -> Vec<String> {
        self.files.splits.keys().cloned().collect()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn items(&self, split: &str) -> Result<Vec<Item>, DatasetError> {
        let record = self.labels + PIXELS;
        let mut items = Vec::new();
        for name in self.files.of_split(split) {
            let bytes = self.files.read(name)?;
            if bytes.is_empty() || !bytes.len().is_multiple_of(record) {
                return Err(DatasetError::Size {
                    path: self.files.path.join(name),
                    expected: format!("a multiple of {record}"),
                    actual: bytes.len(),
                });
            }
            for bytes in bytes.chunks_exact(record) {
                let (labels, planes) = bytes.split_at(self.labels);
                // There are one or two label bytes.
                let label = labels.last().copied().unwrap_or_default();
                items.push(item(items.len(), u32::from(label), planes));
            }
        }
        Ok(items)
    }
}
