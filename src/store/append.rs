//! Rows of one table of a run, in any number of pieces: committed now and then, and digested as they come, so
//! that sealing the run does not read them again.

use arrow::array::RecordBatch;
use dream_schema::digest::Digest;
use dream_schema::{Run, RunId, Table};

use super::view::Writer;
use super::write::{self, Place};
#[cfg(doc)]
use super::{Readable, StoreError};
use super::{Result, Store, repack, runs};

/// Bytes of rows that become durable together. A process that is killed loses no more.
const COMMITTED: usize = 256 << 20;

/// Rows of one table of a run in pieces, written in few transactions. No other writer gets its turn between
/// [`add`](Append::add) and the commit, which [`finish`](Append::finish) makes at the latest; dropped, it
/// leaves what it has committed so far.
#[must_use = "rows are kept by `finish`"]
pub struct Append<'a> {
    store: &'a Store,
    run: RunId,
    table: Table,
    writer: Option<Writer<'a>>,
    /// Bytes that are written and not committed.
    waiting: usize,
    /// As long as it can be told without reading the rows.
    digest: Option<Digest>,
    /// Rows so far, and where the last one is.
    rows: u64,
    last: Option<Place>,
}

impl Store {
    /// Begins to put rows of `table` into a run that has been begun.
    ///
    /// # Errors
    /// [`StoreError::UnknownRun`], [`StoreError::Finished`].
    pub fn append(&self, run: RunId, table: Table) -> Result<Append<'_>> {
        let writer = self.write()?;
        runs::require_open(&writer.view(), run)?;
        let empty = runs::rows(&writer.view(), run)? == 0;
        Ok(Append {
            store: self,
            run,
            table,
            writer: Some(writer),
            waiting: 0,
            digest: empty.then(Digest::new),
            rows: 0,
            last: None,
        })
    }
}

impl Append<'_> {
    /// Puts the next rows, of any parts; those that are stored already are passed over. In the order of their
    /// keys they cost least.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if a row differs from one of its key, [`StoreError::Width`] if its vector has
    /// another width than the run's, or the disk's error. Nothing since the last commit is stored then.
    pub fn add(&mut self, rows: &RecordBatch) -> Result<()> {
        let groups = write::groups(self.run, self.table, rows)?;
        for group in &groups {
            let last = group.first + (group.rows.num_rows() as u64 - 1);
            let place = (group.part, group.first);
            if self.last.is_some_and(|last| last >= place) {
                self.digest = None;
            }
            self.last = Some((group.part, last));
        }
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => self.store.write()?,
        };
        let (run, table) = (self.run, self.table);
        let digested = || match &mut self.digest {
            Some(digest) => groups
                .iter()
                .try_for_each(|group| digest.update(table, &group.rows)),
            None => Ok(()),
        };
        let put = || {
            let put = groups.iter().map(|group| write::put(&writer, run, group));
            put.sum::<Result<u64>>()
        };
        let (put, digested) = rayon::join(put, digested);
        digested?;
        self.rows += put?;
        self.waiting += rows.get_array_memory_size();
        if self.waiting < COMMITTED {
            self.writer = Some(writer);
        } else {
            self.waiting = 0;
            writer.commit()?;
        }
        Ok(())
    }

    /// Seals the run.
    ///
    /// # Errors
    /// As [`Store::finish`].
    pub fn finish(self, finished_at_micros: i64) -> Result<Run> {
        let writer = match self.writer {
            Some(writer) => writer,
            None => self.store.write()?,
        };
        let open = runs::require_open(&writer.view(), self.run)?;
        // Whatever else was put into the run meanwhile belongs to its digest.
        let alone = runs::rows(&writer.view(), self.run)? == self.rows;
        repack::repack(&writer, self.run)?;
        let digest = match self.digest.filter(|_| alone) {
            Some(digest) => digest.finish(),
            None => runs::digest(&writer.view(), self.run)?,
        };
        runs::seal(writer, open, digest, finished_at_micros)
    }
}
