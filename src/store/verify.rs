//! Reading everything and comparing it with what was written.

use std::collections::{BTreeMap, BTreeSet};

use dream_schema::digest::Digest;
use dream_schema::{Run, RunId, Status, Table};

use super::face::Viewed;
use super::format::Strip;
use super::view::View;
use super::{Projection, Result, Store, StoreError, blob, gc, layout, names, runs};

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The run that it belongs to, if it belongs to one.
    pub run: Option<RunId>,
    /// What is wrong, where, and what to do.
    pub what: String,
}

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
    named_blobs: BTreeSet<(RunId, String)>,
}

impl Store {
    /// Reads every run, block and blob and checks it: bytes against their BLAKE3, rows against their keys,
    /// finished runs against their digest, ids against what was asked for, and that everything that is named
    /// is there. `progress` is told the bytes read and the bytes in all.
    ///
    /// # Errors
    /// If the file cannot be read at all. What is wrong with its contents is in the result.
    pub fn verify(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Verification> {
        let view = self.view()?;
        let usage = gc::usage(&view)?;
        let mut verifier = Verifier {
            view,
            total: usage.blob_bytes + usage.tables.iter().map(|t| t.bytes).sum::<u64>(),
            progress,
            found: Verification::default(),
            digests: BTreeMap::new(),
            named_blobs: BTreeSet::new(),
        };
        for strip in verifier.view.format.all_strips() {
            verifier.index(strip)?;
        }
        for table in Table::ALL {
            verifier.rows(table)?;
        }
        let known = verifier.records()?;
        verifier.runs(&known);
        verifier.aliases(&known)?;
        verifier.blobs()?;
        Ok(verifier.found)
    }
}

impl Verifier<'_> {
    fn problem(&mut self, run: Option<RunId>, what: impl ToString) {
        let what = what.to_string();
        // A block that several stretches of rows need is one problem.
        if self.found.problems.last().is_none_or(|last| last.what != what) {
            self.found.problems.push(Problem { run, what });
        }
    }

    fn read(&mut self, bytes: u64) {
        self.found.bytes += bytes;
        (self.progress)(self.found.bytes, self.total);
    }

    /// Checks that the blocks of a strip are disjoint and all in its index.
    fn index(&mut self, strip: Strip) -> Result<()> {
        let counts_rows = strip == self.view.format.keys(strip.table);
        let mut end = None; // (run, part, index after the last row)
        for (key, entry) in self.view.entries(strip, None, None)? {
            let (run, part, first) = layout::unkey(&key);
            self.found.blocks += 1;
            self.found.rows += if counts_rows { u64::from(entry.rows) } else { 0 };
            if end.is_some_and(|end| (run, part, first) < end) {
                let overlaps = "it overlaps the block before it".to_owned();
                let error = self.view.corrupt(strip.table, &key, overlaps);
                self.problem(Some(run), error);
            }
            let stop = first + u64::from(entry.rows);
            end = Some((run, part, stop));
            if !counts_rows && !self.are_known(strip, (run, part), (first, stop))? {
                let unknown = "its rows have no narrow columns, so it is not read".to_owned();
                let error = self.view.corrupt(strip.table, &key, unknown);
                self.problem(Some(run), error);
            }
        }
        for key in self.view.strays(strip)? {
            let stray = "it is not in the index, so it is not read".to_owned();
            let error = self.view.corrupt(strip.table, &key, stray);
            self.problem(Some(layout::unkey(&key).0), error);
        }
        Ok(())
    }

    /// Says whether the strip that says which rows there are has all of these.
    fn are_known(&self, strip: Strip, place: (RunId, u32), (first, end): (u64, u64)) -> Result<bool> {
        let keys = self.view.format.keys(strip.table);
        let mut known = first;
        for (key, entry) in self.view.overlapping(keys, place, (first, end))? {
            let (_, _, begin) = layout::unkey(&key);
            if begin <= known {
                known = begin + u64::from(entry.rows);
            }
        }
        Ok(known >= end)
    }

    /// Reads all rows of a table.
    fn rows(&mut self, table: Table) -> Result<()> {
        for info in self.view.infos(table, None, None, &Projection::All)? {
            let batch = match self.view.stretch(table, &info, &Projection::All) {
                Ok(batch) => batch,
                Err(error @ (StoreError::Corrupt { .. } | StoreError::Schema(_))) => {
                    self.problem(Some(info.run), error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.digests.entry(info.run).or_default().update(table, &batch)?;
            if table == Table::Checkpoints {
                let names = blob::names(&batch).into_iter();
                self.named_blobs.extend(names.map(|name| (info.run, name)));
            }
            self.read(info.bytes);
        }
        Ok(())
    }

    /// Returns the records of runs that can be read.
    fn records(&mut self) -> Result<BTreeMap<RunId, Run>> {
        let ids: Vec<_> = {
            let table = self.view.table(layout::RUNS)?;
            let id = |item: Result<(redb::AccessGuard<'_, &[u8; 16]>, _)>| Ok(RunId(*item?.0.value()));
            table.iter()?.map(id).collect::<Result<_>>()?
        };
        let mut known = BTreeMap::new();
        for id in ids {
            self.found.runs += 1;
            match runs::find(&self.view, id) {
                Ok(run) => known.extend(run.map(|run| (id, run))),
                Err(error) => self.problem(Some(id), error),
            }
        }
        Ok(known)
    }

    fn runs(&mut self, known: &BTreeMap<RunId, Run>) {
        for (id, run) in known {
            if run.spec.id() != *id {
                let what = format!("run {id}: what it was asked for has the id {}", run.spec.id());
                self.problem(Some(*id), what);
            }
            for input in &run.spec.inputs {
                if known.get(&input.run).and_then(|run| run.digest.as_ref()) != Some(&input.digest) {
                    let what = format!(
                        "run {id}: its input `{}` ({}) is missing or has another digest",
                        input.role, input.run
                    );
                    self.problem(Some(*id), what);
                }
            }
            let digest = self.digests.remove(id).unwrap_or_default().finish();
            if run.status == Status::Finished && run.digest.as_ref() != Some(&digest) {
                let what = format!(
                    "run {id}: its rows have the digest {digest}, expected {}; remove it and run it again",
                    run.digest.as_deref().unwrap_or("one")
                );
                self.problem(Some(*id), what);
            }
        }
        for id in std::mem::take(&mut self.digests).into_keys() {
            let what = format!("run {id}: there are rows but no record; `gc` frees them");
            self.problem(Some(id), what);
        }
    }

    fn aliases(&mut self, known: &BTreeMap<RunId, Run>) -> Result<()> {
        for (name, run) in names::all(&self.view)? {
            if !known.contains_key(&run) {
                let what = format!("the alias `{name}` names the run {run}, which is not there");
                self.problem(None, what);
            }
        }
        Ok(())
    }

    fn blobs(&mut self) -> Result<()> {
        for (run, name) in std::mem::take(&mut self.named_blobs) {
            if let Err(error) = blob::require(&self.view, &name) {
                self.problem(Some(run), error);
            }
        }
        for (hash, size) in blob::all(&self.view)? {
            self.found.blobs += 1;
            match blob::read(&self.view, &hash, size, |_| {}) {
                Ok(()) => {}
                Err(error @ StoreError::CorruptBlob { .. }) => self.problem(None, error),
                Err(error) => return Err(error),
            }
            self.read(size);
        }
        Ok(())
    }
}
