//! The rows of an answer, batch by batch.

use std::collections::BTreeSet;
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
    ids: BTreeSet<String>,
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
            ids: BTreeSet::new(),
        }
    }

    /// Sets the texts that were compared with ids of runs.
    #[cfg(feature = "sql")]
    pub(super) fn with_ids(self, ids: BTreeSet<String>) -> Self {
        Self { ids, ..self }
    }

    /// Returns their schema, also where there are no rows.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Returns the texts that a query in SQL compares for equality with ids of runs, in any of its
    /// conditions: one that is no whole id is equal to none.
    pub fn compared_ids(&self) -> &BTreeSet<String> {
        &self.ids
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
