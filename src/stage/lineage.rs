//! Where a run comes from.

use std::collections::BTreeSet;

use dream_schema::{Run, RunId};

use super::StageError;
use crate::store::Store;

/// Returns the run and all runs that it depends on, inputs before what reads them. Inputs that the store does not have are left
/// out: a run says by id and digest what they were.
///
/// # Errors
/// If the store cannot be read, or `run` is not in it.
pub fn ancestors(store: &Store, run: RunId) -> Result<Vec<Run>, StageError> {
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    visit(store, store.run(run)?, &mut seen, &mut order)?;
    Ok(order)
}

fn visit(
    store: &Store,
    run: Run,
    seen: &mut BTreeSet<RunId>,
    order: &mut Vec<Run>,
) -> Result<(), StageError> {
    // A run's id hashes its inputs' digests, so there are no cycles.
    if !seen.insert(run.id) {
        return Ok(());
    }
    let known: BTreeSet<RunId> = store.runs()?.iter().map(|r| r.id).collect();
    for input in &run.spec.inputs {
        if known.contains(&input.run) {
            visit(store, store.run(input.run)?, seen, order)?;
        }
    }
    order.push(run);
    Ok(())
}
