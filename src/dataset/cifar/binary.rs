//! The binary version: a CIFAR-10 record is a label and 3072 bytes; a CIFAR-100 record has a coarse label
//! before the fine one. Class names come from `batches.meta.txt` or `fine_label_names.txt`.

use std::io::{BufReader, Read};
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
            let part = self.files.part(name)?;
            if part.len == 0 || !part.len.is_multiple_of(record) {
                return Err(DatasetError::Size {
                    path: self.files.path.join(name),
                    expected: format!("a multiple of {record}"),
                    actual: part.len,
                });
            }
            let end = part.offset + part.len as u64;
            let mut records = BufReader::with_capacity(1 << 20, part.bulk.between(part.offset, end));
            let mut bytes = vec![0; record];
            for number in 0..part.len / record {
                records
                    .read_exact(&mut bytes)
                    .map_err(files::io(&self.files.path))?;
                // The last of one or two label bytes.
                let label = bytes.get(self.labels - 1).copied().unwrap_or_default();
                let offset = part.offset + (number * record + self.labels) as u64;
                items.push(item(items.len(), u32::from(label), &part.bulk, offset));
            }
        }
        Ok(items)
    }
}
