//! Removing runs.

use std::collections::BTreeSet;

use dream_schema::{Run, RunId};

use super::face::Viewed;
use super::{Result, Store, StoreError, Usage, gc, layout, names, runs};
use crate::error::{HasKind, Kind};

/// What [`Store::remove`] takes away with a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// The run.
    pub run: RunId,
    /// Its stage; none if its record cannot be read.
    pub stage: Option<String>,
    /// Its aliases.
    pub aliases: Vec<String>,
    /// Number of its rows.
    pub rows: u64,
    /// Bytes of their blocks.
    pub bytes: u64,
}

impl Store {
    /// Returns what [`Store::remove`] would take away, in the order in which the runs were begun; with
    /// `cascade` also the runs that were made from those of the list, directly or through others.
    ///
    /// # Errors
    /// [`StoreError::UnknownRun`]; without `cascade` [`StoreError::InUse`] if a run that is not in the list
    /// reads from one that is.
    pub fn removal(&self, remove: &[RunId], cascade: bool) -> Result<Vec<Removal>> {
        let view = self.view()?;
        let (legible, damaged) = runs::legible(&view)?;
        let mut all: BTreeSet<RunId> = remove.iter().copied().collect();
        if cascade {
            let dependents = remove.iter().flat_map(|run| runs::dependents(&legible, *run));
            all.extend(dependents);
        }
        check(&legible, &damaged, &all)?;
        let aliases = names::all(&view)?;
        let usage = match gc::usage(&view) {
            // What is damaged can be removed; how much it is, its index does not say.
            Err(error) if error.kind() == Kind::Corrupt => Usage::default(),
            usage => usage?,
        };
        let removal = |run: RunId, stage: Option<String>| {
            let of_run = usage.tables.iter().filter(|used| used.run == run);
            let named = aliases.iter().filter(|(_, id)| *id == run);
            Removal {
                run,
                stage,
                aliases: named.map(|(name, _)| name.clone()).collect(),
                rows: of_run.clone().map(|used| used.rows).sum(),
                bytes: of_run.map(|used| used.bytes).sum(),
            }
        };
        let known = legible.iter().map(|run| (run.id, Some(run.spec.stage.clone())));
        let known = known.chain(damaged.iter().map(|(run, _)| (*run, None)));
        Ok(known
            .filter(|(run, _)| all.contains(run))
            .map(|(run, stage)| removal(run, stage))
            .collect())
    }

    /// Removes runs with their rows and aliases, in one transaction. Their blobs go with the next
    /// [`Store::gc`].
    ///
    /// # Errors
    /// [`StoreError::UnknownRun`]; [`StoreError::InUse`] if a run that is not in the list reads from one that
    /// is.
    pub fn remove(&self, remove: &[RunId]) -> Result<()> {
        let writer = self.write()?;
        let (legible, damaged) = runs::legible(&writer.view())?;
        check(&legible, &damaged, &remove.iter().copied().collect())?;
        for (name, run) in names::all(&writer.view())? {
            if remove.contains(&run) {
                writer.remove(layout::ALIASES, name.as_str())?;
            }
        }
        for run in remove {
            runs::remove(&writer, *run)?;
            writer.remove_rows(*run)?;
        }
        writer.commit()
    }
}

/// Refuses to remove a run that is not there, or that one reads from which stays.
fn check(legible: &[Run], damaged: &[(RunId, String)], remove: &BTreeSet<RunId>) -> Result<()> {
    for run in remove {
        let is_legible = legible.iter().any(|other| other.id == *run);
        if !is_legible && !damaged.iter().any(|(other, _)| other == run) {
            return Err(runs::unknown(*run));
        }
        let mut by = runs::dependents(legible, *run);
        by.retain(|other| !remove.contains(other));
        if !by.is_empty() {
            return Err(StoreError::InUse { run: *run, by });
        }
    }
    Ok(())
}
