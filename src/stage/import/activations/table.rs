//! Activations in a table: Parquet, CSV and the like, with an image a row.

use std::path::Path;

use arrow::array::{Array as _, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Int64Type};

use super::{FEATURES, LABELS, LOGITS, Matrix, Parts, whole};
use crate::exchange::ExchangeError;
use crate::exchange::records::Records;
use crate::stage::StageError;

/// Reads a table with an image a row.
pub(super) fn read(path: &Path) -> Result<Parts, StageError> {
    let (mut features, mut logits, mut labels) = (Matrix::default(), Matrix::default(), None);
    for batch in Records::open(path)? {
        let batch = batch?;
        lists(path, &batch, &FEATURES, &mut features)?;
        lists(path, &batch, &LOGITS, &mut logits)?;
        if let Some((_, column)) = column(path, &batch, &LABELS)? {
            let labels: &mut Vec<i64> = labels.get_or_insert_with(Vec::new);
            add_classes(path, column, labels)?;
        }
    }
    Ok((features, logits, labels, None))
}

/// Returns the column of one of these names.
fn column<'b>(
    path: &Path,
    batch: &'b RecordBatch,
    names: &[&str],
) -> Result<Option<(&'b str, &'b ArrayRef)>, StageError> {
    let schema = batch.schema_ref();
    let all = schema.fields().iter().zip(batch.columns());
    let mut all = all.filter(|(field, _)| names.contains(&field.name().to_lowercase().as_str()));
    let found = all.next().map(|(field, column)| (field.name().as_str(), column));
    match (found, all.next()) {
        (Some((one, _)), Some((other, _))) => Err(StageError::File {
            path: path.to_owned(),
            message: format!(
                "the columns `{one}` and `{}` are names of one thing: leave one of them out",
                other.name()
            ),
        }),
        (found, _) => Ok(found),
    }
}

/// Adds the true classes of a column: integers, or whole numbers; null and NaN are none.
fn add_classes(path: &Path, column: &ArrayRef, labels: &mut Vec<i64>) -> Result<(), StageError> {
    let wrong = |message: String| StageError::File {
        path: path.to_owned(),
        message,
    };
    let kind = column.data_type();
    if kind.is_floating() {
        let numbers = cast(column, &DataType::Float64).map_err(ExchangeError::from)?;
        for value in numbers.as_primitive::<Float64Type>() {
            let (row, value) = (labels.len(), value.unwrap_or(f64::NAN));
            let label = whole(value);
            labels
                .push(label.ok_or_else(|| wrong(format!("row {row} has the class {value}, which is none")))?);
        }
        return Ok(());
    }
    let integers = cast(column, &DataType::Int64);
    let integers = integers.map_err(|_| wrong(format!("the classes are {kind}, not class numbers")))?;
    let lost = (0..column.len()).find(|row| integers.is_null(*row) && !column.is_null(*row));
    if let Some(row) = lost {
        let row = labels.len() + row;
        return Err(wrong(format!(
            "the class of row {row} is no class number ({kind})"
        )));
    }
    let given = integers.as_primitive::<Int64Type>().iter();
    labels.extend(given.map(|label| label.unwrap_or(-1)));
    Ok(())
}

/// Adds the lists of the column of one of these names.
fn lists(path: &Path, batch: &RecordBatch, names: &[&str], matrix: &mut Matrix) -> Result<(), StageError> {
    let Some((name, column)) = column(path, batch, names)? else {
        return Ok(());
    };
    let wrong = |message: String| StageError::File {
        path: path.to_owned(),
        message,
    };
    let item = Field::new("item", DataType::Float32, true);
    let lists = cast(column, &DataType::List(item.into()))
        .map_err(|_| wrong(format!("the column `{name}` holds no lists of numbers")))?;
    for (row, list) in lists.as_list::<i32>().iter().enumerate() {
        let list = list.ok_or_else(|| wrong(format!("`{name}` of row {row} is null")))?;
        let list = list.as_primitive::<Float32Type>();
        if list.null_count() > 0 {
            return Err(wrong(format!("a number in `{name}` of row {row} is null")));
        }
        if list.is_empty() && matrix.width == 0 {
            continue;
        }
        if matrix.width == 0 {
            matrix.width = list.len();
        }
        if list.len() != matrix.width || list.is_empty() {
            let (found, width) = (list.len(), matrix.width);
            return Err(wrong(format!(
                "`{name}` of row {row} has {found} numbers, others {width}"
            )));
        }
        matrix.values.extend_from_slice(list.values());
    }
    Ok(())
}
