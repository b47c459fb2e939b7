//! What can be wrong with a record batch.

/// A record batch that is not what its table says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "`table`, `column` and `row` say where; the rest is documented"
)]
pub enum SchemaError {
    /// A column is not there.
    #[error("table {table}: the column `{column}` is missing")]
    MissingColumn {
        table: &'static str,
        column: &'static str,
    },
    /// The table has no such column, or has it at another place.
    #[error("table {table}: the column `{column}` does not belong there")]
    UnexpectedColumn { table: &'static str, column: String },
    /// A column has another type than the table's.
    #[error("table {table}: the column `{column}` holds {actual}, expected {expected}")]
    ColumnType {
        table: &'static str,
        column: String,
        /// The type that the table gives it.
        expected: String,
        /// The type that was found.
        actual: String,
    },
    /// A value that may not be null is.
    #[error("table {table}: the column `{column}` is null in row {row}")]
    Null {
        table: &'static str,
        column: &'static str,
        row: usize,
    },
    /// A number of a vector or of a shape is null.
    #[error("table {table}: the column `{column}` has a null among its numbers in row {row}")]
    NullNumber {
        table: &'static str,
        column: &'static str,
        row: usize,
    },
    /// A value that the table does not allow.
    #[error("table {table}: the column `{column}` holds {value:?} in row {row}; {hint}")]
    Value {
        table: &'static str,
        column: &'static str,
        row: usize,
        /// What was found.
        value: String,
        /// What is allowed.
        hint: String,
    },
    /// Vectors of different widths in one batch.
    #[error("table {table}: row {row} has a vector of width {actual}, the rows before it {expected}")]
    Width {
        table: &'static str,
        /// The first row that differs.
        row: usize,
        /// The width of the rows before it.
        expected: usize,
        /// The width of this one.
        actual: usize,
    },
    /// Arrow refused to build or read the batch.
    #[error("Arrow: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
}
