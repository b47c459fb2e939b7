//! From the columns that a file has to rows of a table.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use dream_schema::SchemaError;
use dream_schema::value::vector_array;

use super::super::ExchangeError;
use super::super::from_vector::{FromVector, VectorRows};
use super::cells::Cells;
use super::columns::{column, is_of_names, named};
use super::flat::flatten;

/// The column of vectors.
const VECTOR: &str = "vector";

/// What a file says of its rows beside the vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// The numbers of classes.
    pub class_id: bool,
    /// The names of classes.
    pub class_name: bool,
    /// The places in classes.
    pub index: bool,
}

/// Rows, and what of them is from the file.
#[derive(Clone, Debug)]
pub struct Conformed<A> {
    /// The rows; what is not given is unknown.
    pub rows: VectorRows<A>,
    /// What is.
    pub given: Given,
    /// The columns whose numbers were rounded to f32.
    pub rounded: Vec<String>,
    /// The column that the vectors are from.
    pub column: String,
}

/// Returns the rows of a batch of the file at `path`, whose first is the file's row `start`.
///
/// # Errors
/// If there is no column of vectors, vectors differ in width or have a null in them, or a column of the table
/// holds what does not fit it.
pub fn conform<A: FromVector>(
    path: &Path,
    batch: &RecordBatch,
    start: u64,
) -> Result<Conformed<A>, ExchangeError> {
    let name = vector_column(path, batch)?;
    let vectors = batch
        .column_by_name(&name)
        .ok_or_else(|| no_vectors(path, batch))?;
    let flat = flatten(path, &name, vectors, start)?;
    let schema = A::schema(0);
    let unknown = A::to_batch(&[A::from_vector(0, "", 0, Vec::new())])?;
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    let first = UInt32Array::from(vec![0; batch.num_rows()]);
    let mut rounded: Vec<String> = flat.rounded.then(|| name.clone()).into_iter().collect();
    for (field, unknown) in schema.fields().iter().zip(unknown.columns()) {
        columns.push(match given_by(path, batch, field.name())? {
            _ if field.name() == VECTOR => {
                Arc::new(vector_array(Vec::<f32>::new().into(), 0, batch.num_rows())?)
            }
            Some((name, values)) => {
                let cells = Cells {
                    path,
                    name,
                    values,
                    start,
                };
                let (column, is_rounded) = cells.column(field)?;
                rounded.extend(is_rounded.then(|| field.name().clone()));
                column
            }
            None => take(unknown, &first, None)?,
        });
    }
    let rows = A::from_batch(&RecordBatch::try_new(schema, columns)?);
    let rows = rows.map_err(|error| of_file(path, batch, start, error))?;
    let has = |name| given_by(path, batch, name).is_ok_and(|column| column.is_some());
    Ok(Conformed {
        rows: VectorRows::new(rows, flat.numbers, flat.width),
        given: Given {
            class_id: has("class_id"),
            class_name: has("class_name"),
            index: has("index"),
        },
        rounded,
        column: name,
    })
}

/// What the rows of a table may not hold, in the words of the file.
fn of_file(path: &Path, batch: &RecordBatch, start: u64, error: SchemaError) -> ExchangeError {
    let at = |column: &'static str, row: usize| {
        let given = given_by(path, batch, column).ok().flatten();
        let name = given.map_or(column, |(name, _)| name);
        format!("`{name}` of row {}", start + row as u64)
    };
    let reason = match error {
        SchemaError::Null { column, row, .. } => {
            format!("{} is missing: fill it, or leave the column out", at(column, row))
        }
        SchemaError::Value {
            column,
            row,
            value,
            hint,
            ..
        } => format!("{} is {value:?}; {hint}", at(column, row)),
        other => other.to_string(),
    };
    let path = path.to_owned();
    ExchangeError::Unfit { path, reason }
}

/// How other programs call the column of classes, numbers or names; the last three that of names alone.
const CLASSES: [&str; 8] = [
    "label",
    "labels",
    "target",
    "targets",
    "class_ids",
    "name",
    "class",
    "category",
];

/// The column of a name, and what the file calls it; that of classes may be called otherwise.
fn given_by<'b>(
    path: &Path,
    batch: &'b RecordBatch,
    name: &'b str,
) -> Result<Option<(&'b str, &'b ArrayRef)>, ExchangeError> {
    let own = batch.column_by_name(name);
    let (names, of_names) = match name {
        _ if own.is_some() => return Ok(own.map(|column| (name, column))),
        "class_id" => (&CLASSES[..5], false),
        "class_name" => (&CLASSES[..], true),
        _ => return Ok(None),
    };
    let found = column(path, batch, names)?;
    Ok(found.filter(|(_, column)| is_of_names(column) == of_names))
}

/// The name of the column of vectors.
fn vector_column(path: &Path, batch: &RecordBatch) -> Result<String, ExchangeError> {
    if batch.column_by_name(VECTOR).is_some() {
        return Ok(VECTOR.to_owned());
    }
    let schema = batch.schema();
    let fields = schema.fields().iter();
    let mut lists = fields.filter(|field| {
        matches!(field.data_type(), DataType::FixedSizeList(item, _) | DataType::List(item)
            | DataType::LargeList(item) if item.data_type().is_numeric())
    });
    match (lists.next(), lists.next()) {
        (Some(list), None) => Ok(list.name().clone()),
        _ => Err(no_vectors(path, batch)),
    }
}

fn no_vectors(path: &Path, batch: &RecordBatch) -> ExchangeError {
    let found = named(batch).map(|field| format!("`{}` {}", field.name(), field.data_type()));
    let expected = "a column `vector` of lists of numbers, or one such column of another name";
    ExchangeError::unfit(
        path,
        "the columns",
        expected,
        found.collect::<Vec<_>>().join(", "),
    )
}
