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
    /// them.
    ///
    /// # Errors
    /// [`StoreError::MergeConflict`] if a finished run has another digest there, [`StoreError::Conflict`] if
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
        let conflict = |here: &Option<String>| StoreError::MergeConflict {
            path: self.theirs.path.to_owned(),
            run: theirs.id,
            here: here.clone().unwrap_or_else(|| "none".to_owned()),
            there: theirs.digest.clone().unwrap_or_else(|| "none".to_owned()),
        };
        let finished = |run: &Run| run.status == Status::Finished;
        if let Some(ours) = &ours
            && finished(ours)
            && finished(theirs)
        {
            if ours.digest != theirs.digest {
                return Err(conflict(&ours.digest));
            }
            return self.note(ours, theirs);
        }
        let put = repair::rows_of(&self.theirs, &self.writer, theirs.id)?;
        if let Some(ours) = &ours {
            self.note(ours, theirs)?;
        }
        let record = match ours {
            None => {
                self.merged.new_runs.push(theirs.id);
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
                    self.merged.grown_runs.push(theirs.id);
                }
                finished(theirs).then(|| Run {
                    note: own_note(&ours).or(theirs.note.as_ref()).cloned(),
                    ..theirs.clone()
                })
            }
        };
        self.merged.rows += put;
        if let Some(record) = record {
            if finished(&record) {
                repack::repack(&self.writer, record.id)?;
                if Some(runs::digest(&self.writer.view(), record.id)?) != record.digest {
                    return Err(conflict(&None));
                }
            }
            runs::write(&self.writer, &record)?;
        }
        Ok(())
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

/// The words of a user on a run. Those on a failed one are its error.
fn own_note(run: &Run) -> Option<&String> {
    run.note.as_ref().filter(|_| run.status != Status::Failed)
}
