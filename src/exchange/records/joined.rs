//! Numbered columns of a Parquet file (`f0`, `f1`, ... as pandas writes a matrix) as one column of vectors.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray, FixedSizeListArray, Float64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Schema};

use super::text::numbered;
use crate::exchange::ExchangeError;

/// Puts columns of floating-point numbers whose names are one word and the numbers from 0 or 1 on together,
/// as a column called by the word.
pub(super) fn joined(batch: RecordBatch) -> Result<RecordBatch, ExchangeError> {
    let schema = batch.schema();
    let floats = schema.fields().iter().enumerate();
    let floats: Vec<usize> = floats
        .filter(|(_, field)| field.data_type().is_floating())
        .map(|(place, _)| place)
        .collect();
    let names: Vec<String> = floats
        .iter()
        .map(|place| schema.field(*place).name().clone())
        .collect();
    let groups = numbered(&names);
    if groups.is_empty() {
        return Ok(batch);
    }
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    let in_group = |place: &usize| {
        let own = floats.iter().position(|float| float == place);
        own.is_some_and(|own| groups.iter().any(|(_, columns)| columns.contains(&own)))
    };
    for place in (0..schema.fields().len()).filter(|place| !in_group(place)) {
        fields.push(schema.fields()[place].clone());
        columns.push(batch.column(place).clone());
    }
    for (name, places) in groups {
        let own = places.iter().map(|place| batch.column(floats[*place]));
        let is_single = own.clone().all(|column| *column.data_type() == DataType::Float32);
        let own = own
            .map(|column| cast(column, &DataType::Float64))
            .collect::<Result<Vec<_>, _>>()?;
        let own: Vec<&Float64Array> = own
            .iter()
            .map(|column| column.as_primitive::<Float64Type>())
            .collect();
        let flat = (0..batch.num_rows()).flat_map(|row| {
            own.iter()
                .map(move |column| column.is_valid(row).then(|| column.value(row)))
        });
        let mut flat: ArrayRef = Arc::new(flat.collect::<Float64Array>());
        // What was not of 64 bits is not rounded.
        if is_single {
            flat = cast(&flat, &DataType::Float32)?;
        }
        let item = Arc::new(Field::new("item", flat.data_type().clone(), true));
        let vectors = FixedSizeListArray::try_new(item, own.len() as i32, flat, None)?;
        fields.push(Arc::new(Field::new(name, vectors.data_type().clone(), true)));
        columns.push(Arc::new(vectors));
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}
