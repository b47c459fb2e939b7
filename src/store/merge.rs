//! Taking over what another store has: whole runs, or parts of one run that several machines made.

use dream_schema::{Run, RunId, Status, Table};
use redb::{ReadTransaction, ReadableTable, WriteTransaction};

use super::error::At;
use super::write::{self, Group};
use super::{Result, Store, StoreError, blob, dataset, layout, names, runs};

/// What [`Store::merge`] took over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Runs that were not here.
    pub new_runs: Vec<RunId>,
    /// Runs that were here and got rows.
    pub grown_runs: Vec<RunId>,
    /// Number of rows taken over.
    pub rows: u64,
    /// Number of blobs taken over.
    pub blobs: u64,
    /// Data sets that were not here.
    pub datasets: Vec<String>,
    /// Aliases that name another run here and were left as they are.
    pub kept_aliases: Vec<String>,
}

impl Store {
    /// Takes over the runs, rows, blobs, data sets and aliases of another store, all in one transaction. Rows of a run that is
    /// unfinished in both are united, so the shards of a run come together; it is not finished by this. A run that is
    /// finished on either side has the same rows on the other, or a part of them.
    ///
    /// # Errors
    /// [`StoreError::MergeConflict`] if a finished run has another digest there, [`StoreError::Conflict`] if a row differs,
    /// [`StoreError::Finished`] if the other store has rows of a run that is finished here without them,
    /// [`StoreError::DatasetChanged`]. Nothing is merged then.
    pub fn merge(&self, other: &Store) -> Result<Merged> {
        let path = &self.path;
        let mut merged = Merged::default();
        let transaction = self.write()?;
        let theirs = other.read()?;
        {
            let chunks = theirs.open_table(layout::BLOBS).at(&other.path)?;
            for item in theirs
                .open_table(layout::BLOB_INFO)
                .at(&other.path)?
                .iter()
                .at(&other.path)?
            {
                let (hash, size) = item.at(&other.path)?;
                let hash = blake3::Hash::from_bytes(*hash.value());
                let mut bytes = Vec::new();
                blob::read(&chunks, &other.path, &hash, size.value(), |chunk| {
                    bytes.extend_from_slice(chunk);
                })?;
                merged.blobs += u64::from(blob::put(&transaction, path, &hash, &bytes)?);
            }
        }
        for run in runs::all(&theirs.open_table(layout::RUNS).at(&other.path)?, &other.path)? {
            self.merge_run(&transaction, (other, &theirs), &run, &mut merged)?;
        }
        {
            let mut sets = transaction.open_table(layout::DATASETS).at(path)?;
            for set in dataset::all(&theirs.open_table(layout::DATASETS).at(&other.path)?, &other.path)? {
                match dataset::find(&sets, path, &set.name)? {
                    Some(stored) if stored.digest != set.digest => {
                        return Err(StoreError::DatasetChanged {
                            name: set.name,
                            stored: stored.digest,
                            given: set.digest,
                        });
                    }
                    Some(_) => {}
                    None => {
                        let json = serde_json::to_vec(&set)?;
                        sets.insert(set.name.as_str(), json.as_slice()).at(path)?;
                        merged.datasets.push(set.name);
                    }
                }
            }
            let mut aliases = transaction.open_table(layout::ALIASES).at(path)?;
            for (name, run) in names::all(&theirs.open_table(layout::ALIASES).at(&other.path)?, &other.path)?
            {
                let stored = aliases
                    .get(name.as_str())
                    .at(path)?
                    .map(|run| RunId(*run.value()));
                match stored {
                    Some(stored) if stored != run => merged.kept_aliases.push(name),
                    Some(_) => {}
                    None => {
                        aliases.insert(name.as_str(), &run.0).at(path)?;
                    }
                }
            }
        }
        transaction.commit().at(path)?;
        Ok(merged)
    }

    fn merge_run(
        &self,
        transaction: &WriteTransaction,
        (other, snapshot): (&Store, &ReadTransaction),
        theirs: &Run,
        merged: &mut Merged,
    ) -> Result<()> {
        let path = &self.path;
        let ours = runs::find(&transaction.open_table(layout::RUNS).at(path)?, path, theirs.id)?;
        let conflict = |here: &Option<String>| StoreError::MergeConflict {
            path: other.path.clone(),
            run: theirs.id,
            here: here.clone().unwrap_or_else(|| "none".to_owned()),
            there: theirs.digest.clone().unwrap_or_else(|| "none".to_owned()),
        };
        let finished = |run: &Run| run.status == Status::Finished;
        if let Some(ours) = &ours
            && finished(ours)
            && finished(theirs)
        {
            return if ours.digest == theirs.digest {
                Ok(())
            } else {
                Err(conflict(&ours.digest))
            };
        }
        let put = self.merge_rows(transaction, (other, snapshot), theirs.id)?;
        let record = match ours {
            None => {
                merged.new_runs.push(theirs.id);
                Some(theirs.clone())
            }
            Some(ours) if finished(&ours) => {
                // It was whole: a row that it did not have shows that one of the two is wrong.
                if put > 0 {
                    return Err(StoreError::Finished { run: theirs.id });
                }
                None
            }
            Some(ours) => {
                if put > 0 {
                    merged.grown_runs.push(theirs.id);
                }
                finished(theirs).then(|| Run {
                    note: ours.note.or_else(|| theirs.note.clone()),
                    ..theirs.clone()
                })
            }
        };
        merged.rows += put;
        if let Some(record) = record {
            if finished(&record) && Some(runs::digest(transaction, path, record.id)?) != record.digest {
                return Err(conflict(&None));
            }
            runs::write(&mut transaction.open_table(layout::RUNS).at(path)?, path, &record)?;
        }
        Ok(())
    }

    fn merge_rows(
        &self,
        transaction: &WriteTransaction,
        (other, theirs): (&Store, &ReadTransaction),
        run: RunId,
    ) -> Result<u64> {
        let mut put = 0;
        for table in Table::ALL {
            let mut blocks = other.blocks_of(theirs, table, Some(run), None)?;
            while let Some((info, rows)) = blocks.next_block()? {
                let group = Group {
                    table,
                    part: info.part,
                    first: info.first,
                    rows,
                };
                put += write::put(transaction, &self.path, run, &group)?;
            }
        }
        Ok(put)
    }
}
