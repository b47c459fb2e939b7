//! Lists of a column, whatever kind of list it holds.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;

/// Returns the list in a row of a list column; none where it is null or the column holds no lists.
pub(crate) fn list_value(column: &dyn Array, row: usize) -> Option<ArrayRef> {
    if column.is_null(row) {
        return None;
    }
    match column.data_type() {
        DataType::FixedSizeList(..) => Some(column.as_fixed_size_list().value(row)),
        DataType::List(_) => Some(column.as_list::<i32>().value(row)),
        DataType::LargeList(_) => Some(column.as_list::<i64>().value(row)),
        _ => None,
    }
}
