//! What columns of other programs' tables hold: class numbers, numbers of images, texts that must agree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use arrow::array::{Array as _, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};

use crate::exchange::ExchangeError;
use crate::exchange::records::column;
use crate::floats::whole;
use crate::stage::StageError;

fn unfit(path: &Path, reason: String) -> ExchangeError {
    ExchangeError::Unfit {
        path: path.to_owned(),
        reason,
    }
}

/// Numbers of images, one a row: those of the file, or else by row.
///
/// # Errors
/// A number that is negative or there twice, or fewer numbers than rows.
pub(super) fn samples(path: &Path, given: Option<Vec<i64>>, rows: usize) -> Result<Vec<i64>, ExchangeError> {
    let Some(given) = given else {
        return Ok((0..rows as i64).collect());
    };
    if given.len() != rows {
        return Err(unfit(
            path,
            format!(
                "there are {rows} rows, and {} of them have a `sample`",
                given.len()
            ),
        ));
    }
    let mut seen = BTreeSet::new();
    match given
        .iter()
        .position(|sample| *sample < 0 || !seen.insert(*sample))
    {
        Some(row) => {
            let sample = given[row];
            let what = if sample < 0 {
                "no number of an image"
            } else {
                "there twice"
            };
            Err(unfit(
                path,
                format!("`sample` of row {row} is {sample}, which is {what}"),
            ))
        }
        None => Ok(given),
    }
}

/// How columns are called that say of each row whether it is in-distribution.
const SIDES: [&str; 4] = ["is_ood", "is_id", "ood", "is_in_distribution"];

/// What all rows of a file must agree in, by column.
pub(super) type Agreed = BTreeMap<String, String>;

/// Refuses rows of several runs, data sets and the like, which an export of ours may hold, and of ID and OOD
/// images: of one file they would become one.
pub(super) fn check_one(path: &Path, batch: &RecordBatch, seen: &mut Agreed) -> Result<(), ExchangeError> {
    for name in ["run", "dataset", "split", "score"] {
        let Some(texts) = batch
            .column_by_name(name)
            .filter(|column| column.data_type().is_string())
        else {
            continue;
        };
        let texts = cast(texts, &DataType::Utf8)?;
        for text in texts.as_string::<i32>().iter().flatten() {
            // CSV has numbers as text, too.
            if text.parse::<f64>().is_ok() {
                break;
            }
            let first = seen.entry(name.to_owned()).or_insert_with(|| text.to_owned());
            if first != text {
                let first = first.clone();
                let what = format!("its column `{name}` has `{first}` and `{text}`: import them one by one");
                return Err(unfit(path, what));
            }
        }
    }
    if let Some((name, sides)) = column(path, batch, &SIDES)?
        && let Ok(sides) = cast(sides, &DataType::Utf8)
    {
        for side in sides.as_string::<i32>().iter().flatten() {
            let first = seen.entry(name.to_owned()).or_insert_with(|| side.to_owned());
            if first != side {
                let what = format!(
                    "its column `{name}` has `{first}` and `{side}`: import ID and OOD images one by one"
                );
                return Err(unfit(path, what));
            }
        }
    }
    Ok(())
}

/// Refuses a file that says of itself that it is of something else than was asked for: column by column, what
/// that is.
pub(super) fn check_asked(
    path: &Path,
    seen: &Agreed,
    asked: &[(&'static str, &str)],
) -> Result<(), StageError> {
    for &(column, asked) in asked {
        if let Some(said) = seen.get(column).filter(|said| *said != asked) {
            return Err(StageError::Contradicted {
                path: path.to_owned(),
                column,
                said: said.clone(),
                asked: asked.to_owned(),
            });
        }
    }
    Ok(())
}

/// Adds the class numbers of a column, -1 where there is none: integers, or whole numbers, also as text.
/// Nulls, empty texts and NaN are none.
///
/// # Errors
/// If there is anything else, by its row.
pub(super) fn add_classes(
    path: &Path,
    (name, column): (&str, &ArrayRef),
    classes: &mut Vec<i64>,
) -> Result<(), ExchangeError> {
    let start = classes.len();
    let column = match column.data_type() {
        DataType::Dictionary(_, of) => &cast(column, of)?,
        _ => column,
    };
    let kind = column.data_type();
    let is_text = matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let wrong = |row: usize, value: String| {
        let row = start + row;
        unfit(
            path,
            format!("`{name}` of row {row} is {value}, which is no class number"),
        )
    };
    if !kind.is_floating() && !is_text {
        if !kind.is_integer() && kind != &DataType::Null {
            return Err(unfit(path, format!("`{name}` is {kind}, not class numbers")));
        }
        let integers = cast(column, &DataType::Int64)?;
        let lost = (0..column.len()).find(|row| integers.is_null(*row) && !column.is_null(*row));
        if let Some(row) = lost {
            return Err(wrong(row, format!("beyond all integers ({kind})")));
        }
        let given = integers.as_primitive::<Int64Type>().iter();
        classes.extend(given.map(|class| class.unwrap_or(-1)));
        return Ok(());
    }
    let texts = cast(column, &DataType::Utf8)?;
    let numbers = match is_text {
        true => None,
        false => Some(cast(column, &DataType::Float64)?),
    };
    for (row, text) in texts.as_string::<i32>().iter().enumerate() {
        let text = text.unwrap_or_default().trim();
        let class = match &numbers {
            _ if text.is_empty() => Some(-1),
            Some(numbers) => whole(numbers.as_primitive::<Float64Type>().value(row)),
            None => text.parse().ok().or_else(|| whole(text.parse().ok()?)),
        };
        classes.push(class.ok_or_else(|| wrong(row, format!("{text:?}")))?);
    }
    Ok(())
}
