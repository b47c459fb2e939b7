//! Which columns of a Parquet file are read, as leaves of its schema.

use std::path::Path;

use arrow::datatypes::DataType;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use serde_json::Value;

use super::super::error::DatasetError;
use super::super::table::columns::{self, Chosen, IMAGE_TYPE, LABEL_TYPE, damaged, wrong};

/// The columns that are read.
pub(super) struct Columns {
    /// Their names.
    pub chosen: Chosen,
    /// The encoded images.
    pub bytes: usize,
    /// Their paths.
    pub path: Option<usize>,
    /// The labels.
    pub label: Option<usize>,
}

impl Columns {
    pub fn of(path: &Path, metadata: &ArrowReaderMetadata, features: &Value) -> Result<Self, DatasetError> {
        let schema = metadata.schema();
        let chosen = Chosen::of(path, schema, features)?;
        let image = &chosen.image;
        let columns = metadata.metadata().file_metadata().schema_descr().columns();
        let leaf = |parts: &[&str]| columns.iter().position(|c| c.path().parts() == parts);
        let bytes = leaf(&[image, "bytes"]).or_else(|| leaf(&[image]));
        let kind = schema
            .field_with_name(image)
            .map(|field| field.data_type().clone());
        let kind = kind.map_err(|e| damaged(path, e))?;
        let is_binary = |kind: &DataType| *kind == DataType::Binary;
        let fits = match &kind {
            DataType::Struct(fields) => fields
                .find("bytes")
                .is_some_and(|(_, f)| is_binary(f.data_type())),
            other => is_binary(other),
        };
        let Some(bytes) = bytes.filter(|_| fits) else {
            return Err(wrong(path, image, IMAGE_TYPE, &kind.to_string()));
        };
        let label = match &chosen.label {
            Some(label) => match leaf(&[label]) {
                Some(leaf) => Some(leaf),
                None => return Err(wrong(path, label, LABEL_TYPE, "a list or struct")),
            },
            None => None,
        };
        Ok(Self {
            bytes,
            path: leaf(&[image, "path"]),
            label,
            chosen,
        })
    }
}

/// The features in the file's `huggingface` metadata, by column.
pub(super) fn features(path: &Path, metadata: &ArrowReaderMetadata) -> Result<Value, DatasetError> {
    let pairs = metadata.metadata().file_metadata().key_value_metadata();
    let pair = pairs.into_iter().flatten().find(|pair| pair.key == "huggingface");
    match pair.and_then(|pair| pair.value.as_deref()) {
        Some(text) => columns::features(path, text),
        None => Ok(Value::Null),
    }
}
