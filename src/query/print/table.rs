//! Rows as aligned columns.

use std::io::Write;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::io_error;
use crate::exchange::list::list_value;
use crate::query::Result;

/// Rows whose widths are looked at before the first is written; later ones may stick out.
const AHEAD: usize = 1000;

/// The widest a column is made; longer texts stick out.
const WIDEST: usize = 400;

/// What null is called within a value.
const NULL: &str = "null";

/// Numbers shown of a vector.
const NUMBERS: usize = 3;

/// Writes the rows as aligned columns under a header and returns their number. Numbers stand right, null is
/// empty.
///
/// # Errors
/// If a batch cannot be had or written.
pub fn write_table(
    out: &mut dyn Write,
    schema: &Schema,
    batches: impl IntoIterator<Item = Result<RecordBatch>>,
) -> Result<u64> {
    let mut table = Table::new(schema);
    let mut count = 0;
    for batch in batches {
        let batch = batch?;
        let columns = batch.columns().iter().map(cells).collect::<Result<Vec<_>>>()?;
        let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
        for _ in 0..batch.num_rows() {
            table
                .waiting
                .push(columns.iter_mut().filter_map(Iterator::next).collect());
        }
        count += batch.num_rows() as u64;
        if table.waiting.len() >= AHEAD {
            table.flush(out)?;
        }
    }
    table.flush(out)?;
    Ok(count)
}

struct Table {
    names: Vec<String>,
    right: Vec<bool>,
    /// Empty until the header is written.
    widths: Vec<usize>,
    waiting: Vec<Vec<String>>,
}

impl Table {
    fn new(schema: &Schema) -> Self {
        let fields = schema.fields();
        Self {
            names: fields.iter().map(|f| f.name().clone()).collect(),
            right: fields.iter().map(|f| f.data_type().is_numeric()).collect(),
            widths: Vec::new(),
            waiting: Vec::new(),
        }
    }

    fn flush(&mut self, out: &mut dyn Write) -> Result<()> {
        if self.widths.is_empty() {
            let width = |(i, name): (usize, &String)| {
                let cells = self.waiting.iter().filter_map(|row| row.get(i));
                cells
                    .chain([name])
                    .map(|cell| cell.chars().count())
                    .max()
                    .unwrap_or(0)
                    .min(WIDEST)
            };
            self.widths = self.names.iter().enumerate().map(width).collect();
            self.line(out, &self.names)?;
        }
        for row in std::mem::take(&mut self.waiting) {
            self.line(out, &row)?;
        }
        Ok(())
    }

    fn line(&self, out: &mut dyn Write, cells: &[String]) -> Result<()> {
        let mut line = String::new();
        for (i, ((cell, width), right)) in cells.iter().zip(&self.widths).zip(&self.right).enumerate() {
            if i > 0 {
                line.push_str("  ");
            }
            line.push_str(&if *right {
                format!("{cell:>width$}")
            } else {
                format!("{cell:<width$}")
            });
        }
        writeln!(out, "{}", line.trim_end()).map_err(io_error)?;
        Ok(())
    }
}

/// Returns the texts of a column.
pub(super) fn cells(column: &ArrayRef) -> Result<Vec<String>> {
    // Null alone is an empty cell; in a struct or a list that would be read as nothing.
    let options = FormatOptions::default()
        .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S"))
        .with_null(NULL);
    let nulls = column.logical_nulls();
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
    let cell = |row: usize| {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return Ok(String::new());
        }
        Ok(match column.data_type() {
            DataType::FixedSizeList(..) | DataType::List(_) | DataType::LargeList(_) => {
                match list_value(column, row) {
                    Some(list) => short_list(&list)?,
                    None => String::new(),
                }
            }
            DataType::Binary => format!("<{} bytes>", column.as_binary::<i32>().value(row).len()),
            DataType::Float32 => number(f64::from(column.as_primitive::<Float32Type>().value(row))),
            DataType::Float64 => number(column.as_primitive::<Float64Type>().value(row)),
            // A line break in a note would break the table.
            _ => formatter.value(row).to_string().escape_control(),
        })
    };
    (0..column.len()).map(cell).collect()
}

/// Returns the first values of a list and how many there are.
fn short_list(list: &ArrayRef) -> Result<String> {
    let head = list.slice(0, list.len().min(NUMBERS));
    let nulls = head.logical_nulls();
    let mut shown = cells(&head)?;
    for (row, cell) in shown.iter_mut().enumerate() {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            NULL.clone_into(cell);
        }
    }
    let shown = shown.join(" ");
    Ok(if list.len() > NUMBERS {
        format!("[{shown} .. {}]", list.len())
    } else {
        format!("[{shown}]")
    })
}

/// Returns a number with six significant digits.
fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || !value.is_finite() {
        format!("{value}")
    } else if (1e-4..1e9).contains(&size) {
        let digits = (5 - size.log10().floor() as i32).max(0) as usize;
        let text = format!("{value:.digits$}");
        match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
            false => text,
        }
    } else {
        let text = format!("{value:.5e}");
        match text.split_once('e') {
            Some((digits, power)) => {
                let digits = digits.trim_end_matches('0').trim_end_matches('.');
                format!("{digits}e{power}")
            }
            None => text,
        }
    }
}

trait EscapeControl {
    fn escape_control(self) -> String;
}

impl EscapeControl for String {
    /// Returns the text with control characters written as escapes (`\n`).
    fn escape_control(self) -> String {
        if !self.contains(char::is_control) {
            return self;
        }
        let mut text = String::with_capacity(self.len());
        for c in self.chars() {
            if c.is_control() {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, ListArray, StructArray};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::{Field, Int64Type};

    use super::*;

    #[test]
    fn null_within_a_list_is_seen() {
        let inner = [Some(vec![Some(1), Some(2)]), Some(vec![None, Some(4)]), None];
        let inner: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(inner));
        assert_eq!(cells(&inner).unwrap(), ["[1 2]", "[null 4]", ""]);
        let field = Arc::new(Field::new_list_field(inner.data_type().clone(), true));
        let ends = OffsetBuffer::from_lengths([3]);
        let outer: ArrayRef = Arc::new(ListArray::new(field, ends, inner.clone(), None));
        assert_eq!(cells(&outer).unwrap(), ["[[1 2] [null 4] null]"]);
        let a = Arc::new(Field::new("a", DataType::Int64, true));
        let one: ArrayRef = Arc::new(Int64Array::from(vec![None]));
        let structs: ArrayRef = Arc::new(StructArray::from(vec![(a, one)]));
        assert_eq!(cells(&structs).unwrap(), ["{a: null}"]);
    }

    #[test]
    fn numbers_have_six_digits() {
        for (value, text) in [
            (0.0, "0"),
            (0.1_f32.into(), "0.1"),
            (123456.0, "123456"),
            (1234567.8, "1234568"),
            (-0.000123456789, "-0.000123457"),
            (1.0e-30, "1e-30"),
            (-2.5e20, "-2.5e20"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-inf"),
            (999999.9999, "1000000"),
        ] {
            assert_eq!(number(value), text, "{value:e}");
        }
    }
}
