//! Reading: one face for the store, a snapshot of it, and a transaction that writes.

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use dream_schema::{Artifact, Dataset, Run, RunId, Table};

#[cfg(doc)]
use super::StoreError;
use super::format::Format;
use super::view::{View, Writer};
use super::{
    BlockInfo, Blocks, Projection, Result, Snapshot, Store, Tally, Usage, blob, dataset, gc, names, runs,
};

/// Something that shows one state of a store.
pub trait Viewed {
    /// Returns the state: of a store what is committed now, of a snapshot always the same.
    fn view(&self) -> Result<View<'_>>;

    /// Returns the states of the stores that it is laid over, the nearest first.
    fn beneath(&self) -> Result<Vec<View<'_>>> {
        Ok(Vec::new())
    }

    /// Returns the state that has a run: this one, or the first beneath it where it is finished.
    fn view_of(&self, run: RunId) -> Result<View<'_>> {
        let own = self.view()?;
        let beneath = self.beneath()?;
        if beneath.is_empty() || runs::is_there(&own, run)? {
            return Ok(own);
        }
        for view in beneath {
            if runs::finished(&view, run)?.is_some() {
                return Ok(view);
            }
        }
        Ok(own)
    }

    /// Returns the state that has bytes of an address: this one, or the first beneath it.
    fn view_with(&self, hash: &str) -> Result<View<'_>> {
        let own = self.view()?;
        let beneath = self.beneath()?;
        if beneath.is_empty() || blob::has(&own, hash)? {
            return Ok(own);
        }
        for view in beneath {
            if blob::has(&view, hash)? {
                return Ok(view);
            }
        }
        Ok(own)
    }
}

impl Viewed for Store {
    fn view(&self) -> Result<View<'_>> {
        View::own(&self.path, self.read()?)
    }

    fn beneath(&self) -> Result<Vec<View<'_>>> {
        self.beneath.iter().map(Viewed::view).collect()
    }
}

impl Store {
    /// Returns what is committed now, as a store of `format` has it.
    pub(super) fn view_as(&self, format: Format) -> Result<View<'_>> {
        Ok(self.view()?.read_as(format))
    }
}

impl Viewed for Snapshot {
    fn view(&self) -> Result<View<'_>> {
        Ok(View::of(self))
    }

    fn beneath(&self) -> Result<Vec<View<'_>>> {
        Ok(self.beneath.iter().map(View::of).collect())
    }
}

impl Viewed for Writer<'_> {
    fn view(&self) -> Result<View<'_>> {
        Ok(Writer::view(self))
    }
}

/// What can be asked of a store without changing it. Each question to a [`Store`] sees what is committed
/// then; several questions to one state need a [`Snapshot`].
///
/// # Errors
/// Every method fails if the disk does, and with [`StoreError::Corrupt`] or [`StoreError::CorruptRecord`] if
/// something is not as it was written.
pub trait Readable: Viewed {
    /// Returns all runs, in the order in which they were begun.
    fn runs(&self) -> Result<Vec<Run>> {
        let mut all = runs::all(&self.view()?)?;
        for view in self.beneath()? {
            runs::unite(&mut all, runs::all(&view)?);
        }
        Ok(all)
    }

    /// Says whether nothing is in it: no run, no name, nothing that is registered.
    fn is_empty(&self) -> Result<bool> {
        let (runs, damaged) = runs::legible(&self.view()?)?;
        let no_run = runs.is_empty() && damaged.is_empty();
        Ok(no_run && self.aliases()?.is_empty() && dataset::all(&self.view()?)?.is_empty())
    }

    /// Returns the runs, as far as their records can be read.
    fn legible_runs(&self) -> Result<runs::Legible> {
        let (mut runs, mut damaged) = runs::legible(&self.view()?)?;
        for view in self.beneath()? {
            let (more, illegible) = runs::legible(&view)?;
            runs::unite(&mut runs, more);
            damaged.extend(illegible);
        }
        Ok((runs, damaged))
    }

    /// Returns a run.
    ///
    /// # Errors
    /// [`StoreError::UnknownRun`].
    fn run(&self, run: RunId) -> Result<Run> {
        runs::find(&self.view_of(run)?, run)?.ok_or_else(|| runs::unknown(run))
    }

    /// Returns the runs that were made from `run`, directly or through others, in the order in which they
    /// were begun.
    fn dependents(&self, run: RunId) -> Result<Vec<RunId>> {
        Ok(runs::dependents(&self.runs()?, run))
    }

    /// Returns the run that `name` names: an alias, an id of 32 hex digits, or a prefix of one with 4 digits
    /// or more.
    ///
    /// # Errors
    /// [`StoreError::UnknownRun`], [`StoreError::AmbiguousRun`].
    fn resolve(&self, name: &str) -> Result<RunId> {
        names::resolve(&self.view()?, name)
    }

    /// Returns all aliases and their runs, by name.
    fn aliases(&self) -> Result<Vec<(String, RunId)>> {
        names::all(&self.view()?)
    }

    /// Returns the alias of a run, the first by name if it has several.
    fn alias_of(&self, run: RunId) -> Result<Option<String>> {
        let aliases = self.aliases()?;
        Ok(aliases.into_iter().find(|(_, r)| *r == run).map(|(name, _)| name))
    }

    /// Returns everything that is registered (image sets, models, state dicts), by name.
    fn datasets(&self) -> Result<Vec<Dataset>> {
        let mut all = dataset::all(&self.view()?)?;
        for view in self.beneath()? {
            let new = |set: &Dataset| all.iter().all(|known| known.name != set.name);
            let more: Vec<Dataset> = dataset::all(&view)?.into_iter().filter(new).collect();
            all.extend(more);
        }
        Ok(all)
    }

    /// Returns what is registered under a name.
    ///
    /// # Errors
    /// [`StoreError::UnknownDataset`].
    fn dataset(&self, name: &str) -> Result<Dataset> {
        let own = self.view()?;
        if let Some(set) = dataset::find(&own, name)? {
            return Ok(set);
        }
        for view in self.beneath()? {
            if let Some(set) = dataset::find(&view, name)? {
                return Ok(set);
            }
        }
        dataset::require(&own, name)
    }

    /// Returns where the rows of a table are, of one run or all, of one part or all, in key order, in
    /// stretches that are read with `columns` at little cost each.
    fn block_infos(
        &self,
        table: Table,
        run: Option<RunId>,
        part: Option<u32>,
        columns: &Projection,
    ) -> Result<Vec<BlockInfo>> {
        match run {
            Some(id) => self.view_of(id)?.infos(table, run, part, columns),
            None => self.view()?.infos(table, run, part, columns),
        }
    }

    /// Returns some rows of `table`, in the order of their indexes, without the column `run`.
    fn block(&self, table: Table, info: &BlockInfo, columns: &Projection) -> Result<RecordBatch> {
        self.view_of(info.run)?.stretch(table, info, columns)
    }

    /// Returns some rows of `table` as [`block`](Readable::block) does, and counts what was read for it.
    fn block_tallied(
        &self,
        table: Table,
        info: &BlockInfo,
        columns: &Projection,
        tally: &Tally,
    ) -> Result<RecordBatch> {
        self.view_of(info.run)?
            .tallied(tally)
            .stretch(table, info, columns)
    }

    /// Counts the blocks that reading some columns of these stretches takes, without reading them.
    fn cost(&self, table: Table, infos: &[BlockInfo], columns: &Projection) -> Result<Tally> {
        self.view()?.cost(table, infos, columns)
    }

    /// Returns the rows of a table (without the column `run`), of one run or all, of one part or all, in key
    /// order. Vectors of one run are equally wide; those of several runs need not be.
    fn blocks(
        &self,
        table: Table,
        run: Option<RunId>,
        part: Option<u32>,
        columns: &Projection,
    ) -> Result<Blocks<'_>> {
        let view = run.map_or_else(|| self.view(), |run| self.view_of(run))?;
        Blocks::new(view, table, run, part, columns)
    }

    /// Returns the rows of a run in one table, of one part or all, in key order.
    fn rows<A: Artifact>(&self, run: RunId, part: Option<u32>) -> Result<Vec<A>> {
        let mut rows = Vec::new();
        for item in self.blocks(A::TABLE, Some(run), part, &Projection::All)? {
            rows.extend(A::from_batch(&item?.1)?);
        }
        Ok(rows)
    }

    /// Returns the row at (run, part, index), if it is there.
    fn row<A: Artifact>(&self, run: RunId, part: u32, index: u64) -> Result<Option<A>> {
        let Some(batch) = self.row_batch(A::TABLE, run, part, index)? else {
            return Ok(None);
        };
        Ok(A::from_batch(&batch)?.into_iter().next())
    }

    /// Returns the row at (run, part, index) as a record batch, if it is there.
    fn row_batch(&self, table: Table, run: RunId, part: u32, index: u64) -> Result<Option<RecordBatch>> {
        self.view_of(run)?.row(table, run, part, index)
    }

    /// Returns the indexes that are stored of one part of a run.
    fn indices(&self, run: RunId, table: Table, part: u32) -> Result<BTreeSet<u64>> {
        let infos = self.keys(table, run, Some(part))?;
        Ok(infos.iter().flat_map(|info| info.first..info.end()).collect())
    }

    /// Returns the parts (classes) of which a run has rows, in order.
    fn parts(&self, run: RunId, table: Table) -> Result<Vec<u32>> {
        let infos = self.keys(table, run, None)?;
        let mut parts: Vec<_> = infos.iter().map(|info| info.part).collect();
        parts.dedup();
        Ok(parts)
    }

    /// Returns the number of rows that a run has in a table.
    fn count(&self, run: RunId, table: Table) -> Result<u64> {
        let infos = self.keys(table, run, None)?;
        Ok(infos.iter().map(|info| u64::from(info.rows)).sum())
    }

    /// Returns the width of a run's vectors in a table; none if it has no rows there, or the table no
    /// vectors.
    fn vector_width(&self, table: Table, run: RunId) -> Result<Option<usize>> {
        if !table.has_vectors() {
            return Ok(None);
        }
        self.view_of(run)?.width(table, run)
    }

    /// Returns the bytes of an address.
    ///
    /// # Errors
    /// [`StoreError::UnknownBlob`] if there are none, [`StoreError::CorruptBlob`] if they are not what was
    /// stored.
    fn blob(&self, hash: &str) -> Result<Vec<u8>> {
        blob::get(&self.view_with(hash)?, hash)
    }

    /// Says whether bytes of that address are stored.
    fn has_blob(&self, hash: &str) -> Result<bool> {
        blob::has(&self.view_with(hash)?, hash)
    }

    /// Returns what takes up space.
    fn usage(&self) -> Result<Usage> {
        gc::usage(&self.view()?)
    }

    #[doc(hidden)]
    fn keys(&self, table: Table, run: RunId, part: Option<u32>) -> Result<Vec<BlockInfo>> {
        self.block_infos(table, Some(run), part, &Projection::Only(Vec::new()))
    }
}

impl<T: Viewed> Readable for T {}
