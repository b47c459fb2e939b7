//! The column `vector` of a batch as plain numbers; and of `latents`, which have shapes of their own, `data`
//! in the place of it.

use std::borrow::Cow;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type};
use dream_schema::Table;
use dream_schema::columns::Columns;

use super::ExchangeError;
use crate::floats::{self, Format};

/// Returns a column of vectors as one slice `[rows, width]`, and the width.
///
/// # Errors
/// If there is no such column, if it holds anything but 32-bit floats, or if a vector or a number is null.
pub fn flat_vectors<'a>(batch: &'a RecordBatch, column: &str) -> Result<(&'a [f32], usize), ExchangeError> {
    let layout = |what: String| {
        let hint = "vectors are in class_embeddings, features and outliers, arrays in latents";
        ExchangeError::Layout { what, hint }
    };
    let array = batch
        .column_by_name(column)
        .ok_or_else(|| layout(format!("there is no column `{column}`")))?;
    let wrong = || {
        let actual = array.data_type();
        layout(format!("the column `{column}` holds {actual}, not vectors"))
    };
    let DataType::FixedSizeList(_, _) = array.data_type() else {
        return Err(wrong());
    };
    let list = array.as_fixed_size_list();
    let width = list.value_length() as usize;
    let numbers = list
        .values()
        .as_primitive_opt::<Float32Type>()
        .ok_or_else(wrong)?;
    // A sliced list keeps its parent's values: take only this slice's.
    let start = list.value_offset(0) as usize;
    let slice = numbers.slice(start, list.len() * width);
    if list.null_count() > 0 || slice.null_count() > 0 {
        return Err(layout(format!("the column `{column}` has a null in it")));
    }
    let flat = numbers
        .values()
        .get(start..start + list.len() * width)
        .ok_or_else(wrong)?;
    Ok((flat, width))
}

/// The numbers of a batch: as many for each row as `shape` says.
pub(crate) struct Tensors<'a> {
    /// The numbers, row after row.
    pub(crate) flat: Cow<'a, [f32]>,
    /// The shape of a row: `[width]` of a vector, `[channels, height, width]` of a latent.
    pub(crate) shape: Vec<usize>,
    /// What the rows are.
    pub(crate) name: &'static str,
}

/// Returns the column `vector`, or the latents of rows of that table.
///
/// # Errors
/// As [`flat_vectors`], and if latents differ in shape or are not of 32-bit floats.
pub(crate) fn tensors(batch: &RecordBatch) -> Result<Tensors<'_>, ExchangeError> {
    let has = |name| batch.column_by_name(name).is_some();
    if has("vector") || !(has("shape") && has("data")) {
        let (flat, width) = flat_vectors(batch, "vector")?;
        return Ok(Tensors {
            flat: Cow::Borrowed(flat),
            shape: vec![width],
            name: "vector",
        });
    }
    let layout = |what: String| {
        let hint = "export one run at a time, or to Parquet";
        ExchangeError::Layout { what, hint }
    };
    let rows = Columns::new(Table::Latents, batch);
    let (dtypes, shapes, data) = (
        rows.text("dtype")?,
        rows.read::<Vec<i64>>("shape")?,
        rows.bytes("data")?,
    );
    let shape = shapes.first().cloned().unwrap_or_default();
    let numbers = shape.iter().product::<i64>().max(0) as usize;
    let mut flat = Vec::with_capacity(numbers * data.len());
    for (row, bytes) in data.iter().enumerate() {
        let (dtype, found) = (dtypes.get(row), shapes.get(row));
        if found != Some(&shape) || dtype.map(String::as_str) != Some("f32") || bytes.len() != 4 * numbers {
            return Err(layout(format!(
                "row {row} is a latent of {} {:?} in {} bytes, the first one is of f32 {shape:?}",
                dtype.map_or("", String::as_str),
                found.map_or(&[][..], Vec::as_slice),
                bytes.len()
            )));
        }
        flat.extend(floats::from_bytes(Format::F32, bytes));
    }
    Ok(Tensors {
        flat: Cow::Owned(flat),
        shape: shape.iter().map(|n| *n as usize).collect(),
        name: "latent",
    })
}

/// Returns the shape of a row in words.
pub(crate) fn size(shape: &[usize]) -> String {
    match shape {
        [width] => format!("width {width}"),
        _ => format!("shape {shape:?}"),
    }
}
