//! Where a run comes from.

use std::collections::{BTreeMap, BTreeSet};

use dream_schema::{Run, RunId};

use super::StageError;
use crate::store::{Readable, Store};

/// Returns the run and all runs that it depends on, inputs before what reads them. Inputs that the store does
/// not have are left out: a run says by id and digest what they were.
///
/// # Errors
/// If the store cannot be read, or `run` is not in it.
pub fn ancestors(store: &Store, run: RunId) -> Result<Vec<Run>, StageError> {
    let known = store.runs()?.into_iter().map(|r| (r.id, r)).collect();
    let mut order = Vec::new();
    visit(&known, &store.run(run)?, &mut BTreeSet::new(), &mut order);
    Ok(order)
}

fn visit(known: &BTreeMap<RunId, Run>, run: &Run, seen: &mut BTreeSet<RunId>, order: &mut Vec<Run>) {
    // A run's id hashes its inputs' digests, so there are no cycles.
    if !seen.insert(run.id) {
        return;
    }
    for input in run.spec.inputs.iter().filter_map(|i| known.get(&i.run)) {
        visit(known, input, seen, order);
    }
    order.push(run.clone());
}
