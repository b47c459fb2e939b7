//! Stretches of a run's rows, without the rest of them.

use std::ops::Range;

use dream_schema::{Artifact, RunId};

use super::StageError;
use crate::store::{Projection, Readable, Snapshot};

/// Returns those rows of a part whose indices are in a range, in order; fewer where not all are stored.
pub(super) fn stretch<A: Artifact>(
    snapshot: &Snapshot,
    run: RunId,
    part: u32,
    indices: &Range<u64>,
) -> Result<Vec<A>, StageError> {
    let mut rows = Vec::new();
    for info in snapshot.block_infos(A::TABLE, Some(run), Some(part), &Projection::All)? {
        let start = indices.start.max(info.first);
        let end = indices.end.min(info.first + u64::from(info.rows));
        if start < end {
            let block = snapshot.block(A::TABLE, &info, &Projection::All)?;
            let slice = block.slice((start - info.first) as usize, (end - start) as usize);
            rows.extend(A::from_batch(&slice)?);
        }
    }
    Ok(rows)
}
