//! Partial runs: what is left after rows were lost.
//!
//! A stage goes on from where the rows of an interrupted run end. Of a run that was recovered from a
//! damaged file rows are missing anywhere, and no stage could tell. Such a run is [`Status::Partial`]: its
//! rows can be read, and when it is asked for again they are removed first. What it was before stays on
//! record ([`Former`](dream_schema::Former)), so that another result is refused. Older programs know
//! nothing of this; a feature in `meta` keeps them from such a store while there is a partial run in it.

use dream_schema::{Run, RunId, Status, Table};

use super::view::{View, Writer};
use super::{Place, Problem, ProblemKind, Result, layout, runs};

/// What programs that knew no partial runs noted on one.
const LOST: [&str; 2] = [
    "not all of its rows could be recovered; asked for again, it is completed",
    "rows of it were lost; asked for again, it is completed",
];

/// Returns a record as it is meant: one that an older program left of a run whose rows were lost is that of a
/// partial one.
pub(super) fn as_meant(run: Run) -> Run {
    let is_lost = |note: &str| run.status == Status::Failed && LOST.contains(&note);
    match run.note.as_deref().is_some_and(is_lost) {
        true => run.into_partial(),
        false => run,
    }
}

/// Says in `meta` whether there are partial runs, after a record was written or removed: `partial` if it is
/// now one of such a run.
pub(super) fn mark(writer: &Writer<'_>, partial: bool) -> Result<()> {
    let is_marked = {
        let view = writer.view();
        let meta = view.table(layout::META)?;
        let features = meta.get("features")?;
        features.is_some_and(|features| features.value() == layout::PARTIAL)
    };
    if is_marked == partial {
        return Ok(());
    }
    let others = || runs::legible(&writer.view());
    let is_partial = |run: &Run| run.status == Status::Partial;
    let features = match partial || others()?.0.iter().any(is_partial) {
        true => layout::PARTIAL,
        false => "",
    };
    writer.put(layout::META, "features", features)
}

/// Says whether a run that is made once more may have another digest than it had: engines round in their own
/// ways. What was made from it was made from its former rows, so then it may not.
pub(super) fn may_differ(view: &View<'_>, open: &Run) -> Result<bool> {
    let former = open.former.as_ref().and_then(|former| former.engine.as_ref());
    let is_elsewhere = former.is_some() && open.engine.is_some() && former != open.engine.as_ref();
    Ok(is_elsewhere && runs::dependents(&runs::legible(view)?.0, open.id).is_empty())
}

/// Returns the record that a run has if all its rows are there.
pub(super) fn restored(record: &Run) -> Run {
    match record.status {
        Status::Partial => record.clone().into_restored(),
        Status::Running | Status::Finished | Status::Failed => record.clone(),
    }
}

/// Says whether blocks and indexes of a run that is not finished name the same rows. Its digest would tell
/// of a finished one.
pub(super) fn is_closed(view: &View<'_>, run: RunId) -> Result<bool> {
    for table in Table::ALL {
        let rows = |strip| -> Result<u64> {
            let entries = view.entries(strip, Some(run), None)?;
            Ok(entries.iter().map(|(_, entry)| u64::from(entry.rows)).sum())
        };
        let expected = rows(view.format.keys(table))?;
        for strip in view.format.strips(table) {
            let is_of_run = |key: &layout::Key| layout::unkey(key).0 == run;
            if rows(strip)? != expected || view.strays(strip)?.iter().any(is_of_run) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Says whether a run has all rows that its damaged blocks had.
pub(super) fn has_all(writer: &Writer<'_>, run: RunId, problems: &[&Problem]) -> Result<bool> {
    let view = writer.view();
    for problem in problems {
        let (ProblemKind::Damaged | ProblemKind::Missing, Place::Block(place)) =
            (problem.kind, &problem.place)
        else {
            return Ok(false);
        };
        let Some(rows) = place.rows else { return Ok(false) };
        let rows = (place.index, place.index.saturating_add(u64::from(rows)));
        if !view.has_rows(view.format.keys(place.table), (run, place.part), rows)? {
            return Ok(false);
        }
    }
    Ok(true)
}
