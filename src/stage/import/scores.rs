//! Detection scores of another program: `.npz` as OpenOOD writes them (`pred`, `conf`, `label`), or CSV.

use std::path::Path;

use arrow::array::{Array as _, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Int64Type};
use dream_schema::Score;

use crate::content::Content;
use crate::exchange::records::Records;
use crate::exchange::{ArrayFile, ExchangeError};
use crate::stage::StageError;

/// How scores, classes that the network gives, and true classes are called.
const VALUES: [&str; 4] = ["conf", "value", "confidence", "score_value"];
const PREDICTED: [&str; 4] = ["pred", "predicted", "prediction", "preds"];
const LABELS: [&str; 5] = ["label", "labels", "gt", "target", "targets"];
/// Scores that are read at once.
const PART: usize = 1 << 16;

/// What scores are of.
#[derive(Clone, Copy, Debug)]
pub struct ScoresOf<'a> {
    /// The data set.
    pub dataset: &'a str,
    /// Its split.
    pub split: &'a str,
    /// The score's name.
    pub score: &'a str,
}

/// Scores, the classes that the network gives, and the true classes, an image each.
struct Columns {
    values: Vec<f32>,
    predicted: Vec<i64>,
    labels: Option<Vec<i64>>,
}

/// Reads the scores in a file. A negative label is that of an image without one.
pub(super) fn read(path: &Path, of: ScoresOf<'_>) -> Result<Vec<Score>, StageError> {
    let content = Content::at(path).map_err(ExchangeError::io(path))?;
    let columns = match Records::is_content(content) {
        true => of_table(path)?,
        false => of_arrays(path)?,
    };
    let wrong = |message: String| StageError::File {
        path: path.to_owned(),
        message,
    };
    let count = columns.values.len();
    let lengths = [
        Some(columns.predicted.len()),
        columns.labels.as_ref().map(Vec::len),
    ];
    if lengths.into_iter().flatten().any(|length| length != count) {
        return Err(wrong(format!(
            "it has {count} scores, but not as many classes or labels"
        )));
    }
    if count == 0 {
        return Err(wrong("there is no score in it".into()));
    }
    let row = |sample: usize| {
        let value = columns.values[sample];
        if value.is_nan() {
            return Err(wrong(format!("score {sample} is NaN")));
        }
        let class = |number: i64| {
            i32::try_from(number).map_err(|_| wrong(format!("image {sample} has the class {number}")))
        };
        let label = columns
            .labels
            .as_ref()
            .map(|labels| labels[sample])
            .filter(|label| *label >= 0);
        Ok(Score {
            class_id: None,
            class_name: None,
            index: sample as u64,
            dataset: of.dataset.to_owned(),
            split: of.split.to_owned(),
            score: of.score.to_owned(),
            sample: sample as i64,
            value,
            label: label.map(class).transpose()?,
            predicted: class(columns.predicted[sample])?,
        })
    };
    (0..count).map(row).collect()
}

fn of_arrays(path: &Path) -> Result<Columns, StageError> {
    let file = ArrayFile::open(path)?;
    let named = |array: &&crate::exchange::Array| VALUES.contains(&array.name.as_str());
    let Some(array) = file.arrays().iter().find(named) else {
        let what = "there is no array of scores (`conf`)";
        let members = file
            .arrays()
            .iter()
            .map(crate::exchange::Array::in_words)
            .collect();
        let path = path.to_owned();
        return Err(ExchangeError::Members { path, what, members }.into());
    };
    let count: usize = array.shape.iter().product();
    let mut numbers = file.numbers(array)?;
    let mut values = Vec::new();
    while values.len() < count {
        let mut part = vec![0.0; PART.min(count - values.len())];
        numbers.fill(&mut part).map_err(ExchangeError::io(path))?;
        values.extend(part);
    }
    let column = |names: &[&str]| Ok::<_, StageError>(file.column(names, count)?.map(|(_, column)| column));
    Ok(Columns {
        predicted: column(&PREDICTED)?.unwrap_or_else(|| vec![-1; count]),
        labels: column(&LABELS)?,
        values,
    })
}

fn of_table(path: &Path) -> Result<Columns, StageError> {
    let mut columns = Columns {
        values: Vec::new(),
        predicted: Vec::new(),
        labels: None,
    };
    for batch in Records::open(path)? {
        let batch = batch?;
        let Some(values) = column(path, &batch, &VALUES, &DataType::Float32)? else {
            let schema = batch.schema();
            let found: Vec<&str> = schema
                .fields()
                .iter()
                .map(|field| field.name().as_str())
                .collect();
            let (what, expected) = ("the columns", "`value` or `conf`");
            return Err(ExchangeError::format(path, what, expected, found.join(", ")).into());
        };
        columns
            .values
            .extend_from_slice(values.as_primitive::<Float32Type>().values());
        match column(path, &batch, &PREDICTED, &DataType::Int64)? {
            Some(predicted) => {
                columns
                    .predicted
                    .extend_from_slice(predicted.as_primitive::<Int64Type>().values());
            }
            None => columns.predicted.extend(vec![-1; batch.num_rows()]),
        }
        if let Some(labels) = column(path, &batch, &LABELS, &DataType::Int64)? {
            let labels = labels
                .as_primitive::<Int64Type>()
                .iter()
                .map(|label| label.unwrap_or(-1));
            columns.labels.get_or_insert_default().extend(labels);
        }
    }
    Ok(columns)
}

/// The first column of one of these names, in this type; only labels may be null, or empty.
fn column(
    path: &Path,
    batch: &RecordBatch,
    names: &[&str],
    data_type: &DataType,
) -> Result<Option<arrow::array::ArrayRef>, StageError> {
    let Some(name) = names.iter().find(|name| batch.column_by_name(name).is_some()) else {
        return Ok(None);
    };
    let Some(column) = batch.column_by_name(name) else {
        return Ok(None);
    };
    let empty = |row: usize| {
        column.is_null(row)
            || column
                .as_string_opt::<i32>()
                .is_some_and(|texts| texts.value(row).is_empty())
    };
    let typed = cast(column, data_type).map_err(ExchangeError::from)?;
    let may_be_empty = LABELS.contains(name);
    let bad = (0..typed.len()).find(|row| typed.is_null(*row) && !(may_be_empty && empty(*row)));
    match bad {
        Some(row) => {
            let what = format!("`{name}` of row {row}");
            Err(ExchangeError::format(path, what, data_type.to_string(), "something else, or nothing").into())
        }
        None => Ok(Some(typed)),
    }
}
