//! The rows of an answer, batch by batch.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::{QueryError, QueryOptions, Result};

/// The rows of an answer, batch by batch, read while one goes through them. Nothing is read ahead of it but a
/// block or two.
pub struct Rows {
    schema: SchemaRef,
    batches: Box<dyn Iterator<Item = Result<RecordBatch>> + Send>,
    cancelled: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl Rows {
    /// Takes batches of that schema.
    pub(super) fn new(
        schema: SchemaRef,
        options: &QueryOptions,
        batches: impl Iterator<Item = Result<RecordBatch>> + Send + 'static,
    ) -> Self {
        Self {
            schema,
            batches: Box::new(batches),
            cancelled: options.cancelled.clone(),
        }
    }

    /// Returns their schema, also where there are no rows.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        match (self.cancelled)() {
            true => Some(Err(QueryError::Interrupted)),
            false => self.batches.next(),
        }
    }
}
