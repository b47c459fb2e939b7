//! Numbered columns of a Parquet file (`f0`, `f1`, ... as pandas writes a matrix) as one column of vectors.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array as _, FixedSizeListArray, RecordBatch};
use arrow::compute::{cast, interleave};
use arrow::datatypes::{DataType, Field, Schema};

use super::text::numbered;
use crate::exchange::ExchangeError;

/// Puts columns of floating-point numbers whose names are one word and the numbers from 0 or 1 on together,
/// as a column called by the word.
pub(super) fn joined(batch: RecordBatch) -> Result<RecordBatch, ExchangeError> {
    let schema = batch.schema();
    let all = schema.fields().iter().enumerate();
    let floats: Vec<(usize, String)> = all
        .filter(|(_, field)| field.data_type().is_floating())
        .map(|(place, field)| (place, field.name().clone()))
        .collect();
    let names: Vec<String> = floats.iter().map(|(_, name)| name.clone()).collect();
    let groups: Vec<(String, Vec<usize>)> = numbered(&names)
        .into_iter()
        .map(|(name, members)| (name, members.into_iter().map(|member| floats[member].0).collect()))
        .collect();
    let grouped: BTreeSet<usize> = groups.iter().flat_map(|(_, places)| places).copied().collect();
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for place in (0..schema.fields().len()).filter(|place| !grouped.contains(place)) {
        fields.push(schema.fields()[place].clone());
        columns.push(batch.column(place).clone());
    }
    for (name, places) in groups {
        let is = |kind: DataType| {
            places
                .iter()
                .all(|place| *batch.column(*place).data_type() == kind)
        };
        // What was not of 64 bits is not rounded later.
        let kind = match is(DataType::Float32) {
            true => DataType::Float32,
            false => DataType::Float64,
        };
        let numbers = places.iter().map(|place| cast(batch.column(*place), &kind));
        let numbers = numbers.collect::<Result<Vec<_>, _>>()?;
        let numbers: Vec<_> = numbers.iter().map(AsRef::as_ref).collect();
        let by_row = |row| (0..numbers.len()).map(move |column| (column, row));
        let order: Vec<(usize, usize)> = (0..batch.num_rows()).flat_map(by_row).collect();
        let item = Arc::new(Field::new("item", kind, true));
        let flat = interleave(&numbers, &order)?;
        let vectors = FixedSizeListArray::try_new(item, numbers.len() as i32, flat, None)?;
        fields.push(Arc::new(Field::new(name, vectors.data_type().clone(), true)));
        columns.push(Arc::new(vectors));
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}
