//! What the rows of a table say of their images: names and labels.

use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};

use super::super::error::DatasetError;
use super::columns::{LABEL_TYPE, damaged, wrong};

/// What a label column says of a row.
pub(in super::super) enum Said {
    Number(i64),
    Name(String),
}

impl Said {
    /// Returns the name of a class, if it says one.
    pub fn name(self) -> Option<String> {
        match self {
            Self::Number(_) => None,
            Self::Name(name) => Some(name),
        }
    }
}

/// Name (where it has one) and label of a row.
pub(in super::super) struct Row {
    pub name: Option<String>,
    pub label: Option<Said>,
}

impl Row {
    /// Takes the rows of a batch of `count` from its columns of paths and of labels, the latter with its
    /// name, where there are such.
    ///
    /// # Errors
    /// If labels are of a type that says no classes, or fractions.
    pub fn of_batch(
        path: &Path,
        count: usize,
        paths: Option<&ArrayRef>,
        labels: Option<(&str, &ArrayRef)>,
    ) -> Result<Vec<Self>, DatasetError> {
        let labels = labels
            .map(|(name, array)| comparable(path, name, array))
            .transpose()?;
        let paths = paths.map(|paths| cast(paths, &DataType::LargeUtf8));
        let paths = paths.transpose().map_err(|e| damaged(path, e))?;
        let paths = paths.as_ref().map(|paths| paths.as_string::<i64>());
        let row = |row: usize| {
            let name = paths.filter(|p| p.is_valid(row)).map(|p| p.value(row).to_owned());
            Self {
                name: name.filter(|name| !name.is_empty()),
                label: labels.as_ref().and_then(|labels| said(labels, row)),
            }
        };
        Ok((0..count).map(row).collect())
    }

    /// Rows of which nothing is said.
    pub fn bare(count: usize) -> Vec<Self> {
        let row = |_| Self {
            name: None,
            label: None,
        };
        (0..count).map(row).collect()
    }
}

/// Brings labels to 64-bit integers, or to texts where they are names.
fn comparable(path: &Path, name: &str, array: &ArrayRef) -> Result<ArrayRef, DatasetError> {
    let kind = array.data_type();
    let cast = |kind: &DataType| cast(array, kind).map_err(|e| damaged(path, e));
    if kind.is_string() {
        return cast(&DataType::LargeUtf8);
    }
    if kind.is_floating() {
        let numbers = cast(&DataType::Float64)?;
        let mut numbers = numbers.as_primitive::<Float64Type>().iter().flatten();
        if let Some(fraction) = numbers.find(|number| number.fract() != 0.0) {
            return Err(wrong(path, name, LABEL_TYPE, &fraction.to_string()));
        }
    } else if !kind.is_integer() && *kind != DataType::Null {
        return Err(wrong(path, name, LABEL_TYPE, &kind.to_string()));
    }
    cast(&DataType::Int64)
}

/// What a row says; a null is no label, and neither is -1 or an empty text.
fn said(labels: &ArrayRef, row: usize) -> Option<Said> {
    if labels.is_null(row) {
        return None;
    }
    match labels.as_string_opt::<i64>() {
        Some(names) => Some(names.value(row))
            .filter(|name| !name.is_empty())
            .map(|name| Said::Name(name.to_owned())),
        None => Some(labels.as_primitive::<Int64Type>().value(row))
            .filter(|number| *number != -1)
            .map(Said::Number),
    }
}
