//! The rows of an answer, batch by batch.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::Result;

/// The rows of an answer, batch by batch, read while one goes through them. Nothing is read ahead of it but a
/// block or two.
pub struct Rows {
    schema: SchemaRef,
    batches: Box<dyn Iterator<Item = Result<RecordBatch>> + Send>,
}

impl Rows {
    /// Takes batches of that schema.
    pub(super) fn new(
        schema: SchemaRef,
        batches: impl Iterator<Item = Result<RecordBatch>> + Send + 'static,
    ) -> Self {
        let batches = Box::new(batches);
        Self { schema, batches }
    }

    /// Returns their schema, also where there are no rows.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batches.next()
    }
}
