//! Which columns of a table are read: those of images, of their paths and of their labels.

use std::path::Path;

use arrow::datatypes::Schema;
use serde_json::Value;

use super::super::beside::{LABEL_COLUMNS, OTHER_LABELS};
use super::super::error::DatasetError;

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
pub(in super::super) const IMAGE_TYPE: &str = "struct<bytes, path> or binary";
/// What a column of labels holds.
pub(in super::super) const LABEL_TYPE: &str = "numbers or names of classes";

/// The columns that are read, by their names.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Chosen {
    /// That of images.
    pub image: String,
    /// That of labels.
    pub label: Option<String>,
    /// Whether labels are names of classes.
    pub names: bool,
}

impl Chosen {
    /// Chooses among the columns of a file, by what its metadata says of them and by their names.
    ///
    /// # Errors
    /// If there are no images, or several columns could be that of their labels.
    pub fn of(path: &Path, schema: &Schema, features: &Value) -> Result<Self, DatasetError> {
        let names = || schema.fields().iter().map(|field| field.name());
        let is_image = |name: &&String| features[name.as_str()]["_type"] == "Image";
        let declared = names().find(is_image).cloned();
        let Some(image) = declared.or_else(|| column_of(schema, &IMAGE_COLUMNS)) else {
            let others: Vec<&str> = names().map(String::as_str).collect();
            let absent = format!("absent; it has {}", others.join(", "));
            return Err(wrong(path, "image", IMAGE_TYPE, &absent));
        };
        let label = match column_of(schema, &LABEL_COLUMNS) {
            Some(label) => Some(label),
            None => declared_label(path, schema, features)?,
        };
        let names = label.as_ref().is_some_and(|label| {
            let field = schema.field_with_name(label);
            field.is_ok_and(|field| field.data_type().is_string())
        });
        Ok(Self { image, label, names })
    }

    /// Columns beside those that are read, in words.
    pub fn unread(&self, schema: &Schema) -> Vec<String> {
        let fields = schema.fields().iter();
        let beside =
            fields.filter(|field| *field.name() != self.image && Some(field.name()) != self.label.as_ref());
        beside
            .map(|field| format!("the column {} ({})", field.name(), field.data_type()))
            .collect()
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

/// What is said of a file that is not as its format says.
pub(in super::super) fn damaged(path: &Path, error: impl ToString) -> DatasetError {
    DatasetError::Corrupt {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

pub(in super::super) fn wrong(
    path: &Path,
    column: &str,
    expected: &'static str,
    actual: &str,
) -> DatasetError {
    DatasetError::Column {
        path: path.to_owned(),
        column: column.to_owned(),
        expected,
        actual: actual.to_owned(),
    }
}

/// Class names of the label column; empty if there are none.
pub(in super::super) fn class_names(path: &Path, feature: &Value) -> Result<Vec<String>, DatasetError> {
    let names = feature["names"].as_array().into_iter().flatten();
    names
        .map(|name| {
            let name = name.as_str().map(str::to_owned);
            name.ok_or_else(|| damaged(path, "huggingface metadata: a class name that is no text"))
        })
        .collect()
}

/// The features in the `huggingface` metadata of a file, by column; `text` is its JSON.
pub(in super::super) fn features(path: &Path, text: &str) -> Result<Value, DatasetError> {
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
