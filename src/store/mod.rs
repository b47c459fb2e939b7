//! The artifact store: one redb file that holds runs, their rows, and large bytes.
//!
//! # Layout
//!
//! These tables are the same in every format version:
//!
//! | redb table | key | value |
//! |-|-|-|
//! | `meta` | `magic`, `version`, `features`; from format 3 on `tables`: the names of all others | text |
//! | `runs` | run id, 16 bytes | JSON of [`Run`](dream_schema::Run) |
//! | `aliases` | name | run id, 16 bytes |
//! | `datasets` | name | JSON of [`Dataset`](dream_schema::Dataset) |
//! | `blob_info` | BLAKE3, 32 bytes | length (u64) |
//! | `blobs` | BLAKE3, number of the chunk (u32) | just under 1 MiB, the last one less |
//!
//! Rows are kept by columns. A **strip** is some of a table's columns, a **block** those of consecutive rows
//! of one run and one part. A strip has two redb tables, its index and its blocks, both with the key (run,
//! part as u32, first index as u64), big-endian: 28 bytes. An index entry says how many rows a block has, how
//! wide the table's vectors are, how long the block is (u32 each), and its BLAKE3: 44 bytes. The first strip
//! of a table says which rows there are.
//!
//! | format | strips of a table | redb tables | a block |
//! |-|-|-|-|
//! | 1 | all columns | `TABLE/index`, `TABLE/blocks` | an Arrow IPC stream of one record batch |
//! | 2 | narrow columns | `TABLE/narrow/index`, `TABLE/narrow/blocks` | constants and the rest, see below |
//! | | wide ones: `vector`, `data`, `png` | `TABLE/wide/index`, `TABLE/wide/blocks` | as in format 1 |
//! | 3 | as in format 2 | as in format 2 | as in format 2 |
//!
//! New stores have format 3. Older ones are read and written as what they are forever, or until
//! [`Store::upgrade`].
//!
//! Blocks of a strip never overlap; small ones are joined when their run is finished. redb rounds a value
//! up to a power of two and reads it whole, so blocks and chunks are cut to fill one, at most 1 MiB. From
//! format 2 on only wide blocks and those of tables without wide columns are cut so: the narrow columns of
//! a table that has wide ones take so little that a block holds as many rows as fit into 1 MiB, most often
//! a whole class. So a question that needs no vectors, tensors or pictures reads few and small blocks and
//! none of the wide ones; what is in both is put together by ranges of rows. In a narrow block a column
//! whose values are all the same is written once, and `index` not at all where it counts up from the key
//! (`format/v2.rs`). A narrow index entry ends with a byte 1 and the name of the class if all rows of the
//! block have one, so blocks of other classes need not be read.
//!
//! What can be answered without rows (which indexes are there, how many, how wide) is answered from an index,
//! which is small. redb does not checksum what it reads: an index entry carries the BLAKE3 of its block, and
//! every read compares it, so a flipped bit or a block under the wrong key is found. In format 3 an entry
//! carries one of itself too (`format/v3.rs`), and a table that `meta` names and the file has not is damage.
//! The digest of a run is
//! over its rows in the order of the schema, so it is the same in every format.
//!
//! # Order of effects
//!
//! A [`Batch`] (and every other writing method) is one transaction: after an error or a crash all of it is
//! there or none. Within a batch bytes are written before the checkpoint that names them, and a checkpoint
//! whose blob is missing is refused; wide blocks come before narrow ones, and a block before its index entry.
//! Commits are durable when the call returns. redb's two-phase commit with *quick repair* is on: the
//! allocator's state is saved with every commit, so that a store left by a killed process opens at once
//! instead of being scanned (measured with 1,000 blocks of 1 MiB: 10 to 14 ms against 2.2 s; the price on a
//! commit is lost in the disk's own variation).
//!
//! An upgrade from format 1 copies everything in many transactions, compares it, and only then names the new
//! format and drops the old tables, in one transaction; one from format 2 is a transaction.
//!
//! # Processes and threads
//!
//! One process writes; any number may read at the same time and follow its commits. A second writer is told
//! that the store is held ([`StoreError::Locked`]). A [`Store`] is used by reference from any number of
//! threads; writers wait for each other. [`Readable`] is what can be asked: of a store, of a [`Snapshot`] of
//! it, and within a transaction.
//!
//! # Tables that are missing
//!
//! A store that was made before the program knew a table reads as if that were empty; opening the store for
//! writing makes it.
//!
//! # Runs
//!
//! A run is named by what it asks for. [`Store::begin`] returns a finished one as it is, takes an interrupted
//! or failed one up again, begins a partial one anew (`partial.rs`), or enters a new one. Rows are put in
//! any order; the same row twice is harmless, another row under the same key is [`StoreError::Conflict`].
//! [`Store::finish`] seals the run with a digest over all its rows, and it never changes again.

mod ahead;
mod append;
mod aside;
mod batch;
mod blob;
mod block;
mod dataset;
mod detached;
mod error;
mod face;
mod format;
mod gc;
mod guard;
mod head;
mod layout;
mod merge;
mod names;
mod open;
pub(crate) mod outside;
mod pack;
mod pages;
mod partial;
mod problem;
mod recover;
mod remove;
mod repack;
mod repair;
mod runs;
mod salvage;
mod snapshot;
mod upgrade;
mod verify;
mod view;
mod write;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use append::Append;
pub use batch::Batch;
pub use block::{BlockInfo, Blocks, Projection, Tally};
pub use error::StoreError;
pub use face::Readable;
pub use gc::{Collected, TableUsage, Usage};
pub use merge::{MergeOptions, Merged};
pub use names::{RESERVED, check_alias, check_name};
pub use problem::{BlockPlace, Place, Problem, ProblemKind};
pub use recover::{LostRun, Recovered};
pub use remove::Removal;
pub use repair::{Fix, RepairOptions, Repaired};
pub use runs::{Begun, Legible, Stamp};
pub use snapshot::Snapshot;
pub use upgrade::{UpgradePlan, Upgraded};
pub use verify::Verification;

pub(crate) use ahead::Ahead;
use error::At;
use face::Viewed;
use format::Format;
use view::Writer;

/// The result of a store's methods.
pub type Result<T> = std::result::Result<T, StoreError>;

/// How the file is open.
enum Base {
    Write(redb::Database),
    Read(redb::ReadOnlyDatabase),
}

/// An open store.
pub struct Store {
    path: PathBuf,
    base: Base,
    /// What is read that is not here, the nearest first.
    beneath: Vec<Store>,
}

impl Store {
    /// Returns the path that the store was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Says whether the store was opened for reading only.
    pub fn is_read_only(&self) -> bool {
        matches!(self.base, Base::Read(_))
    }

    /// Lays the store over others: runs, rows, blobs and data sets that are not here are read there, in the
    /// first that has them. What is written is written here. So a process that works on one part of a job
    /// keeps what it makes in a file of its own, and copies nothing of what it reads; [`Store::merge`] brings
    /// the files together. Names, and what takes up space, are those of this store alone.
    pub fn over(mut self, beneath: Vec<Store>) -> Self {
        self.beneath = beneath;
        self
    }

    /// Begins a read transaction: a snapshot of what is committed now.
    fn read(&self) -> Result<redb::ReadTransaction> {
        use redb::ReadableDatabase;
        guard::guard(&self.path, || match &self.base {
            Base::Write(database) => database.begin_read().at(&self.path),
            Base::Read(database) => database.begin_read().at(&self.path),
        })
    }

    /// Begins a write transaction; waits for the one in progress, if there is one.
    fn write(&self) -> Result<Writer<'_>> {
        // Only one process writes, and it changes the format only while nothing else in it has the store.
        let format = self.view()?.format;
        self.writer(format)
    }

    /// Begins a write transaction on a store of `format`.
    fn writer(&self, format: Format) -> Result<Writer<'_>> {
        match &self.base {
            Base::Write(database) => {
                let mut transaction = database.begin_write().at(&self.path)?;
                transaction.set_quick_repair(true);
                Ok(Writer::new(&self.path, format, transaction))
            }
            Base::Read(_) => Err(StoreError::ReadOnly {
                path: self.path.clone(),
            }),
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("path", &self.path)
            .field("read_only", &self.is_read_only())
            .finish()
    }
}
