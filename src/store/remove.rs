//! Removing runs.

use std::collections::BTreeSet;
use std::path::Path;

use dream_schema::{Run, RunId, Table};
use redb::WriteTransaction;

use super::error::At;
use super::layout::{self, KEY};
use super::{Result, Store, StoreError, names, runs};

impl Store {
    /// Returns the runs that were made from `run`, directly or through others, in the order in which they were begun.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn dependents(&self, run: RunId) -> Result<Vec<RunId>> {
        let all = self.runs()?;
        let mut from = BTreeSet::from([run]);
        loop {
            let before = from.len();
            let reads = |other: &&Run| other.spec.inputs.iter().any(|input| from.contains(&input.run));
            let more: Vec<_> = all.iter().filter(reads).map(|other| other.id).collect();
            from.extend(more);
            if from.len() == before {
                break;
            }
        }
        let dependents = all.iter().map(|other| other.id);
        Ok(dependents
            .filter(|other| *other != run && from.contains(other))
            .collect())
    }

    /// Removes runs with their rows and aliases, in one transaction. Their blobs go with the next [`Store::gc`].
    ///
    /// # Errors
    /// [`StoreError::UnknownRun`]; [`StoreError::InUse`] if a run that is not in the list reads from one that is.
    pub fn remove(&self, remove: &[RunId]) -> Result<()> {
        let path = &self.path;
        let transaction = self.write()?;
        {
            let mut table = transaction.open_table(layout::RUNS).at(path)?;
            let all = runs::all(&table, path)?;
            for run in remove {
                if !all.iter().any(|other| other.id == *run) {
                    return Err(runs::unknown(*run));
                }
                let reads = |other: &&Run| other.spec.inputs.iter().any(|input| input.run == *run);
                let kept = all.iter().filter(|other| !remove.contains(&other.id));
                let by: Vec<_> = kept.filter(reads).map(|other| other.id).collect();
                if !by.is_empty() {
                    return Err(StoreError::InUse { run: *run, by });
                }
            }
            let mut aliases = transaction.open_table(layout::ALIASES).at(path)?;
            for (name, run) in names::all(&aliases, path)? {
                if remove.contains(&run) {
                    aliases.remove(name.as_str()).at(path)?;
                }
            }
            for run in remove {
                table.remove(&run.0).at(path)?;
                remove_rows(&transaction, path, *run)?;
            }
        }
        transaction.commit().at(path)
    }
}

/// Removes all rows of a run.
pub(super) fn remove_rows(transaction: &WriteTransaction, path: &Path, run: RunId) -> Result<()> {
    let (low, high) = layout::bounds(Some(run), None);
    for table in Table::ALL {
        let (index, blocks) = layout::tables(table);
        let mut index = transaction.open_table(index).at(path)?;
        let mut blocks = transaction.open_table(blocks).at(path)?;
        index
            .retain_in::<&[u8; KEY], _>(&low..=&high, |_, _| false)
            .at(path)?;
        blocks
            .retain_in::<&[u8; KEY], _>(&low..=&high, |_, _| false)
            .at(path)?;
    }
    Ok(())
}
