//! What a question may take of the machine, and when it is to stop.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// What a question may take of the machine, and when it is to stop.
#[derive(Clone)]
pub struct QueryOptions {
    /// Bytes that sorting, grouping and joining may hold. Sorting and grouping put what goes beyond into
    /// files that are removed afterwards; what cannot go on without more fails with
    /// [`QueryError::Memory`](super::QueryError::Memory). What is read from the store and the rows that are
    /// handed out, a few batches at a time, come on top.
    pub memory: usize,
    /// The folder of those files; `None` for the system's folder of temporary files.
    pub spill: Option<PathBuf>,
    /// Says that the answer is no longer wanted: it then ends with
    /// [`QueryError::Interrupted`](super::QueryError::Interrupted).
    pub cancelled: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl Default for QueryOptions {
    /// 1 GiB, the system's folder, never cancelled.
    fn default() -> Self {
        Self {
            memory: 1 << 30,
            spill: None,
            cancelled: Arc::new(|| false),
        }
    }
}

impl fmt::Debug for QueryOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryOptions")
            .field("memory", &self.memory)
            .field("spill", &self.spill)
            .finish_non_exhaustive()
    }
}
