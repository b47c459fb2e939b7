//! Taking over what another store has: whole runs, or parts of one run that several machines made.

use std::collections::BTreeMap;

use super::face::Viewed;
use super::view::{View, Writer};
use super::{Result, Store, StoreError, blob, dataset, layout, names, repack, repair, runs};
use dream_schema::{Run, RunId, Status};

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
    /// Runs that were here without a note and got that of the other store.
    pub new_notes: Vec<RunId>,
    /// Runs that have another note in the other store; ours stays.
    pub kept_notes: Vec<RunId>,
}

/// How [`Store::merge`] goes about it.
#[derive(Clone, Debug, Default)]
pub struct MergeOptions {
    /// Aliases and registered names of the other store, by what they are to be called here.
    pub rename: BTreeMap<String, String>,
}

impl Store {
    /// Takes over the runs, rows, blobs, data sets and aliases of another store, all in one transaction. Rows
    /// of a run that is unfinished in both are united, so the shards of a run come together; it is not
    /// finished by this. A run that is finished on either side has the same rows on the other, or a part of
    /// them. What is left of a partial run makes way for one that is whole or was only interrupted; of two
    /// that are partial the rows are united, and where nothing is missing any more the run is finished.
    ///
    /// # Errors
    /// [`StoreError::MergeConflict`] if a run that is, or was, finished has another digest there,
    /// [`StoreError::Conflict`] if
    /// a row differs, [`StoreError::Finished`] if the other store has rows of a run that is finished here
    /// without them, [`StoreError::DatasetChanged`] if something else is registered here under a name of
    /// theirs, [`StoreError::UnknownDataset`] if a name that is to be changed is none of theirs. Nothing is
    /// merged then.
    pub fn merge(&self, other: &Store, options: &MergeOptions) -> Result<Merged> {
        let mut merge = Merge {
            writer: self.write()?,
            theirs: other.view()?,
            rename: &options.rename,
            merged: Merged::default(),
        };
        merge.names()?;
        merge.blobs()?;
        for run in runs::all(&merge.theirs)? {
            merge.run(&run)?;
        }
        merge.datasets()?;
        merge.aliases()?;
        merge.writer.commit()?;
        Ok(merge.merged)
    }
}

/// A merge in progress.
struct Merge<'a> {
    writer: Writer<'a>,
    theirs: View<'a>,
    rename: &'a BTreeMap<String, String>,
    merged: Merged,
}

impl Merge<'_> {
    /// Refuses new names of what is not there, and such as cannot be names.
    fn names(&self) -> Result<()> {
        let aliases: Vec<String> = names::all(&self.theirs)?
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        for (old, new) in self.rename {
            let is_alias = aliases.contains(old);
            if is_alias {
                names::check_alias(new)?;
            }
            if !is_alias || dataset::find(&self.theirs, old)?.is_some() {
                dataset::require(&self.theirs, old)?;
                names::check_name(new)?;
            }
        }
        Ok(())
    }

    /// Returns what a name of theirs is to be here.
    fn renamed(&self, name: String) -> String {
        self.rename.get(&name).cloned().unwrap_or(name)
    }

    fn blobs(&mut self) -> Result<()> {
        for (hash, size) in blob::all(&self.theirs)? {
            let mut bytes = Vec::new();
            blob::read(&self.theirs, &hash, size, |chunk| bytes.extend_from_slice(chunk))?;
            self.merged.blobs += u64::from(blob::put(&self.writer, &hash, &bytes)?);
        }
        Ok(())
    }

    fn datasets(&mut self) -> Result<()> {
        for mut set in dataset::all(&self.theirs)? {
            set.name = self.renamed(set.name);
            match dataset::find(&self.writer.view(), &set.name)? {
                Some(stored) if stored.digest != set.digest => {
                    return Err(StoreError::DatasetChanged {
                        name: set.name,
                        stored: stored.digest,
                        given: set.digest,
                    });
                }
                Some(_) => {}
                None => {
                    dataset::write(&self.writer, &set)?;
                    self.merged.datasets.push(set.name);
                }
            }
        }
        Ok(())
    }

    fn aliases(&mut self) -> Result<()> {
        for (name, run) in names::all(&self.theirs)? {
            let renamed = self.rename.contains_key(&name);
            let name = self.renamed(name);
            let stored = names::named(&self.writer.view(), &name)?;
            match stored {
                // A new name was chosen to be free.
                Some(stored) if stored != run && renamed => {
                    return Err(StoreError::AliasTaken { name, run: stored });
                }
                Some(stored) if stored != run => self.merged.kept_aliases.push(name),
                Some(_) => {}
                None => self.writer.put(layout::ALIASES, name.as_str(), &run.0)?,
            }
        }
        Ok(())
    }

    fn run(&mut self, theirs: &Run) -> Result<()> {
        let ours = runs::find(&self.writer.view(), theirs.id)?;
        if let Some(ours) = &ours {
            if let (Some(here), Some(there)) = (ours.result(), theirs.result())
                && here != there
            {
                return Err(self.conflict(theirs, here));
            }
            if is(ours, Status::Finished) && is(theirs, Status::Finished) {
                return self.note(ours, theirs);
            }
            self.note(ours, theirs)?;
        }
        let record = match ours {
            None => {
                self.rows(theirs.id)?;
                self.merged.new_runs.push(theirs.id);
                theirs.clone()
            }
            Some(ours) if is(&ours, Status::Finished) => {
                // It was whole: a row that it did not have shows that one of the two is wrong.
                if self.rows(theirs.id)? > 0 {
                    return Err(StoreError::Finished { run: theirs.id });
                }
                return Ok(());
            }
            Some(ours) => {
                let (rows, record) = self.unfinished(&ours, theirs)?;
                if rows > 0 {
                    self.merged.grown_runs.push(theirs.id);
                }
                record
            }
        };
        if is(&record, Status::Finished) {
            repack::repack(&self.writer, record.id)?;
            if Some(runs::digest(&self.writer.view(), record.id)?) != record.digest {
                return Err(self.conflict(theirs, "none"));
            }
        }
        runs::write(&self.writer, &record)
    }

    /// Takes over the rows of a run that is not finished here; returns how many they are, and its record.
    fn unfinished(&mut self, ours: &Run, theirs: &Run) -> Result<(u64, Run)> {
        let run = theirs.id;
        // What is known of the run on either side.
        let known = |record: &Run| Run {
            note: own_note(ours)
                .or(own_note(theirs))
                .or(record.note.as_ref())
                .cloned(),
            former: ours.former.clone().or(theirs.former.clone()),
            ..record.clone()
        };
        match (ours.status, theirs.status) {
            (_, Status::Finished) => {
                // What is left here is not needed, and may be of an attempt with another result.
                if is(ours, Status::Partial) {
                    self.writer.remove_rows(run)?;
                }
                let note = own_note(ours).or(theirs.note.as_ref()).cloned();
                Ok((
                    self.rows(run)?,
                    Run {
                        note,
                        ..theirs.clone()
                    },
                ))
            }
            (Status::Partial, _) => {
                let put = self.rows(run)?;
                let restored = known(ours).into_restored();
                if restored.digest.is_some()
                    && Some(runs::digest(&self.writer.view(), run)?) == restored.digest
                {
                    return Ok((put, restored));
                }
                if is(theirs, Status::Partial) || runs::rows(&self.theirs, run)? == 0 {
                    return Ok((put, known(ours)));
                }
                self.writer.remove_rows(run)?;
                repair::rows_of(&self.theirs, &self.writer, run)?;
                Ok((put, known(theirs)))
            }
            // With gaps among them, the rows here would be no beginning any more.
            (_, Status::Partial) => Ok((0, known(ours))),
            _ => Ok((self.rows(run)?, known(ours))),
        }
    }

    /// Takes over the rows that a run has there and not here; returns how many they are.
    fn rows(&mut self, run: RunId) -> Result<u64> {
        let put = repair::rows_of(&self.theirs, &self.writer, run)?;
        self.merged.rows += put;
        Ok(put)
    }

    fn conflict(&self, theirs: &Run, here: &str) -> StoreError {
        StoreError::MergeConflict {
            path: self.theirs.path.to_owned(),
            run: theirs.id,
            here: here.to_owned(),
            there: theirs.result().unwrap_or("none").to_owned(),
        }
    }

    /// Takes over the note of a run that is here, where it has none.
    fn note(&mut self, ours: &Run, theirs: &Run) -> Result<()> {
        match (own_note(ours), own_note(theirs)) {
            (None, Some(note)) => {
                let noted = Run {
                    note: Some(note.clone()),
                    ..ours.clone()
                };
                runs::write(&self.writer, &noted)?;
                self.merged.new_notes.push(ours.id);
            }
            (Some(own), Some(other)) if own != other => self.merged.kept_notes.push(ours.id),
            (_, _) => {}
        }
        Ok(())
    }
}

fn is(run: &Run, status: Status) -> bool {
    run.status == status
}

/// The words of a user on a run. Those on a failed one are its error.
pub(super) fn own_note(run: &Run) -> Option<&String> {
    run.note.as_ref().filter(|_| run.status != Status::Failed)
}
