//! Writing several tables and blobs at once.

use dream_schema::{Artifact, RunId, Table};

#[cfg(doc)]
use super::StoreError;
use super::write::{self, Group};
use super::{Result, Store, blob, runs};

/// Rows and blobs that become durable together, or not at all.
///
/// ```no_run
/// # use dream_ood::store::{Store, StoreError};
/// # use dream_schema::{Image, Latent, RunId};
/// # fn f(store: &Store, run: RunId, rows: &[Latent], images: &[Image]) -> Result<(), StoreError> {
/// store.batch(run).add(rows)?.add(images)?.commit()?;
/// # Ok(()) }
/// ```
#[must_use = "a batch does nothing until `commit` is called"]
pub struct Batch<'a> {
    store: &'a Store,
    run: RunId,
    groups: Vec<Group>,
    blobs: Vec<(blake3::Hash, Vec<u8>)>,
}

impl Store {
    /// Starts a batch of rows of `run`.
    pub fn batch(&self, run: RunId) -> Batch<'_> {
        Batch {
            store: self,
            run,
            groups: Vec::new(),
            blobs: Vec::new(),
        }
    }

    /// Puts rows, in any order and of any parts, in one durable transaction.
    ///
    /// # Errors
    /// As [`Batch::add`] and [`Batch::commit`].
    pub fn put<A: Artifact>(&self, run: RunId, rows: &[A]) -> Result<()> {
        self.batch(run).add(rows)?.commit()
    }
}

impl Batch<'_> {
    /// Adds rows, in any order and of any parts.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if two of the rows have the same key and differ, [`StoreError::Schema`] if
    /// their vectors differ in width.
    pub fn add<A: Artifact>(&mut self, rows: &[A]) -> Result<&mut Self> {
        self.groups
            .extend(write::groups(self.run, A::TABLE, &A::to_batch(rows)?)?);
        Ok(self)
    }

    /// Adds bytes and returns their address, the BLAKE3 in hex.
    pub fn blob(&mut self, bytes: impl Into<Vec<u8>>) -> String {
        let bytes = bytes.into();
        let hash = blake3::hash(&bytes);
        self.blobs.push((hash, bytes));
        hash.to_hex().to_string()
    }

    /// Writes everything that was added. Rows that are stored already are passed over.
    ///
    /// # Errors
    /// [`StoreError::UnknownRun`], [`StoreError::Finished`], [`StoreError::Conflict`] if a stored row
    /// differs, [`StoreError::Width`] if the run's vectors have another width, [`StoreError::UnknownBlob`] if
    /// a checkpoint names bytes that are not there, or the disk's error. Nothing is written then.
    pub fn commit(&mut self) -> Result<()> {
        let writer = self.store.write()?;
        runs::require_open(&writer.view(), self.run)?;
        for (hash, bytes) in &self.blobs {
            blob::put(&writer, hash, bytes)?;
        }
        for group in &self.groups {
            if group.table == Table::Checkpoints {
                for name in blob::names(&group.rows) {
                    blob::require(&writer.view(), &name)?;
                }
            }
            write::put(&writer, self.run, group)?;
        }
        writer.commit()?;
        self.groups.clear();
        self.blobs.clear();
        Ok(())
    }
}
