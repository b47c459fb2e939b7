//! Which columns of a Parquet file are read: those of images, of their paths and of their labels.

use std::path::Path;

use arrow::datatypes::{DataType, Schema};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use serde_json::Value;

use super::super::beside::{LABEL_COLUMNS, OTHER_LABELS};
use super::super::error::DatasetError;
use super::file::damaged;

const IMAGE_COLUMNS: [&str; 9] = [
    "image",
    "img",
    "jpg",
    "png",
    "jpeg",
    "image_bytes",
    "images",
    "pixel_values",
    "picture",
];
/// What a column of images holds.
const IMAGE_TYPE: &str = "struct<bytes, path> or binary";
/// What a column of labels holds.
pub(super) const LABEL_TYPE: &str = "numbers or names of classes";
/// The columns that are read, as leaves of the schema.
pub(super) struct Columns {
    /// The name of the column of images.
    pub image: String,
    /// The encoded images.
    pub bytes: usize,
    /// Their paths.
    pub path: Option<usize>,
    /// The labels, with the name of their column.
    pub label: Option<(String, usize)>,
    /// Whether labels are names of classes.
    pub names: bool,
}

impl Columns {
    pub fn of(path: &Path, metadata: &ArrowReaderMetadata, features: &Value) -> Result<Self, DatasetError> {
        let schema = metadata.schema();
        let is_image = |name: &&String| features[name.as_str()]["_type"] == "Image";
        let declared = schema
            .fields()
            .iter()
            .map(|field| field.name())
            .find(is_image)
            .cloned();
        let Some(image) = declared.or_else(|| column_of(schema, &IMAGE_COLUMNS)) else {
            let others: Vec<&str> = schema
                .fields()
                .iter()
                .map(|field| field.name().as_str())
                .collect();
            let absent = format!("absent; it has {}", others.join(", "));
            return Err(wrong(path, "image", IMAGE_TYPE, &absent));
        };
        let columns = metadata.metadata().file_metadata().schema_descr().columns();
        let leaf = |parts: &[&str]| columns.iter().position(|c| c.path().parts() == parts);
        let bytes = leaf(&[&image, "bytes"]).or_else(|| leaf(&[&image]));
        let kind = schema
            .field_with_name(&image)
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
            return Err(wrong(path, &image, IMAGE_TYPE, &kind.to_string()));
        };
        let label = match column_of(schema, &LABEL_COLUMNS) {
            Some(label) => Some(label),
            None => declared_label(path, schema, features)?,
        };
        let label = match label {
            Some(label) => match leaf(&[&label]) {
                Some(leaf) => Some((label, leaf)),
                None => return Err(wrong(path, &label, LABEL_TYPE, "a list or struct")),
            },
            None => None,
        };
        let names = label.as_ref().is_some_and(|(label, _)| {
            let field = schema.field_with_name(label);
            field.is_ok_and(|field| field.data_type().is_string())
        });
        Ok(Self {
            image: image.clone(),
            bytes,
            path: leaf(&[&image, "path"]),
            label,
            names,
        })
    }
}

/// The column that the `huggingface` metadata declares as that of classes, or one that is called so.
fn declared_label(path: &Path, schema: &Schema, features: &Value) -> Result<Option<String>, DatasetError> {
    let names = schema.fields().iter().map(|field| field.name().as_str());
    let declared: Vec<&str> = names
        .filter(|name| features[*name]["_type"] == "ClassLabel")
        .collect();
    match declared.as_slice() {
        [] => {}
        [only] => return Ok(Some((*only).to_owned())),
        several => {
            let several = format!("one of {}: rename it to `label`", several.join(", "));
            return Err(wrong(path, "label", LABEL_TYPE, &several));
        }
    }
    let other = column_of(schema, &OTHER_LABELS);
    let says_classes = |name: &String| {
        let field = schema.field_with_name(name);
        field.is_ok_and(|field| field.data_type().is_integer() || field.data_type().is_string())
    };
    Ok(other.filter(says_classes))
}

pub(super) fn wrong(path: &Path, column: &str, expected: &'static str, actual: &str) -> DatasetError {
    DatasetError::Column {
        path: path.to_owned(),
        column: column.to_owned(),
        expected,
        actual: actual.to_owned(),
    }
}

/// Class names of the label column; empty if there are none.
pub(super) fn class_names(path: &Path, feature: &Value) -> Result<Vec<String>, DatasetError> {
    let names = feature["names"].as_array().into_iter().flatten();
    names
        .map(|name| {
            let name = name.as_str().map(str::to_owned);
            name.ok_or_else(|| damaged(path, "huggingface metadata: a class name that is no text"))
        })
        .collect()
}

/// The features in the file's `huggingface` metadata, by column.
pub(super) fn features(path: &Path, metadata: &ArrowReaderMetadata) -> Result<Value, DatasetError> {
    let pairs = metadata.metadata().file_metadata().key_value_metadata();
    let pair = pairs.into_iter().flatten().find(|pair| pair.key == "huggingface");
    let Some(text) = pair.and_then(|pair| pair.value.as_deref()) else {
        return Ok(Value::Null);
    };
    let json: Value =
        serde_json::from_str(text).map_err(|e| damaged(path, format!("huggingface metadata: {e}")))?;
    Ok(json["info"]["features"].clone())
}

fn column_of(schema: &Schema, names: &[&str]) -> Option<String> {
    let called = |name: &&str| {
        schema
            .fields()
            .iter()
            .find(|field| field.name().eq_ignore_ascii_case(name))
    };
    names.iter().find_map(called).map(|field| field.name().clone())
}
