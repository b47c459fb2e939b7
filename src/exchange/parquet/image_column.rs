//! The column `png` of the table `images` as the column `image` of an export, and back.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, StructArray};
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Int64Type, Schema, SchemaRef};

use crate::exchange::ExchangeError;

/// Its name in the store.
pub(super) const STORED: &str = "png";

/// Its name in an export.
pub(super) const EXPORTED: &str = "image";

fn parts() -> Fields {
    Fields::from(vec![
        Field::new("bytes", DataType::Binary, true),
        Field::new("path", DataType::Utf8, true),
    ])
}

/// Returns the schema of the export of rows of `schema`.
pub(super) fn exported_schema(schema: &Schema) -> SchemaRef {
    let rename = |field: &Arc<Field>| match (field.name().as_str(), field.data_type()) {
        (STORED, DataType::Binary) => Arc::new(Field::new(EXPORTED, DataType::Struct(parts()), true)),
        // Every column is nullable, which `datasets` insists on.
        _ => Arc::new(field.as_ref().clone().with_nullable(true)),
    };
    Arc::new(Schema::new(
        schema.fields().iter().map(rename).collect::<Vec<_>>(),
    ))
}

/// Returns the batch with the columns of `schema`, which [`exported_schema`] gave.
pub(super) fn export(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ExchangeError> {
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        columns.push(match (field.data_type(), column.data_type()) {
            (DataType::Struct(_), DataType::Binary) => pictures(batch, column)?,
            _ => column.clone(),
        });
    }
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

/// Returns the pictures with the file names that an export to a directory would give them.
fn pictures(batch: &RecordBatch, column: &ArrayRef) -> Result<ArrayRef, ExchangeError> {
    let class = batch
        .column_by_name("class_id")
        .and_then(|c| c.as_primitive_opt::<Int32Type>());
    let index = batch
        .column_by_name("index")
        .and_then(|c| c.as_primitive_opt::<Int64Type>());
    let name = |row: usize| match (class, index) {
        (Some(class), Some(index)) if class.is_valid(row) && index.is_valid(row) => {
            Some(format!("{}/{:06}.png", class.value(row), index.value(row)))
        }
        _ => None,
    };
    let names: StringArray = (0..batch.num_rows()).map(name).collect();
    let columns: Vec<ArrayRef> = vec![column.clone(), Arc::new(names)];
    Ok(Arc::new(StructArray::try_new(
        parts(),
        columns,
        column.nulls().cloned(),
    )?))
}

/// Returns the bytes of an exported column of pictures; none if it is no such column.
pub(super) fn bytes(column: &dyn Array) -> Option<ArrayRef> {
    let pictures = column.as_struct_opt()?;
    // A null picture has null bytes: the struct's own nulls add nothing that our files can hold.
    pictures.column_by_name("bytes").cloned()
}
