//! The column `vector` of a batch as plain numbers.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type};

use super::ExchangeError;

/// Returns a column of vectors as one slice `[rows, width]`, and the width.
///
/// # Errors
/// If there is no such column, if it holds anything but 32-bit floats, or if a vector or a number is null.
pub fn flat_vectors<'a>(batch: &'a RecordBatch, column: &str) -> Result<(&'a [f32], usize), ExchangeError> {
    let layout = |what: String| {
        let hint = "vectors are in class_embeddings, features and outliers";
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

/// Returns the numbers as little-endian bytes.
pub(crate) fn le_bytes(flat: &[f32]) -> Vec<u8> {
    flat.iter().flat_map(|number| number.to_le_bytes()).collect()
}
