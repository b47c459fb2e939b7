//! Columns of other programs' tables, by what they are called.

use std::path::Path;

use arrow::array::{Array as _, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::FieldRef;

use super::super::ExchangeError;

/// Returns the column of one of these names, in letters of any size, and its own name.
///
/// # Errors
/// If there are two.
pub(crate) fn column<'b>(
    path: &Path,
    batch: &'b RecordBatch,
    names: &[&str],
) -> Result<Option<(&'b str, &'b ArrayRef)>, ExchangeError> {
    let all = batch.schema_ref().fields().iter().zip(batch.columns());
    let mut all = all.filter(|(field, column)| {
        // Of scores, the column `score` may hold their name.
        let is_name = field.name() == "score" && is_of_names(column);
        names.contains(&field.name().to_lowercase().as_str()) && !is_name
    });
    let found = all.next().map(|(field, column)| (field.name().as_str(), column));
    match (found, all.next()) {
        (Some((one, _)), Some((other, _))) => Err(ExchangeError::Unfit {
            path: path.to_owned(),
            reason: format!(
                "the columns `{one}` and `{}` are names of one thing: leave one of them out",
                other.name()
            ),
        }),
        (found, _) => Ok(found),
    }
}

/// Returns the columns that have names: that of pandas' row numbers in a CSV has none.
pub(crate) fn named(batch: &RecordBatch) -> impl Iterator<Item = &FieldRef> {
    let fields = batch.schema_ref().fields().iter();
    fields.filter(|field| !field.name().is_empty())
}

/// Whether a column is of texts that are not all numbers.
pub(crate) fn is_of_names(column: &ArrayRef) -> bool {
    let mut texts = column.as_string_opt::<i32>().into_iter().flatten().flatten();
    column.data_type().is_string() && texts.any(|text| !text.is_empty() && text.parse::<f64>().is_err())
}
