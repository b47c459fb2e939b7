//! Scores that were imported: an evaluation that takes none itself, and measures those of another program.

use arrow::datatypes::{Float32Type, Int32Type, Int64Type};
use dream_schema::columns::Columns;
use dream_schema::{RunId, RunSpec, Table};

use super::Evaluate;
use super::chosen::{Chosen, Way};
use super::shown::Shown;
use crate::stage::{Asked, Input, Known, Refusals, Role, StageError, import};
use crate::store::{Projection, Readable, Snapshot, Store};

/// What another program made of the images of a set.
#[derive(Debug, Default)]
pub(in crate::stage) struct Given {
    /// The scores.
    pub values: Vec<f32>,
    /// The classes that its network gives; -1 where that is not known.
    pub predicted: Vec<i32>,
}

/// Returns the table that has what a run shows of the images of a set.
pub(super) fn table_of(run: &RunSpec) -> Table {
    match import::score_of(run) {
        Some(_) => Table::Scores,
        None => Table::Activations,
    }
}

/// Returns the score of an evaluation of imported ones: the only one, and it has its name from the import.
pub(super) fn chosen(of_id: &RunSpec) -> Option<Vec<Chosen>> {
    let label = import::score_of(of_id)?.to_owned();
    Some(vec![Chosen {
        label,
        way: Way::Given,
    }])
}

/// Says whether an evaluation is of imported scores: those of the ID set are.
pub(super) fn is_asked(store: &Store, asked: &Asked<Evaluate>) -> Result<bool, StageError> {
    match asked.input(&Role::Id) {
        Some(Input::Stored(run)) => Ok(import::score_of(&store.run(*run)?.spec).is_some()),
        Some(Input::Planned(_)) | None => Ok(false),
    }
}

/// Refuses what imported scores leave no room for.
pub(super) fn check(asked: &Asked<Evaluate>, refusals: &mut Refusals) {
    if let Some(score) = asked.params.scores.first() {
        let found =
            format!("`{score}` is taken of activations, and what is given is scores that were imported");
        refusals.refuse("scores", found);
    }
    for role in [Role::Train, Role::Validation, Role::OodValidation] {
        if asked.input(&role).is_some() {
            refusals.refuse(role, "nothing is learnt for scores that were imported");
        }
    }
}

/// Refuses an import of another score than that of the ID set.
pub(super) fn check_score(role: &Role, known: &Known, first: &Known, refusals: &mut Refusals) {
    let [own, expected] = [known, first].map(|known| import::score_in(&known.stage, &known.params));
    if let (Some(own), Some(expected)) = (own, expected)
        && own != expected
    {
        let found = format!("these are scores of `{own}`, those of the ID set of `{expected}`");
        refusals.refuse(role, found);
    }
}

/// Reads the rows of an import of scores.
///
/// # Errors
/// If there are none, or the store fails.
pub(super) fn load(snapshot: &Snapshot, run: RunId) -> Result<Shown, StageError> {
    let mut shown = Shown::default();
    let (mut given, mut labels) = (Given::default(), Vec::new());
    for rows in snapshot.blocks(Table::Scores, Some(run), None, &Projection::All)? {
        let (_, rows) = rows?;
        let columns = Columns::new(Table::Scores, &rows);
        if shown.len == 0 {
            shown.dataset = columns.text("dataset")?.swap_remove(0);
            shown.split = columns.text("split")?.swap_remove(0);
        }
        shown.len += rows.num_rows();
        shown.samples.extend(columns.numbers::<Int64Type>("sample")?);
        shown.class_names.extend(columns.optional_text("class_name")?);
        labels.extend(columns.optional_numbers::<Int32Type>("label")?);
        given.values.extend(columns.numbers::<Float32Type>("value")?);
        given.predicted.extend(columns.numbers::<Int32Type>("predicted")?);
    }
    if shown.len == 0 {
        return Err(StageError::Mismatch(format!("run {run} has no scores")));
    }
    let class = |label: Option<i32>| label.and_then(|label| u32::try_from(label).ok());
    shown.labels = labels.into_iter().map(class).collect();
    shown.given = Some(given);
    Ok(shown)
}
