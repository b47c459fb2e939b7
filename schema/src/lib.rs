//! What a `dream-ood` store holds: one file per kind of artifact, with the declaration of its table.
//!
//! A **run** is one execution of one stage ([`run`]). What it writes are **artifacts**: rows keyed (run,
//! part, index), where the part is the class for everything that belongs to one and 0 for the rest
//! ([`Artifact`]). Rows travel as Arrow record batches in which the run is left out, because a block of the
//! store belongs to one run; readers put the column in front ([`with_run`]). The digest of a run is taken
//! over its rows in key order ([`digest`]), so it does not depend on how they were cut into blocks.
//!
//! A table is declared once, with `table!`: from that come the row type, the Arrow schema, the conversions
//! between the two and all that is asked of the [`Table`]. A new table is a file with its declaration and a
//! line in `tables!`; a new column of a table that is in use is a line with the value that older rows have.

pub mod activation;
pub mod checkpoint;
pub mod class_embedding;
pub mod columns;
pub mod dataset;
mod declaration;
pub mod digest;
mod error;
pub mod feature;
pub mod image;
pub mod latent;
pub mod metric;
pub mod outlier;
pub mod rating;
mod record;
pub mod run;
pub mod score;
mod table;
#[cfg(test)]
mod tests;
pub mod value;
mod words;

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

pub use activation::Activation;
pub use checkpoint::Checkpoint;
pub use class_embedding::ClassEmbedding;
pub use dataset::{Dataset, SkippedImage};
pub use declaration::{Column, Declaration};
pub use error::SchemaError;
pub use feature::Feature;
pub use image::Image;
pub use latent::Latent;
pub use metric::Metric;
pub use outlier::{Outlier, OutlierKind};
pub use rating::Rating;
pub use record::Record;
pub use run::{Process, Run, RunId, RunInput, RunSpec, Status};
pub use score::Score;

use table::tables;

tables! {
    ClassEmbeddings: ClassEmbedding,
    Features: Feature,
    Outliers: Outlier,
    Latents: Latent,
    Images: Image,
    Checkpoints: Checkpoint,
    Scores: Score,
    Metrics: Metric,
    Activations: Activation,
    Ratings: Rating,
}

impl Table {
    /// Returns the table's name in SQL, in exports and in the file.
    pub fn name(self) -> &'static str {
        self.declaration().name
    }

    /// Returns the table of that name, if there is one.
    pub fn from_name(name: &str) -> Option<Table> {
        Table::ALL.into_iter().find(|t| t.name() == name)
    }

    /// Returns the schema of the table's blocks, for vectors of `width` numbers (ignored by tables without
    /// vectors).
    pub fn schema(self, width: usize) -> SchemaRef {
        self.declaration().schema(width)
    }

    /// Says whether the table has a `vector` column.
    pub fn has_vectors(self) -> bool {
        self.wide().contains(&"vector")
    }

    /// Says whether the table's rows are kept by class, so that those of a class are found without reading
    /// the others.
    pub fn by_class(self) -> bool {
        self.declaration().by_class
    }

    /// Returns the columns that hold most of the table's bytes, in the order of its schema: what a query that
    /// does not select them must not read.
    pub fn wide(self) -> &'static [&'static str] {
        self.declaration().wide
    }

    /// Returns the names of the tables that have vectors, for the words of a refusal.
    pub fn names_with_vectors() -> String {
        let names = Table::ALL
            .into_iter()
            .filter(|table| table.has_vectors())
            .map(Table::name);
        names.collect::<Vec<_>>().join(", ")
    }
}

/// Something that is done with the row type of a table which is known only when the program runs.
pub trait TableVisitor {
    /// What comes of it.
    type Output;

    /// Does it for the rows `A`.
    fn visit<A: Artifact>(self) -> Self::Output;
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A row of one of the tables of artifacts. Its key is (run, [`part`](Artifact::part),
/// [`index`](Artifact::index)).
pub trait Artifact: Sized + Clone + Send + Sync {
    /// The table that the row belongs to.
    const TABLE: Table;

    /// What was declared of the table.
    const DECLARATION: &'static Declaration;

    /// Returns the class of the row, or 0 where the table has no classes.
    fn part(&self) -> u32;

    /// Returns the place of the row in its part.
    fn index(&self) -> u64;

    /// Returns the Arrow schema of rows whose vectors have `width` numbers.
    fn schema(width: usize) -> SchemaRef {
        Self::DECLARATION.schema(width)
    }

    /// Returns the rows as a record batch.
    ///
    /// # Errors
    /// If the vectors of the rows differ in width.
    fn to_batch(rows: &[Self]) -> Result<RecordBatch, SchemaError>;

    /// Returns the rows of a record batch; a `run` column is passed over.
    ///
    /// # Errors
    /// If a column is missing that was always there, or one is of another type, or null where it may not be.
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
