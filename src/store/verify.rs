//! Reading everything and comparing it with what was written.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::AsArray as _;
use dream_schema::digest::Digest;
use dream_schema::{Run, RunId, Status, Table};

use super::face::Viewed;
use super::format::Strip;
use super::guard::guard;
use super::layout::Key;
use super::open::{lost_table, lost_tables, unknown_table};
use super::pages::MISSING;
use super::problem::{BlockPlace, Place, Problem, ProblemKind};
use super::view::View;
use super::{BlockInfo, Projection, Result, Store, StoreError, blob, dataset, gc, layout, names, runs};
use crate::error::{HasKind, Kind};

/// What [`Store::verify`] read and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// Number of runs.
    pub runs: u64,
    /// Number of blocks.
    pub blocks: u64,
    /// Number of rows.
    pub rows: u64,
    /// Number of blobs.
    pub blobs: u64,
    /// Bytes of blocks and blobs.
    pub bytes: u64,
    /// What is wrong; empty for a sound store.
    pub problems: Vec<Problem>,
}

/// The state of a verification.
struct Verifier<'a> {
    view: View<'a>,
    total: u64,
    progress: &'a mut dyn FnMut(u64, u64),
    found: Verification,
    digests: BTreeMap<RunId, Digest>,
    named_blobs: BTreeMap<String, BTreeSet<RunId>>,
}

impl Store {
    /// Reads every run, block and blob and checks it: bytes against their BLAKE3, rows against their keys,
    /// finished runs against their digest, ids against what was asked for, that everything that is named is
    /// there, and redb's own pages against its checksums. `progress` is told the bytes read and the bytes in
    /// all.
    ///
    /// # Errors
    /// If the disk fails. What is wrong with the file's contents is in the result.
    pub fn verify(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Verification> {
        let lost = guard(&self.path, || {
            let transaction = self.read()?;
            let lost = lost_tables(&self.path, &transaction)?;
            // What is lost may be there under a name that was changed.
            if lost.is_empty() {
                unknown_table(&self.path, &transaction)?;
            }
            Ok(lost)
        })?;
        let view = self.view()?;
        let bytes = |usage: gc::Usage| usage.blob_bytes + usage.tables.iter().map(|t| t.bytes).sum::<u64>();
        // Where it cannot be read, this is found below.
        let total = gc::usage(&view).map_or(0, bytes);
        let mut verifier = Verifier {
            view,
            total,
            progress,
            found: Verification::default(),
            digests: BTreeMap::new(),
            named_blobs: BTreeMap::new(),
        };
        for name in lost {
            verifier.or_pages::<()>(Err(lost_table(&self.path, &name)))?;
        }
        for strip in verifier.view.format.all_strips() {
            for run in verifier.runs_in(strip)? {
                let checked = verifier.index(strip, run);
                verifier.or_pages(checked)?;
            }
            let checked = verifier.strays(strip);
            verifier.or_pages(checked)?;
        }
        for table in Table::ALL {
            for run in verifier.runs_in(verifier.view.format.keys(table))? {
                let checked = verifier.rows(table, run);
                verifier.or_pages(checked)?;
            }
        }
        let known = verifier.records();
        let known = verifier.or_pages(known)?.unwrap_or_default();
        let checked = verifier.runs(&known);
        verifier.or_pages(checked)?;
        let checked = verifier.names(&known);
        verifier.or_pages(checked)?;
        let checked = verifier.blobs();
        verifier.or_pages(checked)?;
        // Where nothing else tells what is damaged. A store in memory has no file.
        if verifier.found.problems.is_empty() && self.path.is_file() {
            let whole = super::aside::pages_are_whole(&self.path);
            if verifier.or_pages(whole)? == Some(false) {
                let reason = "redb's checksums of them differ; the next write may overwrite what is whole";
                verifier.problem(Place::Pages, ProblemKind::Damaged, reason);
            }
        }
        Ok(verifier.found)
    }
}

impl Verifier<'_> {
    fn problem(&mut self, place: Place, kind: ProblemKind, reason: impl ToString) {
        let problem = Problem {
            place,
            kind,
            reason: reason.to_string(),
        };
        // A block that several stretches of rows need is one problem.
        if !self.found.problems.contains(&problem) {
            self.found.problems.push(problem);
        }
    }

    /// Takes pages that cannot be followed for a problem, and goes on with the rest.
    fn or_pages<T>(&mut self, checked: Result<T>) -> Result<Option<T>> {
        match checked {
            Ok(checked) => Ok(Some(checked)),
            Err(StoreError::Damaged { reason, .. }) => {
                self.problem(Place::Pages, ProblemKind::Damaged, reason);
                Ok(None)
            }
            Err(StoreError::Corrupt {
                table,
                run,
                part,
                index,
                reason,
                ..
            }) => {
                let place = Place::Block(BlockPlace {
                    table,
                    run,
                    part,
                    index,
                    rows: None,
                    class_name: None,
                });
                self.problem(place, ProblemKind::Damaged, reason);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn runs_in(&mut self, strip: Strip) -> Result<BTreeSet<RunId>> {
        let runs = self.view.runs_in(strip);
        Ok(self.or_pages(runs)?.unwrap_or_default())
    }

    fn block(
        &mut self,
        strip: Strip,
        key: &Key,
        rows: Option<u32>,
        kind: ProblemKind,
        reason: impl ToString,
    ) {
        let (run, part, index) = layout::unkey(key);
        let keys = self.view.format.keys(strip.table);
        let end = index.saturating_add(1);
        // What the narrow columns say of the class, where they can be read.
        let narrow = self.view.overlapping(keys, (run, part), (index, end));
        let class_name = narrow.ok().and_then(|found| found.first()?.1.class_name.clone());
        let place = Place::Block(BlockPlace {
            table: strip.table,
            run,
            part,
            index,
            rows,
            class_name: class_name.map(|name| name.to_string()),
        });
        self.problem(place, kind, reason);
    }

    fn read(&mut self, bytes: u64) {
        self.found.bytes += bytes;
        (self.progress)(self.found.bytes, self.total);
    }

    /// Checks that the blocks of a strip are disjoint, and that their rows are known.
    fn index(&mut self, strip: Strip, run: RunId) -> Result<()> {
        let counts_rows = strip == self.view.format.keys(strip.table);
        let mut end = None; // (part, index after the last row)
        for (key, entry) in self.view.entries(strip, Some(run), None)? {
            let (_, part, first) = layout::unkey(&key);
            let rows = Some(entry.rows);
            self.found.blocks += 1;
            self.found.rows += if counts_rows { u64::from(entry.rows) } else { 0 };
            if end.is_some_and(|end| (part, first) < end) {
                let overlaps = "it overlaps the block before it";
                self.block(strip, &key, rows, ProblemKind::Damaged, overlaps);
            }
            let stop = first.saturating_add(u64::from(entry.rows));
            end = Some((part, stop));
            let keys = self.view.format.keys(strip.table);
            if !counts_rows && !self.view.has_rows(keys, (run, part), (first, stop))? {
                let unknown = "its rows have no narrow columns, so it is not read";
                self.block(strip, &key, rows, ProblemKind::Stray, unknown);
            }
        }
        Ok(())
    }

    /// Looks for blocks that are not in the index.
    fn strays(&mut self, strip: Strip) -> Result<()> {
        for key in self.view.strays(strip)? {
            let stray = "it is not in the index, so it is not read";
            self.block(strip, &key, None, ProblemKind::Stray, stray);
        }
        Ok(())
    }

    /// Reads all rows of a run in a table.
    fn rows(&mut self, table: Table, run: RunId) -> Result<()> {
        for info in self.view.infos(table, Some(run), None, &Projection::All)? {
            let batch = match self.view.stretch(table, &info, &Projection::All) {
                Ok(batch) => batch,
                Err(error) if HasKind::kind(&error) == Kind::Corrupt => {
                    self.unreadable(table, &info, error)?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            // No digest covers what the index says of the class: queries go by it.
            if let Some(name) = &info.class_name {
                let own = batch
                    .column_by_name("class_name")
                    .and_then(|own| own.as_string_opt::<i32>());
                let other = own
                    .into_iter()
                    .flatten()
                    .flatten()
                    .find(|own| *own != name.as_ref());
                if let Some(other) = other {
                    let reason = format!("the index says that its class is `{name}`, and its rows `{other}`");
                    let key = layout::key(info.run, info.part, info.first);
                    let keys = self.view.format.keys(table);
                    self.block(keys, &key, Some(info.rows), ProblemKind::Damaged, reason);
                }
            }
            self.digests.entry(info.run).or_default().update(table, &batch)?;
            if table == Table::Checkpoints {
                for name in blob::names(&batch) {
                    self.named_blobs.entry(name).or_default().insert(info.run);
                }
            }
            self.read(info.bytes);
        }
        Ok(())
    }

    /// Says which blocks of rows that cannot be read are not as they were written.
    fn unreadable(&mut self, table: Table, info: &BlockInfo, error: StoreError) -> Result<()> {
        let place = (info.run, info.part);
        let mut named = false;
        for strip in self.view.format.strips(table) {
            let mut next = info.first;
            for (key, entry) in self.view.overlapping(strip, place, (info.first, info.end()))? {
                let (_, _, first) = layout::unkey(&key);
                if first > next {
                    named = true;
                    self.lost(strip, info, (next, first));
                }
                next = first.saturating_add(u64::from(entry.rows));
                let (kind, reason) = match self.view.read(strip, &key, &entry) {
                    Ok(_) => continue,
                    Err(StoreError::Corrupt { reason, .. }) if reason == MISSING => {
                        (ProblemKind::Missing, reason)
                    }
                    Err(StoreError::Corrupt { reason, .. }) => (ProblemKind::Damaged, reason),
                    Err(other) => (ProblemKind::Damaged, other.to_string()),
                };
                named = true;
                self.block(strip, &key, Some(entry.rows), kind, reason);
            }
            if next < info.end() {
                named = true;
                self.lost(strip, info, (next, info.end()));
            }
        }
        if !named {
            let keys = self.view.format.keys(table);
            let key = layout::key(info.run, info.part, info.first);
            self.block(keys, &key, Some(info.rows), ProblemKind::Damaged, error);
        }
        Ok(())
    }

    /// Notes rows that a strip does not have.
    fn lost(&mut self, strip: Strip, info: &BlockInfo, (first, end): (u64, u64)) {
        let key = layout::key(info.run, info.part, first);
        let rows = u32::try_from(end - first).ok();
        self.block(strip, &key, rows, ProblemKind::Missing, MISSING);
    }

    /// Returns the records of runs that can be read.
    fn records(&mut self) -> Result<BTreeMap<RunId, Run>> {
        let (known, damaged) = runs::legible(&self.view)?;
        self.found.runs = (known.len() + damaged.len()) as u64;
        for (id, reason) in damaged {
            let reason = format!("its record cannot be read: {reason}");
            self.problem(Place::Run(id), ProblemKind::Damaged, reason);
            // Its rows are not without a record.
            self.digests.remove(&id);
        }
        Ok(known.into_iter().map(|run| (run.id, run)).collect())
    }

    fn runs(&mut self, known: &BTreeMap<RunId, Run>) -> Result<()> {
        for (id, run) in known {
            for input in &run.spec.inputs {
                if known.get(&input.run).and_then(|run| run.digest.as_ref()) != Some(&input.digest) {
                    let reason = format!(
                        "its input `{}` ({}) is missing or has another digest",
                        input.role, input.run
                    );
                    self.problem(Place::Run(*id), ProblemKind::Input, reason);
                }
            }
            let digest = self.digests.remove(id).unwrap_or_default().finish();
            if run.status == Status::Partial {
                let rows = runs::rows(&self.view, *id)?;
                let reason = format!("rows of it were lost, {rows} are there");
                self.problem(Place::Run(*id), ProblemKind::Missing, reason);
            }
            if run.status == Status::Finished && run.digest.as_ref() != Some(&digest) {
                let reason = format!(
                    "its rows have the digest {digest}, expected {}",
                    run.digest.as_deref().unwrap_or("one")
                );
                self.problem(Place::Run(*id), ProblemKind::Digest, reason);
            }
        }
        for id in std::mem::take(&mut self.digests).into_keys() {
            self.problem(Place::Run(id), ProblemKind::Stray, "there are rows but no record");
        }
        Ok(())
    }

    /// Checks aliases and what is registered.
    fn names(&mut self, known: &BTreeMap<RunId, Run>) -> Result<()> {
        for (name, run) in names::all(&self.view)? {
            if !runs::is_there(&self.view, run)? && !known.contains_key(&run) {
                let reason = format!("it names the run {run}, which is not there");
                self.problem(Place::Alias(name), ProblemKind::Missing, reason);
            }
        }
        for (name, reason) in dataset::illegible(&self.view)? {
            self.problem(Place::Dataset(name), ProblemKind::Damaged, reason);
        }
        Ok(())
    }

    fn blobs(&mut self) -> Result<()> {
        for (hash, size) in blob::all(&self.view)? {
            self.found.blobs += 1;
            let name = hash.to_hex().to_string();
            let runs = self.named_blobs.remove(&name).into_iter().flatten().collect();
            match blob::read(&self.view, &hash, size, |_| {}) {
                Ok(()) => {}
                Err(StoreError::CorruptBlob { reason, .. }) => {
                    self.problem(Place::Blob { hash: name, runs }, ProblemKind::Damaged, reason);
                }
                Err(error @ StoreError::Damaged { .. }) => {
                    let place = Place::Blob { hash: name, runs };
                    self.problem(place, ProblemKind::Damaged, error);
                }
                Err(error) => return Err(error),
            }
            self.read(size);
        }
        for (hash, runs) in std::mem::take(&mut self.named_blobs) {
            let runs = runs.into_iter().collect();
            let reason = "a checkpoint names it, and it is not there";
            self.problem(Place::Blob { hash, runs }, ProblemKind::Missing, reason);
        }
        Ok(())
    }
}
