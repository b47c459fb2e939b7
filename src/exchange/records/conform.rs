//! From the columns that a file has to rows of a table.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float32Array, Float64Array, OffsetSizeTrait, RecordBatch, StringArray,
    UInt32Array,
};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, Float16Type, Float32Type, Float64Type};
use dream_schema::value::vector_array;

use super::super::ExchangeError;
use super::super::csv::list_value;
use super::super::from_vector::{FromVector, VectorRows};
use super::super::parquet::convert;
use super::columns::{column, is_of_names, named};

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
            Some(given) if field.data_type() == &DataType::Float32 && given.data_type().is_numeric() => {
                let (numbers, is_rounded) = floats(path, field, given)?;
                rounded.extend(is_rounded.then(|| field.name().clone()));
                numbers
            }
            Some(given) => given_column(path, field, given)?,
            None => take(unknown, &first, None)?,
        });
    }
    let rows = A::from_batch(&RecordBatch::try_new(schema, columns)?)?;
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

/// The column of a name; that of classes may be called otherwise.
fn given_by<'b>(
    path: &Path,
    batch: &'b RecordBatch,
    name: &str,
) -> Result<Option<&'b ArrayRef>, ExchangeError> {
    let own = batch.column_by_name(name);
    let (names, of_names) = match name {
        _ if own.is_some() => return Ok(own),
        "class_id" => (&CLASSES[..5], false),
        "class_name" => (&CLASSES[..], true),
        _ => return Ok(None),
    };
    let found = column(path, batch, names)?.map(|(_, column)| column);
    Ok(found.filter(|column| is_of_names(column) == of_names))
}

/// Whole numbers of an integer column that pandas has made floating point because one was missing.
fn integers(path: &Path, field: &Field, column: &ArrayRef) -> Result<ArrayRef, ExchangeError> {
    let numbers = cast(column, &DataType::Float64)?;
    let numbers = numbers.as_primitive::<Float64Type>();
    let fraction = numbers
        .iter()
        .position(|number| number.is_some_and(|n| n.fract() != 0.0 && !n.is_nan()));
    if let Some(row) = fraction {
        let what = format!("the values of `{}`", field.name());
        let (expected, actual) = (field.data_type().to_string(), numbers.value(row).to_string());
        return Err(ExchangeError::format(path, what, expected, actual));
    }
    let whole: Float64Array = numbers
        .iter()
        .map(|number| number.filter(|n| !n.is_nan()))
        .collect();
    Ok(cast(&whole, field.data_type())?)
}

/// Returns numbers of any kind in 32 bits, and whether some of them were rounded.
fn floats(path: &Path, field: &Field, column: &ArrayRef) -> Result<(ArrayRef, bool), ExchangeError> {
    let numbers = cast(column, &DataType::Float32)?;
    let wide = cast(column, &DataType::Float64)?;
    let kept = numbers.as_primitive::<Float32Type>().iter().flatten();
    let pairs = || {
        wide.as_primitive::<Float64Type>()
            .iter()
            .flatten()
            .zip(kept.clone())
    };
    if let Some((number, _)) = pairs().find(|(number, kept)| number.is_finite() && kept.is_infinite()) {
        let what = format!("the values of `{}`", field.name());
        return Err(ExchangeError::format(
            path,
            what,
            "numbers of 32 bits",
            number.to_string(),
        ));
    }
    let is_rounded = pairs().any(|(number, kept)| !number.is_nan() && f64::from(kept) != number);
    Ok((numbers, is_rounded))
}

/// Returns a column in the type of `field`. What is text is read as a number where that is wanted; an empty
/// text is no number.
fn given_column(path: &Path, field: &Field, column: &ArrayRef) -> Result<ArrayRef, ExchangeError> {
    if field.data_type().is_integer() && column.data_type().is_floating() {
        return convert(path, field, &integers(path, field, column)?);
    }
    if column.data_type() != &DataType::Utf8 || field.data_type() == &DataType::Utf8 {
        return convert(path, field, column);
    }
    let texts = column.as_string::<i32>();
    let texts: StringArray = texts
        .iter()
        .map(|text| text.filter(|text| !text.is_empty()))
        .collect();
    let mut numbers = cast(&texts, field.data_type())?;
    if numbers.null_count() != texts.null_count() && field.data_type().is_integer() {
        let column = cast(&texts, &DataType::Float64)?;
        if column.null_count() == texts.null_count() {
            numbers = integers(path, field, &column)?;
        }
    }
    if numbers.null_count() != texts.null_count() {
        let row = (0..texts.len()).find(|row| numbers.is_null(*row) && texts.is_valid(*row));
        let text = row.map_or("", |row| texts.value(row));
        let what = format!("the values of `{}`", field.name());
        let (expected, actual) = (field.data_type().to_string(), format!("{text:?}"));
        return Err(ExchangeError::format(path, what, expected, actual));
    }
    Ok(numbers)
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
    ExchangeError::format(
        path,
        "the columns",
        expected,
        found.collect::<Vec<_>>().join(", "),
    )
}

/// Vectors of one width.
pub(crate) struct Flat {
    /// One vector after the other.
    pub(crate) numbers: Float32Array,
    pub(crate) width: usize,
    /// Whether numbers were rounded to f32.
    rounded: bool,
}

impl Flat {
    /// The numbers as they are, where they are whole vectors of 32 bits and one width.
    fn as_it_is(column: &ArrayRef) -> Option<Self> {
        let (items, start, width) = match column.data_type() {
            DataType::FixedSizeList(..) => {
                let list = column.as_fixed_size_list();
                let width = list.value_length() as usize;
                (list.values(), list.value_offset(0) as usize, width)
            }
            DataType::List(_) => {
                let list = column.as_list::<i32>();
                let (start, width) = stride(list.value_offsets())?;
                (list.values(), start, width)
            }
            DataType::LargeList(_) => {
                let list = column.as_list::<i64>();
                let (start, width) = stride(list.value_offsets())?;
                (list.values(), start, width)
            }
            _ => return None,
        };
        let numbers = items.as_primitive_opt::<Float32Type>()?;
        let numbers = numbers.slice(start, column.len() * width);
        let whole = column.null_count() == 0 && numbers.null_count() == 0 && width > 0;
        whole.then_some(Self {
            numbers,
            width,
            rounded: false,
        })
    }
}

/// Returns where the first of these lists begins and how long each is, where all are equally long.
fn stride<O: OffsetSizeTrait>(offsets: &[O]) -> Option<(usize, usize)> {
    let (first, last) = (offsets.first()?.as_usize(), offsets.last()?.as_usize());
    let width = (last - first).checked_div(offsets.len() - 1)?;
    let equal = offsets
        .windows(2)
        .all(|pair| pair[1].as_usize() - pair[0].as_usize() == width);
    equal.then_some((first, width))
}

/// Returns the vectors of a column as f32, checked for nulls at every depth and for one width; the first is
/// of the file's row `start`.
///
/// # Errors
/// If a row is no list of numbers, or one of another width.
pub(crate) fn flatten(path: &Path, name: &str, column: &ArrayRef, start: u64) -> Result<Flat, ExchangeError> {
    if let Some(flat) = Flat::as_it_is(column) {
        return Ok(flat);
    }
    let (mut numbers, mut expected, mut rounded) = (Vec::new(), 0, false);
    let at = |row: usize| format!("`{name}` of row {}", start + row as u64);
    for row in 0..column.len() {
        let before = numbers.len();
        if column.is_null(row) {
            return Err(ExchangeError::format(path, at(row), "a vector", "null"));
        }
        match column.data_type() {
            DataType::Utf8 => {
                let text = column.as_string::<i32>().value(row);
                let read = numbers_of(text)
                    .map_err(|found| ExchangeError::format(path, at(row), "numbers in brackets", found))?;
                numbers.extend(read);
            }
            _ => {
                let list = list_value(column, row);
                let list = list.ok_or_else(|| {
                    let actual = column.data_type().to_string();
                    ExchangeError::format(path, at(row), "lists of numbers", actual)
                })?;
                if let Some(place) = (0..list.len()).find(|place| list.is_null(*place)) {
                    let actual = format!("a null at number {place} (pandas writes NaN so)");
                    return Err(ExchangeError::format(path, at(row), "numbers", actual));
                }
                rounded |= push(path, &mut numbers, &list, &at(row))?;
            }
        }
        let width = numbers.len() - before;
        if row == 0 {
            expected = width;
        }
        if width != expected || width == 0 {
            let expected = match expected {
                0 => "at least one number".to_owned(),
                width => format!("{width} numbers, as in the rows before"),
            };
            return Err(ExchangeError::format(
                path,
                at(row),
                expected,
                format!("{width} numbers"),
            ));
        }
    }
    Ok(Flat {
        numbers: numbers.into(),
        width: expected,
        rounded,
    })
}

/// Appends the numbers of a list; says whether they were rounded.
fn push(path: &Path, numbers: &mut Vec<f32>, list: &ArrayRef, what: &str) -> Result<bool, ExchangeError> {
    match list.data_type() {
        DataType::Float32 => numbers.extend_from_slice(list.as_primitive::<Float32Type>().values()),
        DataType::Float16 => {
            let values = list.as_primitive::<Float16Type>().values().iter();
            numbers.extend(values.map(|value| value.to_f32()));
        }
        DataType::Float64 => {
            let values = list.as_primitive::<Float64Type>().values().iter();
            numbers.extend(values.map(|value| *value as f32));
            return Ok(true);
        }
        other if other.is_numeric() => {
            let values = cast(list, &DataType::Float64)?;
            let values = values.as_primitive::<Float64Type>().values();
            numbers.extend(values.iter().map(|value| *value as f32));
            return Ok(values.iter().any(|value| f64::from(*value as f32) != *value));
        }
        other => {
            return Err(ExchangeError::format(path, what, "numbers", other.to_string()));
        }
    }
    Ok(false)
}

/// Returns the numbers of a text such as `[0.1, 2]`, as JSON and NumPy write it; else what was found.
fn numbers_of(text: &str) -> Result<Vec<f32>, String> {
    let inner = text
        .trim()
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let Some(inner) = inner else {
        return Err(format!("{text:.40}"));
    };
    if inner.contains("...") {
        return Err("`...`: NumPy leaves numbers out where it prints an array".into());
    }
    let words = inner
        .split([',', ' ', '\n', '\r', '\t'])
        .filter(|word| !word.is_empty());
    words
        .map(|word| word.parse().map_err(|_| format!("{word:?}")))
        .collect()
}
