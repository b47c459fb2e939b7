//! What a `dream-ood` store holds: one file a kind of artifact, with its row, its key and its Arrow schema.
//!
//! A **run** is one execution of one stage ([`run`]). What it writes are **artifacts**: rows keyed (run, part, index), where
//! the part is the class for everything that belongs to one and 0 for the rest ([`Artifact`]). Rows travel as Arrow record
//! batches in which the run is left out, because a block of the store belongs to one run; readers put the column in front
//! ([`with_run`]). The digest of a run is taken over its rows in key order ([`digest`]), so it does not depend on how they were
//! cut into blocks.

pub mod checkpoint;
pub mod class_embedding;
pub mod columns;
pub mod dataset;
pub mod digest;
pub mod feature;
pub mod image;
pub mod latent;
pub mod metric;
pub mod outlier;
pub mod run;
pub mod score;

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

pub use checkpoint::Checkpoint;
pub use class_embedding::ClassEmbedding;
pub use dataset::{Dataset, SkippedImage};
pub use feature::Feature;
pub use image::Image;
pub use latent::Latent;
pub use metric::Metric;
pub use outlier::{Outlier, OutlierKind};
pub use run::{Run, RunId, RunInput, RunSpec, Status};
pub use score::Score;

/// A record batch that is not what its table says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// A column is not there.
    #[error("table {table}: the column `{column}` is missing")]
    MissingColumn {
        /// The table that was read.
        table: &'static str,
        /// The column that it should have.
        column: &'static str,
    },
    /// A column has another type than the table's.
    #[error("table {table}: the column `{column}` holds {actual}, expected {expected}")]
    ColumnType {
        /// The table that was read.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The type that the table gives it.
        expected: String,
        /// The type that was found.
        actual: String,
    },
    /// A value that may not be null is.
    #[error("table {table}: the column `{column}` is null in row {row}")]
    Null {
        /// The table that was read.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row of the batch.
        row: usize,
    },
    /// A value that the table does not allow.
    #[error("table {table}: the column `{column}` holds {value:?} in row {row}; {hint}")]
    Value {
        /// The table that was read.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row of the batch.
        row: usize,
        /// What was found.
        value: String,
        /// What is allowed.
        hint: &'static str,
    },
    /// Vectors of different widths in one batch.
    #[error("table {table}: row {row} has a vector of width {actual}, the rows before it {expected}")]
    Width {
        /// The table that was written.
        table: &'static str,
        /// The first row that differs.
        row: usize,
        /// The width of the first row.
        expected: usize,
        /// The width of this one.
        actual: usize,
    },
    /// Arrow refused to build or read the batch.
    #[error("Arrow: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
}

/// The tables of artifacts, in the order in which a run's digest takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// [`ClassEmbedding`]
    ClassEmbeddings,
    /// [`Feature`]
    Features,
    /// [`Outlier`]
    Outliers,
    /// [`Latent`]
    Latents,
    /// [`Image`]
    Images,
    /// [`Checkpoint`]
    Checkpoints,
    /// [`Score`]
    Scores,
    /// [`Metric`]
    Metrics,
}

impl Table {
    /// Every table of artifacts.
    pub const ALL: [Table; 8] = [
        Table::ClassEmbeddings,
        Table::Features,
        Table::Outliers,
        Table::Latents,
        Table::Images,
        Table::Checkpoints,
        Table::Scores,
        Table::Metrics,
    ];

    /// Returns the table's name in SQL, in exports and in the file.
    pub fn name(self) -> &'static str {
        match self {
            Table::ClassEmbeddings => "class_embeddings",
            Table::Features => "features",
            Table::Outliers => "outliers",
            Table::Latents => "latents",
            Table::Images => "images",
            Table::Checkpoints => "checkpoints",
            Table::Scores => "scores",
            Table::Metrics => "metrics",
        }
    }

    /// Returns the table of that name, if there is one.
    pub fn from_name(name: &str) -> Option<Table> {
        Table::ALL.into_iter().find(|t| t.name() == name)
    }

    /// Returns the schema of the table's blocks, for vectors of `width` numbers (ignored by tables without vectors).
    pub fn schema(self, width: usize) -> SchemaRef {
        match self {
            Table::ClassEmbeddings => ClassEmbedding::schema(width),
            Table::Features => Feature::schema(width),
            Table::Outliers => Outlier::schema(width),
            Table::Latents => Latent::schema(width),
            Table::Images => Image::schema(width),
            Table::Checkpoints => Checkpoint::schema(width),
            Table::Scores => Score::schema(width),
            Table::Metrics => Metric::schema(width),
        }
    }

    /// Says whether the table has a `vector` column.
    pub fn has_vectors(self) -> bool {
        matches!(self, Table::ClassEmbeddings | Table::Features | Table::Outliers)
    }

    /// Returns the columns that hold most of the table's bytes, in the order of its schema: what a query that does not
    /// select them must not read.
    pub fn wide(self) -> &'static [&'static str] {
        match self {
            Table::ClassEmbeddings | Table::Features | Table::Outliers => &["vector"],
            Table::Latents => &["data"],
            Table::Images => &["png"],
            Table::Checkpoints | Table::Scores | Table::Metrics => &[],
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A row of one of the tables of artifacts. Its key is (run, [`part`](Artifact::part), [`index`](Artifact::index)).
pub trait Artifact: Sized + Clone + Send + Sync {
    /// The table that the row belongs to.
    const TABLE: Table;

    /// Returns the class of the row, or 0 where the table has no classes.
    fn part(&self) -> u32;

    /// Returns the place of the row in its part.
    fn index(&self) -> u64;

    /// Returns the Arrow schema of rows whose vectors have `width` numbers.
    fn schema(width: usize) -> SchemaRef;

    /// Returns the rows as a record batch.
    ///
    /// # Errors
    /// If the vectors of the rows differ in width.
    fn to_batch(rows: &[Self]) -> Result<RecordBatch, SchemaError>;

    /// Returns the rows of a record batch; a `run` column is passed over.
    ///
    /// # Errors
    /// If a column is missing, of another type, or null where it may not be.
    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>, SchemaError>;
}

/// Returns `batch` with the column `run` put in front.
///
/// # Errors
/// If Arrow refuses the result, which it does not for a batch of one of our tables.
pub fn with_run(run: RunId, batch: &RecordBatch) -> Result<RecordBatch, SchemaError> {
    let column: ArrayRef = Arc::new(StringArray::from(vec![run.to_string(); batch.num_rows()]));
    let mut columns = vec![column];
    columns.extend(batch.columns().iter().cloned());
    Ok(RecordBatch::try_new(with_run_schema(&batch.schema()), columns)?)
}

/// Returns `schema` with the column `run` put in front.
pub fn with_run_schema(schema: &Schema) -> SchemaRef {
    let mut fields = vec![Arc::new(Field::new("run", DataType::Utf8, true))];
    fields.extend(schema.fields().iter().cloned());
    Arc::new(Schema::new(fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_columns_are_columns_of_their_table() {
        for table in Table::ALL {
            let schema = table.schema(4);
            let wide: Vec<_> = schema
                .fields()
                .iter()
                .map(|field| field.name().as_str())
                .collect();
            assert!(table.wide().iter().all(|column| wide.contains(column)), "{table}");
            assert_eq!(table.has_vectors(), table.wide().contains(&"vector"), "{table}");
        }
    }
}
