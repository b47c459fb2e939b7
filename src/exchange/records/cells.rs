//! The columns of a table from what a file has in their place: numbers of any kind, also as text, each
//! refused by its row where it does not fit.

use std::path::Path;

use arrow::array::{Array as _, ArrayRef, AsArray, Float64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Int64Type};
use arrow::util::display::array_value_to_string;

use super::super::ExchangeError;
use super::super::parquet::convert;

/// A column of a file.
#[derive(Clone, Copy)]
pub(super) struct Cells<'a> {
    /// The file.
    pub(super) path: &'a Path,
    /// What it calls the column.
    pub(super) name: &'a str,
    pub(super) values: &'a ArrayRef,
    /// The row of the file that the first of these values is of.
    pub(super) start: u64,
}

impl Cells<'_> {
    /// Returns the values in the type of `field`, and whether some were rounded.
    ///
    /// # Errors
    /// A value that the field cannot have, by its row.
    pub(super) fn column(&self, field: &Field) -> Result<(ArrayRef, bool), ExchangeError> {
        if field.data_type() == &DataType::Float32 && self.values.data_type().is_numeric() {
            return self.floats();
        }
        let column = match (field.data_type().is_integer(), self.values.data_type()) {
            (true, kind) if kind.is_floating() => self.whole(field, self.values)?,
            (_, DataType::Utf8) if field.data_type() != &DataType::Utf8 => self.of_text(field)?,
            (true, kind) if kind.is_integer() => self.fitting(field, self.values)?,
            _ => convert(self.path, field, self.values).map_err(ExchangeError::refused)?,
        };
        if field.data_type().is_integer() {
            self.check_counted(field, &column)?;
        }
        Ok((column, false))
    }

    fn wrong(&self, row: usize, expected: impl Into<String>) -> ExchangeError {
        let what = format!("`{}` of row {}", self.name, self.start + row as u64);
        let actual = match self.values.as_string_opt::<i32>() {
            Some(texts) => format!("{:?}", texts.value(row)),
            None => array_value_to_string(self.values, row).unwrap_or_default(),
        };
        ExchangeError::unfit(self.path, what, expected, actual)
    }

    /// Returns integers in the type of `field`: what does not fit becomes null, and is refused.
    fn fitting(&self, field: &Field, numbers: &ArrayRef) -> Result<ArrayRef, ExchangeError> {
        let kept = cast(numbers, field.data_type())?;
        match (0..kept.len()).find(|row| kept.is_null(*row) && numbers.is_valid(*row)) {
            Some(row) => Err(self.wrong(row, in_words(field))),
            None => Ok(kept),
        }
    }

    /// Whole numbers of an integer column that pandas has made floating point because one was missing.
    fn whole(&self, field: &Field, numbers: &ArrayRef) -> Result<ArrayRef, ExchangeError> {
        let numbers = cast(numbers, &DataType::Float64)?;
        let numbers = numbers.as_primitive::<Float64Type>().iter();
        let numbers: Float64Array = numbers.map(|number| number.filter(|n| !n.is_nan())).collect();
        let fraction = numbers.iter().position(|n| n.is_some_and(|n| n.fract() != 0.0));
        match fraction {
            Some(row) => Err(self.wrong(row, in_words(field))),
            None => self.fitting(field, &(std::sync::Arc::new(numbers) as ArrayRef)),
        }
    }

    /// Returns what is text as numbers; an empty text is none.
    fn of_text(&self, field: &Field) -> Result<ArrayRef, ExchangeError> {
        let texts = self.values.as_string::<i32>().iter();
        let texts: StringArray = texts.map(|text| text.filter(|text| !text.is_empty())).collect();
        let read = |kind: &DataType| {
            let numbers = cast(&texts, kind)?;
            let lost = (0..texts.len()).find(|row| numbers.is_null(*row) && texts.is_valid(*row));
            Ok::<_, ExchangeError>((numbers, lost))
        };
        match read(field.data_type())? {
            (numbers, None) => Ok(numbers),
            (_, Some(lost)) if field.data_type().is_integer() => match read(&DataType::Float64)? {
                (numbers, None) => self.whole(field, &numbers),
                (_, Some(_)) => Err(self.wrong(lost, in_words(field))),
            },
            (_, Some(lost)) => Err(self.wrong(lost, in_words(field))),
        }
    }

    /// Returns numbers of any kind in 32 bits, and whether some of them were rounded.
    fn floats(&self) -> Result<(ArrayRef, bool), ExchangeError> {
        let numbers = cast(self.values, &DataType::Float32)?;
        let wide = cast(self.values, &DataType::Float64)?;
        let kept = numbers.as_primitive::<Float32Type>();
        let wide = wide.as_primitive::<Float64Type>();
        let pairs = || (0..wide.len()).filter(|row| wide.is_valid(*row));
        let pairs = || pairs().map(|row| (row, wide.value(row), kept.value(row)));
        if let Some((row, ..)) = pairs().find(|(_, number, kept)| number.is_finite() && kept.is_infinite()) {
            return Err(self.wrong(row, "a number of 32 bits"));
        }
        let is_rounded = pairs().any(|(_, number, kept)| !number.is_nan() && f64::from(kept) != number);
        Ok((numbers, is_rounded))
    }

    /// Refuses numbers below those that the column counts from. A negative place would be the largest there
    /// is, where the keys of rows end; class -1 another class than any.
    fn check_counted(&self, field: &Field, column: &ArrayRef) -> Result<(), ExchangeError> {
        let (least, expected) = match field.name().as_str() {
            "class_id" => (0, "the number of a class, 0 or more"),
            "index" => (0, "a place in the class, 0 or more"),
            // What imported rows have, and so exports of them.
            _ => (-1, "0 or more, or -1 where it is not known"),
        };
        let numbers = cast(column, &DataType::Int64)?;
        let mut numbers = numbers.as_primitive::<Int64Type>().iter();
        match numbers.position(|number| number.is_some_and(|number| number < least)) {
            Some(row) => Err(self.wrong(row, expected)),
            None => Ok(()),
        }
    }
}

/// What a field holds, in words.
fn in_words(field: &Field) -> &'static str {
    match field.data_type() {
        DataType::Int32 => "a whole number of 32 bits",
        DataType::Int64 => "a whole number of 64 bits",
        _ => "a number",
    }
}
