//! Where in an Arrow file the images of a batch lie.

use std::path::Path;

use arrow::datatypes::{DataType, Schema};

use super::super::error::DatasetError;
use super::super::table::columns::{IMAGE_TYPE, damaged, wrong};
use super::messages::Span;

/// Where the images of a batch lie.
pub(super) struct Places {
    /// As they are stored.
    pub offsets: Vec<u8>,
    /// Bits that say which rows are there; all, where there are none.
    pub valid: Vec<Vec<u8>>,
    pub values: Span,
}

/// Of what types the images and their paths are.
pub(super) struct Kinds {
    /// Bytes of an offset: 4, or 8 of a large type.
    pub width: usize,
    /// Whether images are a part of a struct.
    pub nested: bool,
    pub path: Option<DataType>,
}

impl Kinds {
    pub fn of(path: &Path, schema: &Schema, image: &str) -> Result<Self, DatasetError> {
        let field = schema.field_with_name(image);
        let kind = field.map_err(|error| damaged(path, error))?.data_type();
        let width = |kind: &DataType| match kind {
            DataType::Binary => Some(4),
            DataType::LargeBinary => Some(8),
            _ => None,
        };
        let found = match kind {
            DataType::Struct(fields) => fields.find("bytes").and_then(|(_, bytes)| {
                let path = fields.find("path").map(|(_, path)| path.data_type());
                Some(Self {
                    width: width(bytes.data_type())?,
                    nested: true,
                    path: path.filter(|kind| kind.is_string()).cloned(),
                })
            }),
            other => width(other).map(|width| Self {
                width,
                nested: false,
                path: None,
            }),
        };
        found.ok_or_else(|| wrong(path, image, IMAGE_TYPE, &kind.to_string()))
    }
}

impl Places {
    /// Where the image of a row lies, if it has one; nothing at all where its offsets are damaged.
    pub fn get(&self, row: usize, width: usize) -> Option<Option<Span>> {
        let bit = |bits: &Vec<u8>| bits.get(row / 8).is_some_and(|byte| byte >> (row % 8) & 1 == 1);
        if !self.valid.iter().all(bit) {
            return Some(None);
        }
        let offset = |number: usize| {
            let bytes = self.offsets.get(number * width..)?.get(..width)?;
            let mut word = [0; 8];
            word.get_mut(..width)?.copy_from_slice(bytes);
            Some(u64::from_le_bytes(word))
        };
        let (start, end) = (offset(row)?, offset(row + 1)?);
        let len = end.checked_sub(start).filter(|_| end <= self.values.len)?;
        Some(Some(Span {
            start: self.values.start + start,
            len,
        }))
    }
}
