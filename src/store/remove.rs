//! Removing runs.

use dream_schema::{Run, RunId};

use super::error::At;
use super::{Result, Store, StoreError, layout, names, runs};

impl Store {
    /// Removes runs with their rows and aliases, in one transaction. Their blobs go with the next
    /// [`Store::gc`].
    ///
    /// # Errors
    /// [`StoreError::UnknownRun`]; [`StoreError::InUse`] if a run that is not in the list reads from one that
    /// is.
    pub fn remove(&self, remove: &[RunId]) -> Result<()> {
        let writer = self.write()?;
        let all = runs::all(&writer.view())?;
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
        for (name, run) in names::all(&writer.view())? {
            if remove.contains(&run) {
                let mut aliases = writer.table(layout::ALIASES)?;
                aliases.remove(name.as_str()).at(&self.path)?;
            }
        }
        for run in remove {
            writer.table(layout::RUNS)?.remove(&run.0).at(&self.path)?;
            writer.remove_rows(*run)?;
        }
        writer.commit()
    }
}
