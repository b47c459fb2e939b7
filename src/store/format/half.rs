//! Lists of numbers that f16 holds exactly take half the room in a block: what a stage rounds to f16 is read
//! as the f32 that it was given as, and no one else knows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float32Type, Schema};
use arrow::error::ArrowError;
use half::f16;

type Result<T> = std::result::Result<T, ArrowError>;

/// Returns the rows with every column of lists of f32 as f16, where that holds all of its numbers exactly.
pub(super) fn halved(rows: &RecordBatch) -> Result<RecordBatch> {
    changed(rows, |column| {
        let DataType::List(item) = column.data_type() else {
            return None;
        };
        (*item.data_type() == DataType::Float32 && fits(column)).then_some(DataType::Float16)
    })
}

/// Returns the rows with every column of lists of f16 as f32.
pub(super) fn widened(rows: &RecordBatch) -> Result<RecordBatch> {
    changed(rows, |column| match column.data_type() {
        DataType::List(item) if *item.data_type() == DataType::Float16 => Some(DataType::Float32),
        _ => None,
    })
}

/// Says whether a column of lists of f32 has numbers, and f16 holds each of them, none being null.
fn fits(column: &ArrayRef) -> bool {
    let numbers = column.as_list::<i32>().values();
    let exact = |x: &f32| f16::from_f32(*x).to_f32().to_bits() == x.to_bits();
    !numbers.is_empty()
        && numbers.null_count() == 0
        && numbers.as_primitive::<Float32Type>().values().iter().all(exact)
}

/// Gives the lists of those columns for which `wanted` says so items of another type.
fn changed(rows: &RecordBatch, wanted: impl Fn(&ArrayRef) -> Option<DataType>) -> Result<RecordBatch> {
    let types: Vec<Option<DataType>> = rows.columns().iter().map(wanted).collect();
    if types.iter().all(Option::is_none) {
        return Ok(rows.clone());
    }
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for ((field, column), wanted) in rows.schema().fields().iter().zip(rows.columns()).zip(types) {
        let (DataType::List(item), Some(wanted)) = (field.data_type(), wanted) else {
            fields.push(field.clone());
            columns.push(column.clone());
            continue;
        };
        let item = Field::new(item.name(), wanted, item.is_nullable());
        let list = DataType::List(Arc::new(item));
        columns.push(cast(column, &list)?);
        fields.push(Arc::new(field.as_ref().clone().with_data_type(list)));
    }
    let metadata = rows.schema().metadata().clone();
    RecordBatch::try_new(Arc::new(Schema::new_with_metadata(fields, metadata)), columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ListArray, UInt32Array};
    use arrow::datatypes::Float16Type;

    fn rows(lists: Vec<Option<Vec<Option<f32>>>>) -> RecordBatch {
        let numbers: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(lists));
        let places: ArrayRef = Arc::new(UInt32Array::from_iter_values(0..numbers.len() as u32));
        RecordBatch::try_from_iter([("numbers", numbers), ("place", places)]).unwrap()
    }

    fn list(numbers: &[f32]) -> Option<Vec<Option<f32>>> {
        Some(numbers.iter().map(|x| Some(*x)).collect())
    }

    #[test]
    fn what_f16_holds_exactly_is_halved_and_read_as_before() {
        let exact = rows(vec![
            list(&[1.5, -0.0, 65504.0]),
            list(&[]),
            list(&[0.333_251_95]),
        ]);
        let half = halved(&exact).unwrap();
        let numbers = half.column(0).as_list::<i32>().values().clone();
        assert_eq!(numbers.as_primitive::<Float16Type>().len(), 4);
        assert_eq!(widened(&half).unwrap(), exact);
        // One number that would change, one that is none, a null, or nothing at all.
        for odd in [
            vec![list(&[1.0, 0.1])],
            vec![list(&[65520.0])],
            vec![list(&[1e-9])],
            vec![Some(vec![Some(1.0), None])],
            vec![list(&[])],
        ] {
            let odd = rows(odd);
            assert_eq!(halved(&odd).unwrap(), odd);
            assert_eq!(widened(&odd).unwrap(), odd);
        }
    }
}
