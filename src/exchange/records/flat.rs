//! Columns of vectors as numbers of 32 bits, one vector after the other.

use std::path::Path;

use arrow::array::{Array as _, ArrayRef, AsArray, Float32Array, OffsetSizeTrait};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float16Type, Float32Type, Float64Type};

use super::super::ExchangeError;
use super::super::list::list_value;

/// Vectors of one width.
pub(crate) struct Flat {
    /// One vector after the other.
    pub(crate) numbers: Float32Array,
    pub(crate) width: usize,
    /// Whether numbers were rounded to f32.
    pub(super) rounded: bool,
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
            return Err(ExchangeError::unfit(path, at(row), "a vector", "null"));
        }
        match column.data_type() {
            DataType::Utf8 => {
                let text = column.as_string::<i32>().value(row);
                let read = numbers_of(text)
                    .map_err(|found| ExchangeError::unfit(path, at(row), "numbers in brackets", found))?;
                numbers.extend(read);
            }
            _ => {
                let list = list_value(column, row);
                let list = list.ok_or_else(|| {
                    let actual = column.data_type().to_string();
                    ExchangeError::unfit(path, at(row), "lists of numbers", actual)
                })?;
                if let Some(place) = (0..list.len()).find(|place| list.is_null(*place)) {
                    let actual = format!("a null at number {place} (pandas writes NaN so)");
                    return Err(ExchangeError::unfit(path, at(row), "numbers", actual));
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
            return Err(ExchangeError::unfit(
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
            return Err(ExchangeError::unfit(path, what, "numbers", other.to_string()));
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
    if inner.trim().is_empty() {
        return Ok(Vec::new());
    }
    // Between commas there is a number each: one that is missing would move the rest up.
    let words: Box<dyn Iterator<Item = &str>> = match inner.contains(',') {
        true => Box::new(inner.split(',').map(str::trim)),
        false => Box::new(inner.split_whitespace()),
    };
    words
        .map(|word| match word {
            "" => Err(format!("a number that is missing in `{text:.40}`")),
            _ => word.parse().map_err(|_| format!("{word:?}")),
        })
        .collect()
}
