//! The few column types of our tables: building them from rows and reading them back with errors that name the column.
//!
//! Every column is declared nullable, because readers of Parquet exports (Hugging Face `datasets`) insist; which ones may
//! really be null is the row type's word, checked on reading.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, FixedSizeListArray, Float32Array, Float64Array, Int32Array, Int64Array,
    ListArray, PrimitiveArray, RecordBatch, StringArray, UInt64Array,
};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Field, Int64Type, Schema, SchemaRef};

use crate::{SchemaError, Table};

/// Returns the field of a vector column of `width` numbers.
pub fn vector_field(width: usize) -> Field {
    Field::new("vector", vector_type(width), true)
}

/// Returns the Arrow type of a vector of `width` numbers.
pub fn vector_type(width: usize) -> DataType {
    // Widths are those of text encoders (hundreds); i32 is Arrow's own type for them.
    DataType::FixedSizeList(
        Arc::new(Field::new("item", DataType::Float32, true)),
        width as i32,
    )
}

/// Returns the Arrow type of a tensor's shape.
pub fn shape_type() -> DataType {
    DataType::List(Arc::new(Field::new("item", DataType::Int64, true)))
}

/// Returns a schema of nullable fields: the head common to all tables (class_id, class_name, index), then `tail`.
pub fn schema(tail: Vec<Field>) -> SchemaRef {
    let mut fields = vec![
        Field::new("class_id", DataType::Int32, true),
        Field::new("class_name", DataType::Utf8, true),
        Field::new("index", DataType::Int64, true),
    ];
    fields.extend(tail);
    Arc::new(Schema::new(fields))
}

/// Collects the columns of a batch in the order of its schema.
pub struct Builder {
    table: Table,
    columns: Vec<ArrayRef>,
}

impl Builder {
    /// Starts the columns of `table`.
    pub fn new(table: Table) -> Self {
        Self {
            table,
            columns: Vec::new(),
        }
    }

    fn push(mut self, column: impl Array + 'static) -> Self {
        self.columns.push(Arc::new(column));
        self
    }

    /// Adds 32-bit integers.
    pub fn i32(self, values: impl Iterator<Item = Option<i32>>) -> Self {
        self.push(values.collect::<Int32Array>())
    }

    /// Adds 64-bit integers.
    pub fn i64(self, values: impl Iterator<Item = Option<i64>>) -> Self {
        self.push(values.collect::<Int64Array>())
    }

    /// Adds unsigned 64-bit integers (seeds).
    pub fn u64(self, values: impl Iterator<Item = u64>) -> Self {
        self.push(UInt64Array::from_iter_values(values))
    }

    /// Adds 32-bit floats.
    pub fn f32(self, values: impl Iterator<Item = f32>) -> Self {
        self.push(Float32Array::from_iter_values(values))
    }

    /// Adds 64-bit floats.
    pub fn f64(self, values: impl Iterator<Item = f64>) -> Self {
        self.push(Float64Array::from_iter_values(values))
    }

    /// Adds strings.
    pub fn text<'a>(self, values: impl Iterator<Item = Option<&'a str>>) -> Self {
        self.push(values.collect::<StringArray>())
    }

    /// Adds byte strings.
    pub fn bytes<'a>(self, values: impl Iterator<Item = &'a [u8]>) -> Self {
        self.push(BinaryArray::from_iter_values(values))
    }

    /// Adds shapes of tensors.
    pub fn shapes<'a>(self, values: impl Iterator<Item = &'a [i64]>) -> Self {
        let list = ListArray::from_iter_primitive::<Int64Type, _, _>(
            values.map(|s| Some(s.iter().map(|d| Some(*d)).collect::<Vec<_>>())),
        );
        self.push(list)
    }

    /// Adds vectors.
    ///
    /// # Errors
    /// If they differ in width.
    pub fn vectors<'a>(self, values: impl Iterator<Item = &'a [f32]>) -> Result<Self, SchemaError> {
        let mut width = None;
        let mut flat = Vec::new();
        for (row, vector) in values.enumerate() {
            let expected = *width.get_or_insert(vector.len());
            if vector.len() != expected {
                let table = self.table.name();
                return Err(SchemaError::Width {
                    table,
                    row,
                    expected,
                    actual: vector.len(),
                });
            }
            flat.extend_from_slice(vector);
        }
        let list = vector_array(flat, width.unwrap_or(0))?;
        Ok(self.push(list))
    }

    /// Returns the batch.
    ///
    /// # Errors
    /// If the columns are not those of `schema`.
    pub fn finish(self, schema: SchemaRef) -> Result<RecordBatch, SchemaError> {
        Ok(RecordBatch::try_new(schema, self.columns)?)
    }
}

/// Returns the flat `[rows, width]` numbers as a column of vectors.
///
/// # Errors
/// If the length is not a multiple of the width.
pub fn vector_array(flat: Vec<f32>, width: usize) -> Result<FixedSizeListArray, SchemaError> {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    Ok(FixedSizeListArray::try_new(
        item,
        width as i32,
        Arc::new(Float32Array::from(flat)),
        None,
    )?)
}

/// The columns of a batch by name.
pub struct Columns<'a> {
    table: &'static str,
    batch: &'a RecordBatch,
}

impl<'a> Columns<'a> {
    /// Reads `batch` as rows of `table`.
    pub fn new(table: Table, batch: &'a RecordBatch) -> Self {
        Self {
            table: table.name(),
            batch,
        }
    }

    fn column<T: Array + 'static>(
        &self,
        column: &'static str,
        expected: &DataType,
    ) -> Result<&'a T, SchemaError> {
        let table = self.table;
        let array = self
            .batch
            .column_by_name(column)
            .ok_or(SchemaError::MissingColumn { table, column })?;
        array
            .as_any()
            .downcast_ref()
            .ok_or_else(|| SchemaError::ColumnType {
                table,
                column,
                expected: expected.to_string(),
                actual: array.data_type().to_string(),
            })
    }

    fn required<T>(&self, column: &'static str, values: Vec<Option<T>>) -> Result<Vec<T>, SchemaError> {
        let table = self.table;
        let present =
            |(row, value): (usize, Option<T>)| value.ok_or(SchemaError::Null { table, column, row });
        values.into_iter().enumerate().map(present).collect()
    }

    fn primitive<T: ArrowPrimitiveType>(
        &self,
        column: &'static str,
    ) -> Result<Vec<Option<T::Native>>, SchemaError> {
        Ok(self
            .column::<PrimitiveArray<T>>(column, &T::DATA_TYPE)?
            .iter()
            .collect())
    }

    /// Returns a column of numbers that are never null.
    ///
    /// # Errors
    /// If it is missing, of another type, or null anywhere.
    pub fn numbers<T: ArrowPrimitiveType>(
        &self,
        column: &'static str,
    ) -> Result<Vec<T::Native>, SchemaError> {
        let values = self.primitive::<T>(column)?;
        self.required(column, values)
    }

    /// Returns a column of numbers that may be null.
    ///
    /// # Errors
    /// If it is missing or of another type.
    pub fn optional_numbers<T: ArrowPrimitiveType>(
        &self,
        column: &'static str,
    ) -> Result<Vec<Option<T::Native>>, SchemaError> {
        self.primitive::<T>(column)
    }

    /// Returns a column of strings that may be null.
    ///
    /// # Errors
    /// If it is missing or of another type.
    pub fn optional_text(&self, column: &'static str) -> Result<Vec<Option<String>>, SchemaError> {
        let array = self.column::<StringArray>(column, &DataType::Utf8)?;
        Ok(array.iter().map(|v| v.map(str::to_owned)).collect())
    }

    /// Returns a column of strings that are never null.
    ///
    /// # Errors
    /// If it is missing, of another type, or null anywhere.
    pub fn text(&self, column: &'static str) -> Result<Vec<String>, SchemaError> {
        let values = self.optional_text(column)?;
        self.required(column, values)
    }

    /// Returns a column of byte strings that are never null.
    ///
    /// # Errors
    /// If it is missing, of another type, or null anywhere.
    pub fn bytes(&self, column: &'static str) -> Result<Vec<Vec<u8>>, SchemaError> {
        let array = self.column::<BinaryArray>(column, &DataType::Binary)?;
        self.required(column, array.iter().map(|v| v.map(<[u8]>::to_vec)).collect())
    }

    /// Returns a column of shapes.
    ///
    /// # Errors
    /// If it is missing, of another type, or null anywhere.
    pub fn shapes(&self, column: &'static str) -> Result<Vec<Vec<i64>>, SchemaError> {
        let array = self.column::<ListArray>(column, &shape_type())?;
        let mut shapes = Vec::with_capacity(array.len());
        for (row, list) in array.iter().enumerate() {
            let list = list.ok_or(SchemaError::Null {
                table: self.table,
                column,
                row,
            })?;
            let numbers =
                list.as_any()
                    .downcast_ref::<Int64Array>()
                    .ok_or_else(|| SchemaError::ColumnType {
                        table: self.table,
                        column,
                        expected: shape_type().to_string(),
                        actual: array.data_type().to_string(),
                    })?;
            shapes.push(numbers.values().to_vec());
        }
        Ok(shapes)
    }

    /// Returns a column of vectors.
    ///
    /// # Errors
    /// If it is missing, of another type, or null anywhere.
    pub fn vectors(&self, column: &'static str) -> Result<Vec<Vec<f32>>, SchemaError> {
        let (flat, width) = self.flat_vectors(column)?;
        if width == 0 {
            return Ok(vec![Vec::new(); self.batch.num_rows()]);
        }
        Ok(flat.chunks(width).map(<[f32]>::to_vec).collect())
    }

    /// Returns a column of vectors as one slice `[rows, width]`, and the width.
    ///
    /// # Errors
    /// If it is missing, of another type, or null anywhere.
    pub fn flat_vectors(&self, column: &'static str) -> Result<(&'a [f32], usize), SchemaError> {
        let array = self.column::<FixedSizeListArray>(column, &vector_type(0))?;
        let width = array.value_length() as usize;
        if let Some(row) = (0..array.len()).find(|row| array.is_null(*row)) {
            return Err(SchemaError::Null {
                table: self.table,
                column,
                row,
            });
        }
        let wrong = || SchemaError::ColumnType {
            table: self.table,
            column,
            expected: vector_type(width).to_string(),
            actual: array.data_type().to_string(),
        };
        let values = array
            .values()
            .as_any()
            .downcast_ref::<Float32Array>()
            .ok_or_else(wrong)?;
        // A sliced list keeps its parent's values: take only this slice's.
        let start = array.value_offset(0) as usize;
        let flat = values
            .values()
            .get(start..start + array.len() * width)
            .ok_or_else(wrong)?;
        Ok((flat, width))
    }

    /// Returns the error for a value that the table does not allow.
    pub fn bad_value(
        &self,
        column: &'static str,
        row: usize,
        value: &str,
        hint: &'static str,
    ) -> SchemaError {
        SchemaError::Value {
            table: self.table,
            column,
            row,
            value: value.to_owned(),
            hint,
        }
    }
}
