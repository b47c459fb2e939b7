//! From older formats to the newest.
//!
//! Of a store of format 2 the index entries are sealed, in one transaction. Of one of format 1 the rows are
//! copied, block after block in key order, into the tables of the new format, in transactions of a bounded
//! size; a mark in `meta` says how far they are. Until all are there and every run has been
//! compared with its copy, the store is one of format 1 as it was, also for older programs. Then one
//! transaction names the new format and drops the old tables. So an upgrade that was interrupted anywhere is
//! taken up where it was, and one that fails changes nothing.
//!
//! A program may write to the store between two attempts: a copy that is not as the store is then is begun
//! anew.

use std::collections::BTreeSet;

use arrow::compute::concat_batches;
use dream_schema::{RunId, SchemaError, Status, Table};

use super::face::{Readable, Viewed};
use super::format::Format;
use super::layout::{self, PAGE_OVERHEAD};
use super::view::{View, Writer};
use super::{BlockInfo, ProblemKind, Projection, Result, Store, StoreError, runs};

/// The key in `meta` of how far the copy is.
const MARK: &str = "upgrade";
/// A transaction copies about this many bytes.
const STEP: u64 = 64 << 20;

/// What an upgrade has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpgradePlan {
    /// The format of the store.
    pub from: u32,
    /// The format that it gets.
    pub to: u32,
    /// Bytes that are copied.
    pub bytes: u64,
    /// Bytes that the file needs beside what it has, until the old tables are dropped.
    pub room: u64,
}

/// What an upgrade did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upgraded {
    /// Number of runs, whose rows are what they were.
    pub runs: u64,
    /// Whether it took up one that was interrupted.
    pub resumed: bool,
}

impl Store {
    /// Returns what [`Store::upgrade`] has to do; none if the store is of the newest format.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn upgrade_plan(&self) -> Result<Option<UpgradePlan>> {
        let view = self.view()?;
        let format = view.format;
        if format == Format::NEWEST {
            return Ok(None);
        }
        let (mut bytes, mut room) = (0, 0);
        for strip in format.all_strips() {
            for (key, entry) in view.entries(strip, None, None)? {
                let length = match format {
                    Format::V1 => u64::from(entry.length),
                    Format::V2 | Format::V3 => Format::NEWEST.encode(&key, &entry).len() as u64,
                };
                bytes += length;
                room += (length + PAGE_OVERHEAD as u64).next_power_of_two();
            }
        }
        Ok(Some(UpgradePlan {
            from: format.version(),
            to: Format::NEWEST.version(),
            bytes,
            room,
        }))
    }

    /// Brings the store to the newest format. Every row is as it was, and so is the digest of every run.
    /// `progress` is told how much is done and how much there is to do.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if a row cannot be read, or the disk's error. The store is as it was then.
    pub fn upgrade(&mut self, progress: &mut dyn FnMut(u64, u64)) -> Result<Upgraded> {
        self.upgrade_by(STEP, progress)
    }

    /// Upgrades in transactions of about `step` bytes.
    pub(super) fn upgrade_by(&mut self, step: u64, progress: &mut dyn FnMut(u64, u64)) -> Result<Upgraded> {
        let Some(plan) = self.upgrade_plan()? else {
            return Ok(Upgraded::default());
        };
        if plan.from == Format::V2.version() {
            return self.seal(progress);
        }
        let mut upgrade = Upgrade {
            store: self,
            step,
            done: 0,
            // Copied, then compared.
            total: 2 * plan.bytes,
            progress,
        };
        let resumed = upgrade.mark()?.is_some();
        upgrade.copy()?;
        let changed = match upgrade.differing() {
            Ok(run) => run,
            // The copy of what has changed since may have gaps.
            Err(StoreError::Corrupt { run, .. }) if resumed => Some(run),
            Err(error) => return Err(error),
        };
        if let Some(run) = changed {
            if !resumed {
                return Err(StoreError::BadCopy { run });
            }
            upgrade.discard()?;
            return self.upgrade_by(step, progress);
        }
        upgrade.conclude()?;
        Ok(Upgraded {
            runs: self.runs()?.len() as u64,
            resumed,
        })
    }

    /// Brings a store of format 2 to the newest one, whose blocks are the same.
    fn seal(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Upgraded> {
        // An entry that was changed is not to be sealed as it is.
        let problems = self.verify(progress)?.problems.into_iter();
        let mut damages = problems.filter(|problem| problem.kind == ProblemKind::Damaged);
        if let Some(damage) = damages.next() {
            return Err(StoreError::Unsound {
                path: self.path.clone(),
                problem: damage.to_string(),
            });
        }
        let writer = self.writer(Format::NEWEST)?;
        writer.seal()?;
        writer.make_artifact_tables()?;
        writer.mark()?;
        writer.commit()?;
        Ok(Upgraded {
            runs: self.runs()?.len() as u64,
            resumed: false,
        })
    }
}

/// An upgrade in progress.
struct Upgrade<'a> {
    store: &'a Store,
    step: u64,
    done: u64,
    total: u64,
    progress: &'a mut dyn FnMut(u64, u64),
}

impl Upgrade<'_> {
    fn advance(&mut self, bytes: u64) {
        self.done += bytes;
        (self.progress)(self.done.min(self.total), self.total);
    }

    /// Returns the last block that was copied, if one was.
    fn mark(&self) -> Result<Option<String>> {
        let view = self.store.view()?;
        let meta = view.table(layout::META)?;
        Ok(meta.get(MARK)?.map(|mark| mark.value().to_owned()))
    }

    /// Copies the blocks that are not copied yet.
    fn copy(&mut self) -> Result<()> {
        let mark = self.mark()?;
        let mut blocks = self.blocks()?;
        if let Some(mark) = mark {
            let rest = blocks.partition_point(|(table, block)| name(*table, block) <= mark);
            let copied: u64 = blocks.drain(..rest).map(|(_, block)| block.bytes).sum();
            self.advance(copied);
        }
        let mut rest = blocks.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |(_, block): &&(Table, BlockInfo)| {
                bytes += block.bytes;
                bytes <= self.step
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let (step, after) = rest.split_at(count);
            self.copy_blocks(step)?;
            self.advance(step.iter().map(|(_, block)| block.bytes).sum());
            rest = after;
        }
        Ok(())
    }

    /// Returns the blocks of all runs, in the order in which they are copied.
    fn blocks(&self) -> Result<Vec<(Table, BlockInfo)>> {
        let view = self.store.view()?;
        let known = known(&view)?;
        let mut blocks = Vec::new();
        for table in Table::ALL {
            let infos = view.infos(table, None, None, &Projection::All)?.into_iter();
            // Rows without a record of their run are left behind, as `gc` would do.
            blocks.extend(
                infos
                    .filter(|info| known.contains(&info.run))
                    .map(|info| (table, info)),
            );
        }
        blocks.sort_by_key(|(table, block)| name(*table, block));
        Ok(blocks)
    }

    /// Copies some blocks and marks the last of them, in one transaction.
    fn copy_blocks(&self, blocks: &[(Table, BlockInfo)]) -> Result<()> {
        let view = self.store.view()?;
        let writer = self.store.writer(Format::NEWEST)?;
        let joined = |(a_table, a): &(Table, BlockInfo), (b_table, b): &(Table, BlockInfo)| {
            (a_table, a.run, a.part, a.end()) == (b_table, b.run, b.part, b.first)
        };
        for blocks in blocks.chunk_by(joined) {
            let read = |(table, block): &(Table, BlockInfo)| view.stretch(*table, block, &Projection::All);
            let rows = blocks.iter().map(read).collect::<Result<Vec<_>>>()?;
            if let (Some((table, block)), Some(head)) = (blocks.first(), rows.first()) {
                let rows = concat_batches(head.schema_ref(), &rows).map_err(SchemaError::Arrow)?;
                writer.insert(*table, block.run, block.part, block.first, &rows)?;
            }
        }
        if let Some((table, block)) = blocks.last() {
            let mark = name(*table, block);
            writer.put(layout::META, MARK, mark.as_str())?;
        }
        writer.commit()
    }

    /// Returns a run whose copy differs from it, if there is one.
    fn differing(&mut self) -> Result<Option<RunId>> {
        let old = self.store.view()?;
        let new = self.store.view_as(Format::NEWEST)?;
        let known = known(&old)?;
        for strip in Format::NEWEST.all_strips() {
            for (key, _) in new.entries(strip, None, None)? {
                let (run, _, _) = layout::unkey(&key);
                if !known.contains(&run) {
                    return Ok(Some(run));
                }
            }
        }
        for run in runs::all(&old)? {
            let digest = runs::digest(&new, run.id)?;
            let sealed = run.status == Status::Finished && run.digest.as_ref() == Some(&digest);
            // What was not finished, or not what it was finished with, is to be the same all the same.
            if !sealed && runs::digest(&old, run.id)? != digest {
                return Ok(Some(run.id));
            }
            let mut bytes = 0;
            for table in Table::ALL {
                let infos = old.infos(table, Some(run.id), None, &Projection::All)?;
                bytes += infos.iter().map(|info| info.bytes).sum::<u64>();
            }
            self.advance(bytes);
        }
        Ok(None)
    }

    /// Drops the copy.
    fn discard(&self) -> Result<()> {
        let writer = self.store.writer(Format::NEWEST)?;
        drop_copy(&writer)?;
        writer.commit()
    }

    /// Makes the copy the store.
    fn conclude(&self) -> Result<()> {
        let old = self.store.view()?.format;
        let writer = self.store.writer(Format::NEWEST)?;
        writer.make_artifact_tables()?;
        writer.drop_artifact_tables(old)?;
        writer.mark()?;
        writer.remove(layout::META, MARK)?;
        writer.commit()
    }
}

/// Returns the bytes of the copy that an upgrade left which was interrupted, if there is one.
pub(super) fn abandoned(view: &View<'_>) -> Result<Option<u64>> {
    if view.format == Format::NEWEST || view.table(layout::META)?.get(MARK)?.is_none() {
        return Ok(None);
    }
    let mut bytes = 0;
    for strip in Format::NEWEST.all_strips() {
        bytes += view.bytes_in(strip)?;
    }
    Ok(Some(bytes))
}

/// Drops the copy of an upgrade.
pub(super) fn drop_copy(writer: &Writer<'_>) -> Result<()> {
    writer.drop_artifact_tables(Format::NEWEST)?;
    writer.remove(layout::META, MARK)?;
    Ok(())
}

/// Returns the ids of the runs that there are records of.
fn known(view: &View<'_>) -> Result<BTreeSet<RunId>> {
    Ok(runs::all(view)?.into_iter().map(|run| run.id).collect())
}

/// Returns the name of a block in the mark. Names sort as tables by name and keys.
fn name(table: Table, block: &BlockInfo) -> String {
    let key = layout::key(block.run, block.part, block.first);
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{table}/{hex}")
}
