//! Activations in a table, Parquet or CSV, with an image a row.

use std::path::Path;

use arrow::array::RecordBatch;

use dream_schema::{Activation, Artifact};

use super::super::names::{CLASS_IDS, FEATURES, LABELS, LOGITS, SAMPLES, labels, unread_columns};
use super::super::table::{Agreed, add_classes, check_asked, check_one};
use super::{ActivationsOf, Matrix, Parts};
use crate::exchange::records::{Records, column, flatten, is_of_names, named};
use crate::stage::StageError;

/// Reads a table with an image a row.
pub(super) fn read(path: &Path, of: ActivationsOf<'_>) -> Result<Parts, StageError> {
    let mut parts = Parts::default();
    let (features, logits) = (&mut parts.features, &mut parts.logits);
    let (mut row, mut found, mut seen) = (0, Vec::new(), Agreed::new());
    for batch in Records::open(path)? {
        let batch = batch?;
        check_one(path, &batch, &mut seen)?;
        check_asked(path, &seen, &[("dataset", of.dataset), ("split", of.split)])?;
        let start = (row, path);
        add(start, &batch, &FEATURES, features)?;
        add(start, &batch, &LOGITS, logits)?;
        if let Some(column) = labels(|names| column(path, &batch, names))? {
            add_classes(path, column, parts.labels.get_or_insert_default())?;
        }
        if let Some(column) = column(path, &batch, &SAMPLES)?.filter(|(_, column)| !is_of_names(column)) {
            add_classes(path, column, parts.samples.get_or_insert_default())?;
        }
        if parts.unread.is_none() {
            let read: [&[&str]; 5] = [&FEATURES, &LOGITS, &LABELS, &CLASS_IDS, &SAMPLES];
            parts.unread = unread_columns(&batch, &Activation::schema(0), &read);
        }
        row += batch.num_rows() as u64;
        found = named(&batch).map(|field| format!("`{}`", field.name())).collect();
    }
    if features.width == 0 && logits.width == 0 && row > 0 {
        let found = found.join(", ");
        let message = format!(
            "there is no column of features (`features`) or logits (`logits`): lists, or numbered columns \
             (`feature_0`, `logit_0`); there are {found}"
        );
        let path = path.to_owned();
        return Err(StageError::File { path, message });
    }
    Ok(parts)
}

/// Adds the lists of the column of one of these names; the batch begins with this row of the file.
fn add(
    (row, path): (u64, &Path),
    batch: &RecordBatch,
    names: &[&str],
    matrix: &mut Matrix,
) -> Result<(), StageError> {
    let Some((name, column)) = column(path, batch, names)? else {
        return Ok(());
    };
    let flat = flatten(path, name, column, row)?;
    if matrix.width == 0 {
        matrix.width = flat.width;
    }
    if flat.width != matrix.width {
        let (found, width) = (flat.width, matrix.width);
        return Err(StageError::File {
            path: path.to_owned(),
            message: format!("`{name}` of row {row} has {found} numbers, others {width}"),
        });
    }
    matrix.values.extend_from_slice(flat.numbers.values());
    Ok(())
}
