//! How other programs call columns and arrays, and which of a file are not read.

use arrow::array::{Array as _, AsArray, RecordBatch};
use arrow::datatypes::{FieldRef, SchemaRef};

use crate::exchange::records::named;
use crate::exchange::{Array, ArrayFile};

/// Features; `feat_list` by OpenOOD, as `logit_list` and `label_list`.
pub(super) const FEATURES: [&str; 7] = [
    "features",
    "feature",
    "feats",
    "feat",
    "feat_list",
    "penultimate",
    "embeddings",
];
/// Logits.
pub(super) const LOGITS: [&str; 6] = [
    "logits",
    "logit",
    "logit_list",
    "logits_list",
    "outputs",
    "output",
];
/// Detection scores.
pub(super) const VALUES: [&str; 6] = ["conf", "value", "confidence", "score_value", "score", "scores"];
/// Classes that a network gives.
pub(super) const PREDICTED: [&str; 6] = [
    "pred",
    "predicted",
    "prediction",
    "preds",
    "predictions",
    "y_pred",
];
/// True classes; `label_ids` by Hugging Face's trainer.
pub(super) const LABELS: [&str; 14] = [
    "label",
    "labels",
    "label_list",
    "label_ids",
    "target",
    "targets",
    "gt",
    "ground_truth",
    "true_labels",
    "y",
    "ys",
    "y_true",
    "classes",
    "class",
];
/// True classes where nothing else says them: in tables of ours it is the class of the row, if it has one.
pub(super) const CLASS_IDS: [&str; 2] = ["class_id", "class_ids"];
/// The numbers of images.
pub(super) const SAMPLES: [&str; 1] = ["sample"];
/// The place of each row in its class.
pub(super) const PLACES: [&str; 1] = ["index"];

/// Returns the true classes: what is found by the names of labels, else by those of the classes of rows.
///
/// # Errors
/// As of `find`.
pub(super) fn labels<T, E>(find: impl Fn(&[&str]) -> Result<Option<T>, E>) -> Result<Option<T>, E> {
    match find(&LABELS)? {
        None => find(&CLASS_IDS),
        labels => Ok(labels),
    }
}

/// Names in words that are told of at most.
const MOST: usize = 8;

/// Returns what is to be told of arrays with a value for each of `rows` rows that are called otherwise than
/// those that are read.
pub(super) fn unread_arrays(file: &ArrayFile, rows: usize, read: &[&[&str]]) -> Option<String> {
    let beside = file.arrays().iter().filter(|array| {
        array.shape.first() == Some(&rows) && !read.iter().any(|names| array.is_called(names))
    });
    in_words("not read", beside.map(Array::in_words).collect())
}

/// Returns what is to be told of columns that are neither read nor of the table.
pub(super) fn unread_columns(batch: &RecordBatch, table: &SchemaRef, read: &[&[&str]]) -> Option<String> {
    let beside = beside(batch, table, read).map(|field| format!("`{}` {}", field.name(), field.data_type()));
    let unnamed = unnamed(batch).map(|text| format!("a column without a name, which begins with `{text}`"));
    in_words("not read", beside.chain(unnamed).collect())
}

/// Says whether one of the columns that are told of may say the class of each row: numbers in a column
/// without a name are those of the rows.
pub(super) fn may_say_classes(batch: &RecordBatch, table: &SchemaRef, read: &[&[&str]]) -> bool {
    let has_words = unnamed(batch).any(|text| text.parse::<f64>().is_err());
    has_words || beside(batch, table, read).next().is_some()
}

/// The columns with names that are neither read nor of the table.
fn beside<'b>(
    batch: &'b RecordBatch,
    table: &'b SchemaRef,
    read: &'b [&[&str]],
) -> impl Iterator<Item = &'b FieldRef> {
    // In tables of ours the class of a row stands beside the label of an image, and is none.
    let is_null = |name: &str| {
        let column = batch.column_by_name(name);
        column.is_some_and(|column| column.logical_null_count() == column.len())
    };
    let is_read = move |name: &str| {
        let small = name.to_lowercase();
        let is_own = table.field_with_name(name).is_ok() && (name != "class_name" || is_null(name));
        name == "run" || is_own || read.iter().any(|names| names.contains(&&*small))
    };
    named(batch).filter(move |field| !is_read(field.name()))
}

/// The first text of each column that has no name, as pandas' `to_csv` writes the numbers of the rows.
fn unnamed(batch: &RecordBatch) -> impl Iterator<Item = &str> {
    let all = batch.schema_ref().fields().iter().zip(batch.columns());
    let unnamed = all.filter(|(field, _)| field.name().is_empty());
    let texts = unnamed.filter_map(|(_, column)| column.as_string_opt::<i32>());
    // Where lines end with a comma, a column of nothing is behind it.
    texts.filter_map(|texts| texts.iter().flatten().find(|text| !text.is_empty()))
}

/// Returns what is to be told of all that has these names, if there are any.
pub(super) fn in_words(what: &str, names: Vec<String>) -> Option<String> {
    let more = names.len().saturating_sub(MOST);
    let shown = names[..names.len() - more].join(", ");
    match (names.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(format!("{what}: {shown}")),
        (false, more) => Some(format!("{what}: {shown} and {more} more")),
    }
}
