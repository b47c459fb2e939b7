//! The columns of a batch by name, read with errors that say which column of which table is wrong.

use arrow::array::{
    Array, BinaryArray, FixedSizeListArray, Float32Array, ListArray, PrimitiveArray, RecordBatch, StringArray,
};
use arrow::datatypes::{ArrowPrimitiveType, DataType};

use crate::value::{Value, vector_type};
use crate::{SchemaError, Table};

/// The columns of a batch by name.
pub struct Columns<'a> {
    table: &'static str,
    batch: &'a RecordBatch,
}

impl<'a> Columns<'a> {
    /// Reads `batch` as rows of `table`.
    pub fn new(table: Table, batch: &'a RecordBatch) -> Self {
        Self::named(table.name(), batch)
    }

    /// Reads `batch` as rows of the table of that name.
    pub(crate) fn named(table: &'static str, batch: &'a RecordBatch) -> Self {
        Self { table, batch }
    }

    /// Returns the values of a column.
    ///
    /// # Errors
    /// If it is missing, of another type, or null where `T` cannot be.
    pub fn read<T: Value>(&self, column: &'static str) -> Result<Vec<T>, SchemaError> {
        T::read(self, column)
    }

    /// Returns the values of a column that was added to the table later; where it is missing, `default` for
    /// every row.
    ///
    /// # Errors
    /// If it is of another type, or null where `T` cannot be.
    pub fn read_or<T: Value + Clone>(&self, column: &'static str, default: T) -> Result<Vec<T>, SchemaError> {
        match self.batch.column_by_name(column) {
            Some(_) => T::read(self, column),
            None => Ok(vec![default; self.batch.num_rows()]),
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
            .ok_or_else(|| self.wrong_type(column, expected, array.data_type()))
    }

    fn wrong_type(&self, column: &str, expected: &DataType, actual: &DataType) -> SchemaError {
        SchemaError::ColumnType {
            table: self.table,
            column: column.to_owned(),
            expected: expected.to_string(),
            actual: actual.to_string(),
        }
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

    /// Returns a column of words, each of which means one of some things.
    ///
    /// # Errors
    /// If it is missing, of another type, null anywhere, or holds another word.
    pub fn words<T: Copy>(
        &self,
        column: &'static str,
        words: &[(&'static str, T)],
    ) -> Result<Vec<T>, SchemaError> {
        let meaning = |(row, value): (usize, String)| {
            let found = words.iter().find(|(word, _)| *word == value);
            found
                .map(|(_, meaning)| *meaning)
                .ok_or_else(|| SchemaError::Value {
                    table: self.table,
                    column,
                    row,
                    value,
                    hint: expected(words.iter().map(|(word, _)| *word)),
                })
        };
        self.text(column)?.into_iter().enumerate().map(meaning).collect()
    }

    /// Returns a column of byte strings that are never null.
    ///
    /// # Errors
    /// If it is missing, of another type, or null anywhere.
    pub fn bytes(&self, column: &'static str) -> Result<Vec<Vec<u8>>, SchemaError> {
        let array = self.column::<BinaryArray>(column, &DataType::Binary)?;
        self.required(column, array.iter().map(|v| v.map(<[u8]>::to_vec)).collect())
    }

    /// Returns a column of lists of numbers, which may differ in length from row to row.
    ///
    /// # Errors
    /// If it is missing, of another type, or null anywhere, elements of lists included.
    pub fn lists<T: ArrowPrimitiveType>(
        &self,
        column: &'static str,
        expected: &DataType,
    ) -> Result<Vec<Vec<T::Native>>, SchemaError> {
        let array = self.column::<ListArray>(column, expected)?;
        let mut lists = Vec::with_capacity(array.len());
        for (row, list) in array.iter().enumerate() {
            let list = list.ok_or(SchemaError::Null {
                table: self.table,
                column,
                row,
            })?;
            let numbers: &PrimitiveArray<T> = list
                .as_any()
                .downcast_ref()
                .ok_or_else(|| self.wrong_type(column, expected, array.data_type()))?;
            if numbers.null_count() > 0 {
                return Err(SchemaError::NullNumber {
                    table: self.table,
                    column,
                    row,
                });
            }
            lists.push(numbers.values().to_vec());
        }
        Ok(lists)
    }

    /// Returns a column of vectors.
    ///
    /// # Errors
    /// If it is missing, of another type, or null anywhere, elements of vectors included.
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
    /// If it is missing, of another type, or null anywhere, elements of vectors included.
    pub fn flat_vectors(&self, column: &'static str) -> Result<(&'a [f32], usize), SchemaError> {
        let array = self.column::<FixedSizeListArray>(column, &vector_type(0))?;
        let (table, width) = (self.table, array.value_length() as usize);
        if let Some(row) = (0..array.len()).find(|row| array.is_null(*row)) {
            return Err(SchemaError::Null { table, column, row });
        }
        let wrong = || self.wrong_type(column, &vector_type(width), array.data_type());
        let numbers: &Float32Array = array.values().as_any().downcast_ref().ok_or_else(wrong)?;
        // A sliced list keeps its parent's values: take only this slice's.
        let start = array.value_offset(0) as usize;
        let end = start + array.len() * width;
        let flat = numbers.values().get(start..end).ok_or_else(wrong)?;
        if numbers.null_count() > 0
            && let Some(at) = (start..end).find(|at| numbers.is_null(*at))
        {
            let row = (at - start) / width.max(1);
            return Err(SchemaError::NullNumber { table, column, row });
        }
        Ok((flat, width))
    }
}

/// Returns what may stand there, in words: "expected `a`, `b` or `c`".
fn expected<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<_> = words.map(|word| format!("`{word}`")).collect();
    match quoted.as_slice() {
        [head @ .., last] if !head.is_empty() => format!("expected {} or {last}", head.join(", ")),
        _ => format!("expected {}", quoted.join("")),
    }
}
