//! What the declaration of a table says, as data: its columns, and what follows from them.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::SchemaError;

/// A table as it was declared with `table!`.
#[derive(Debug)]
pub struct Declaration {
    /// Its name in SQL, in exports and in the file.
    pub name: &'static str,
    /// Its doc: what a row is, in a sentence; more after an empty line.
    pub about: &'static str,
    /// Whether its rows are kept by class, so that those of a class are found without reading the others.
    pub by_class: bool,
    /// Its columns, in the order in which they are stored and digested.
    pub columns: &'static [Column],
    /// The columns that hold most of its bytes, in that order.
    pub wide: &'static [&'static str],
}

/// A column of a table.
#[derive(Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its doc.
    pub about: &'static str,
    /// Returns its Arrow type; of a vector, for this width.
    pub data_type: fn(width: usize) -> DataType,
    /// For a column that was added to the table later: returns so many times the value that older rows have.
    pub default: Option<fn(rows: usize) -> Result<ArrayRef, SchemaError>>,
}

impl Declaration {
    /// Returns the schema of the rows, for vectors of `width` numbers (ignored by tables without vectors).
    ///
    /// Every column is declared nullable, because readers of Parquet exports (Hugging Face `datasets`)
    /// insist; which ones may really be null is the row type's word, checked on reading.
    pub fn schema(&self, width: usize) -> SchemaRef {
        let field = |column: &Column| Field::new(column.name, (column.data_type)(width), true);
        Arc::new(Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()))
    }

    /// Returns the column of that name, if there is one.
    pub fn column(&self, name: &str) -> Option<&'static Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Returns what a row is, in a sentence.
    pub fn sentence(&self) -> String {
        sentence(self.about)
    }

    /// Returns the batch with the columns of `expected`: those that were added to the table after it was
    /// stored have the value declared for older rows.
    ///
    /// # Errors
    /// If a column is missing that was always there, if one has another type, or if there is one too many.
    pub fn complete(&self, batch: RecordBatch, expected: &SchemaRef) -> Result<RecordBatch, SchemaError> {
        if batch.schema_ref() == expected {
            return Ok(batch);
        }
        let mut found = batch.schema_ref().fields().iter().zip(batch.columns()).peekable();
        let mut columns = Vec::with_capacity(expected.fields().len());
        for field in expected.fields() {
            columns.push(match found.next_if(|(stored, _)| stored.name() == field.name()) {
                Some((stored, column)) if stored == field => column.clone(),
                Some((stored, _)) => return Err(self.other_type(field, stored.data_type())),
                None => self.default(field, batch.num_rows())?,
            });
        }
        if let Some((stored, _)) = found.next() {
            let column = stored.name().clone();
            return Err(SchemaError::UnexpectedColumn {
                table: self.name,
                column,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(
            expected.clone(),
            columns,
            &options,
        )?)
    }

    /// Returns the column of older rows.
    fn default(&self, field: &Field, rows: usize) -> Result<ArrayRef, SchemaError> {
        let declared = self.column(field.name());
        match declared.map(|column| (column.name, column.default)) {
            Some((_, Some(default))) => default(rows),
            Some((column, None)) => Err(SchemaError::MissingColumn {
                table: self.name,
                column,
            }),
            None => Err(SchemaError::UnexpectedColumn {
                table: self.name,
                column: field.name().clone(),
            }),
        }
    }

    fn other_type(&self, field: &Field, actual: &DataType) -> SchemaError {
        SchemaError::ColumnType {
            table: self.name,
            column: field.name().clone(),
            expected: field.data_type().to_string(),
            actual: actual.to_string(),
        }
    }
}

impl Column {
    /// Returns what the column holds, in a sentence.
    pub fn sentence(&self) -> String {
        sentence(self.about)
    }
}

/// Returns the first paragraph of a doc in one line.
fn sentence(doc: &str) -> String {
    let lines = doc.lines().map(str::trim).take_while(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}
