//! Reading everything and comparing it with what was written.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::AsArray;
use dream_schema::digest::Digest;
use dream_schema::{RunId, Status, Table};
use redb::{ReadTransaction, ReadableTable};

use super::block::Place;
use super::error::At;
use super::layout::{self, Entry};
use super::{Result, Store, StoreError, blob, names, runs};

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
pub struct Report {
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

impl Report {
    fn problem(&mut self, run: Option<RunId>, what: impl ToString) {
        let what = what.to_string();
        self.problems.push(Problem { run, what });
    }
}

/// The state of a verification.
struct Verifier<'a> {
    store: &'a Store,
    transaction: ReadTransaction,
    total: u64,
    progress: &'a mut dyn FnMut(u64, u64),
    report: Report,
    digests: BTreeMap<RunId, Digest>,
    named_blobs: BTreeSet<(RunId, String)>,
}

impl Store {
    /// Reads every run, block and blob and checks it: bytes against their BLAKE3, rows against their keys, finished runs
    /// against their digest, ids against what was asked for, and that everything that is named is there. `progress` is told
    /// the bytes read and the bytes in all.
    ///
    /// # Errors
    /// If the file cannot be read at all. What is wrong with its contents is in the report.
    pub fn verify(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Report> {
        let usage = self.usage()?;
        let mut verifier = Verifier {
            store: self,
            transaction: self.read()?,
            total: usage.blob_bytes + usage.tables.iter().map(|t| t.bytes).sum::<u64>(),
            progress,
            report: Report::default(),
            digests: BTreeMap::new(),
            named_blobs: BTreeSet::new(),
        };
        for table in Table::ALL {
            verifier.table(table)?;
        }
        verifier.runs()?;
        verifier.blobs()?;
        Ok(verifier.report)
    }
}

impl Verifier<'_> {
    fn read(&mut self, bytes: u64) {
        self.report.bytes += bytes;
        (self.progress)(self.report.bytes, self.total);
    }

    fn table(&mut self, table: Table) -> Result<()> {
        let path = self.store.path.clone();
        let (index, blocks) = layout::tables(table);
        let index = self.transaction.open_table(index).at(&path)?;
        let blocks = self.transaction.open_table(blocks).at(&path)?;
        let mut end = None; // (run, part, index after the last row)
        for item in index.iter().at(&path)? {
            let (key, entry) = item.at(&path)?;
            let entry = Entry::decode(entry.value());
            let place = Place::new(&path, table, key.value());
            let block = blocks.get(key.value()).at(&path)?;
            self.report.blocks += 1;
            self.report.rows += u64::from(entry.rows);
            self.read(u64::from(entry.length));
            if end.is_some_and(|(run, part, end)| (run, part) == (place.run, place.part) && place.first < end)
            {
                self.report
                    .problem(Some(place.run), place.corrupt("it overlaps the block before it"));
            }
            end = Some((place.run, place.part, place.first + u64::from(entry.rows)));
            let batch = match place.decode(&entry, block.as_ref().map(|guard| guard.value())) {
                Ok(batch) => batch,
                Err(error) => {
                    self.report.problem(Some(place.run), error);
                    continue;
                }
            };
            self.digests.entry(place.run).or_default().update(table, &batch)?;
            if table == Table::Checkpoints {
                let names = batch.column_by_name("blob").map(|c| c.as_string::<i32>());
                let names = names.into_iter().flatten().flatten();
                self.named_blobs
                    .extend(names.map(|name| (place.run, name.to_owned())));
            }
        }
        for item in blocks.iter().at(&path)? {
            let (key, _) = item.at(&path)?;
            if index.get(key.value()).at(&path)?.is_none() {
                let place = Place::new(&path, table, key.value());
                self.report.problem(
                    Some(place.run),
                    place.corrupt("it is not in the index, so it is not read"),
                );
            }
        }
        Ok(())
    }

    fn runs(&mut self) -> Result<()> {
        let path = self.store.path.clone();
        let table = self.transaction.open_table(layout::RUNS).at(&path)?;
        let mut known = BTreeMap::new();
        for item in table.iter().at(&path)? {
            let id = RunId(*item.at(&path)?.0.value());
            self.report.runs += 1;
            match runs::find(&table, &path, id) {
                Ok(Some(run)) => {
                    known.insert(id, run);
                }
                Ok(None) => {}
                Err(error) => self.report.problem(Some(id), error),
            }
        }
        for (id, run) in &known {
            if run.spec.id() != *id {
                let what = format!("run {id}: what it was asked for has the id {}", run.spec.id());
                self.report.problem(Some(*id), what);
            }
            for input in &run.spec.inputs {
                if known.get(&input.run).and_then(|run| run.digest.as_ref()) != Some(&input.digest) {
                    let what = format!(
                        "run {id}: its input `{}` ({}) is missing or has another digest",
                        input.role, input.run
                    );
                    self.report.problem(Some(*id), what);
                }
            }
            let digest = self.digests.remove(id).unwrap_or_default().finish();
            if run.status == Status::Finished && run.digest.as_ref() != Some(&digest) {
                let what = format!(
                    "run {id}: its rows have the digest {digest}, expected {}; remove it and run it again",
                    run.digest.as_deref().unwrap_or("one")
                );
                self.report.problem(Some(*id), what);
            }
        }
        for id in std::mem::take(&mut self.digests).into_keys() {
            self.report.problem(
                Some(id),
                format!("run {id}: there are rows but no record; `gc` frees them"),
            );
        }
        let aliases = self.transaction.open_table(layout::ALIASES).at(&path)?;
        for (name, run) in names::all(&aliases, &path)? {
            if !known.contains_key(&run) {
                self.report.problem(
                    None,
                    format!("the alias `{name}` names the run {run}, which is not there"),
                );
            }
        }
        Ok(())
    }

    fn blobs(&mut self) -> Result<()> {
        let path = self.store.path.clone();
        let info = self.transaction.open_table(layout::BLOB_INFO).at(&path)?;
        let chunks = self.transaction.open_table(layout::BLOBS).at(&path)?;
        for (run, name) in std::mem::take(&mut self.named_blobs) {
            if let Err(error) = blob::require(&info, &path, &name) {
                self.report.problem(Some(run), error);
            }
        }
        for item in info.iter().at(&path)? {
            let (hash, size) = item.at(&path)?;
            let hash = blake3::Hash::from_bytes(*hash.value());
            self.report.blobs += 1;
            match blob::read(&chunks, &path, &hash, size.value(), |_| {}) {
                Ok(()) => {}
                Err(error @ StoreError::CorruptBlob { .. }) => self.report.problem(None, error),
                Err(error) => return Err(error),
            }
            self.read(size.value());
        }
        Ok(())
    }
}
