//! Several readings of one and the same state.

use std::path::PathBuf;
use std::sync::Arc;

use super::block::Kept;
use super::format::Format;
use super::{Result, Store};

/// The store as it was committed when the snapshot was taken; [`Readable`](super::Readable) asks it. What is
/// written afterwards is not seen; the pages that it needs are kept until it is dropped.
pub struct Snapshot {
    pub(super) path: PathBuf,
    pub(super) format: Format,
    pub(super) transaction: redb::ReadTransaction,
    pub(super) kept: Arc<Kept>,
    pub(super) beneath: Vec<Snapshot>,
}

impl Store {
    /// Returns the store as it is committed now, with those that it is laid over.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn snapshot(&self) -> Result<Snapshot> {
        let transaction = self.read()?;
        Ok(Snapshot {
            path: self.path.clone(),
            format: Format::of(&self.path, &transaction)?,
            transaction,
            kept: Arc::default(),
            beneath: self.beneath.iter().map(Store::snapshot).collect::<Result<_>>()?,
        })
    }
}
