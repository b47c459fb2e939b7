//! CSV as RFC 4180 has it: one line per row, with a header; lines end with a line feed.
//!
//! A vector or a shape is one field that holds a JSON array, so that a table has the same header whatever its
//! width (`json.loads` in Python, `from_json` in DuckDB). Numbers are the shortest text that reads back to
//! the same bits; what JSON has no word for is written as `NaN`, `Infinity` and `-Infinity`, as Python does.
//! Null is the empty field, and an empty text the field `""`; only in a table of one column, where an empty
//! line would not count as a row, null is `""` too. Byte strings are refused.

use std::fmt::Write as _;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::atomic::AtomicFile;
use super::{BoxError, ExchangeError, Target};

/// Writes the rows as a CSV file and returns their number.
///
/// # Errors
/// If a column holds bytes, if the rows cannot be had, or if the file cannot be written or is there already.
pub fn write_csv<E: Into<BoxError>>(
    target: &Target,
    schema: &Schema,
    batches: impl IntoIterator<Item = Result<RecordBatch, E>>,
) -> Result<u64, ExchangeError> {
    let mut file = AtomicFile::create(target)?;
    let mut writer = CsvWriter::new(&mut file, schema)?;
    for batch in batches {
        writer.write(&batch.map_err(|e| ExchangeError::Source(e.into()))?)?;
    }
    let rows = writer.finish()?;
    file.commit()?;
    Ok(rows)
}

/// Writes batches to anything as CSV. The header comes with the first batch, or at the end where there is
/// none.
pub struct CsvWriter<W: Write> {
    out: W,
    schema: SchemaRef,
    begun: bool,
    rows: u64,
}

impl<W: Write> CsvWriter<W> {
    /// Starts a file of rows of `schema`.
    ///
    /// # Errors
    /// If a column holds bytes.
    pub fn new(out: W, schema: &Schema) -> Result<Self, ExchangeError> {
        check(schema)?;
        Ok(Self {
            out,
            schema: Arc::new(schema.clone()),
            begun: false,
            rows: 0,
        })
    }

    /// Writes the rows of a batch.
    ///
    /// # Errors
    /// If the batch has another number of columns, or if the bytes cannot be written.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), ExchangeError> {
        if batch.num_columns() != self.schema.fields().len() {
            let (expected, found) = (self.schema.fields().len(), batch.num_columns());
            let what = format!("a batch has {found} columns, those before it {expected}");
            let hint = "write rows of one table";
            return Err(ExchangeError::Layout { what, hint });
        }
        let mut text = self.header();
        let options = FormatOptions::default();
        let columns = batch.columns().iter();
        let columns: Vec<_> = columns
            .map(|c| Cells::new(c, &options))
            .collect::<Result<_, _>>()?;
        for row in 0..batch.num_rows() {
            for (place, column) in columns.iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                column.push(row, &mut text)?;
            }
            if let [column] = columns.as_slice()
                && column.array.is_null(row)
            {
                text.push_str("\"\"");
            }
            text.push('\n');
            if text.len() >= FULL {
                self.put(&mut text)?;
            }
        }
        self.put(&mut text)?;
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Writes the header if nothing was written yet, and returns the number of rows.
    ///
    /// # Errors
    /// If the bytes cannot be written.
    pub fn finish(mut self) -> Result<u64, ExchangeError> {
        let mut header = self.header();
        self.put(&mut header)?;
        self.out.flush().map_err(written)?;
        Ok(self.rows)
    }

    /// Returns the header, once.
    fn header(&mut self) -> String {
        let mut text = String::new();
        if !std::mem::replace(&mut self.begun, true) {
            for (place, field) in self.schema.fields().iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                push_field(&mut text, field.name());
            }
            text.push('\n');
        }
        text
    }

    fn put(&mut self, text: &mut String) -> Result<(), ExchangeError> {
        self.out.write_all(text.as_bytes()).map_err(written)?;
        text.clear();
        Ok(())
    }
}

/// Text is handed on when it has so many bytes.
const FULL: usize = 1 << 16;

/// Returns the error of an output that took no more.
fn written(source: std::io::Error) -> ExchangeError {
    ExchangeError::Io {
        path: "the output".into(),
        source,
    }
}

/// Appends a field, in quotes where its text needs them; an empty text does, to be told from null.
fn push_field(text: &mut String, field: &str) {
    if field.is_empty() || field.contains([',', '"', '\n', '\r']) {
        text.push('"');
        text.push_str(&field.replace('"', "\"\""));
        text.push('"');
    } else {
        text.push_str(field);
    }
}

/// A column whose values become fields.
struct Cells<'a> {
    array: &'a ArrayRef,
    formatter: ArrayFormatter<'a>,
}

impl<'a> Cells<'a> {
    fn new(array: &'a ArrayRef, options: &'a FormatOptions<'a>) -> Result<Self, ExchangeError> {
        let formatter = ArrayFormatter::try_new(array.as_ref(), options)?;
        Ok(Self { array, formatter })
    }

    /// Appends the field of a row.
    fn push(&self, row: usize, text: &mut String) -> Result<(), ExchangeError> {
        if self.array.is_null(row) {
            return Ok(());
        }
        let special = match self.array.data_type() {
            DataType::FixedSizeList(..) | DataType::List(_) | DataType::LargeList(_) => {
                let list = list_value(self.array, row);
                push_field(
                    text,
                    &list
                        .map(|list| json_array(&list))
                        .transpose()?
                        .unwrap_or_default(),
                );
                return Ok(());
            }
            DataType::Utf8 => {
                push_field(text, self.array.as_string::<i32>().value(row));
                return Ok(());
            }
            DataType::Float32 => not_finite(f64::from(self.array.as_primitive::<Float32Type>().value(row))),
            DataType::Float64 => not_finite(self.array.as_primitive::<Float64Type>().value(row)),
            _ => None,
        };
        match special {
            Some(word) => text.push_str(word),
            None => push_field(text, &self.formatter.value(row).try_to_string()?),
        }
        Ok(())
    }
}

/// Refuses columns that CSV cannot hold.
fn check(schema: &Schema) -> Result<(), ExchangeError> {
    let held = |data_type: &DataType| {
        !matches!(
            data_type,
            DataType::Binary
                | DataType::LargeBinary
                | DataType::BinaryView
                | DataType::FixedSizeBinary(_)
                | DataType::Struct(_)
                | DataType::Map(..)
        )
    };
    match schema.fields().iter().find(|field| !held(field.data_type())) {
        None => Ok(()),
        Some(field) => Err(ExchangeError::Unsupported {
            column: field.name().clone(),
            actual: field.data_type().to_string(),
            format: "CSV",
            hint: "Parquet can",
        }),
    }
}

/// Returns the list in a row of a list column; none where it is null or the column holds no lists.
pub(crate) fn list_value(column: &dyn Array, row: usize) -> Option<ArrayRef> {
    if column.is_null(row) {
        return None;
    }
    match column.data_type() {
        DataType::FixedSizeList(..) => Some(column.as_fixed_size_list().value(row)),
        DataType::List(_) => Some(column.as_list::<i32>().value(row)),
        DataType::LargeList(_) => Some(column.as_list::<i64>().value(row)),
        _ => None,
    }
}

/// Returns the values as a JSON array.
pub(crate) fn json_array(values: &dyn Array) -> Result<String, ExchangeError> {
    let mut text = String::from("[");
    let formatter = ArrayFormatter::try_new(values, &FormatOptions::default())?;
    for row in 0..values.len() {
        if row > 0 {
            text.push(',');
        }
        if values.is_null(row) {
            text.push_str("null");
            continue;
        }
        match values.data_type() {
            DataType::Float32 => {
                let value = values.as_primitive::<Float32Type>().value(row);
                push_float(&mut text, f64::from(value), &value);
            }
            DataType::Float64 => {
                let value = values.as_primitive::<Float64Type>().value(row);
                push_float(&mut text, value, &value);
            }
            DataType::Int64 => {
                let value = values.as_primitive::<Int64Type>().value(row);
                // Writing to a String never fails.
                let _ = write!(text, "{value}");
            }
            _ => {
                let value = formatter.value(row).to_string();
                text.push_str(&serde_json::Value::from(value).to_string());
            }
        }
    }
    text.push(']');
    Ok(text)
}

/// Appends a number: `shown` is the number in its own type, whose text is the shortest that reads back.
fn push_float(text: &mut String, value: f64, shown: &dyn std::fmt::Debug) {
    match not_finite(value) {
        Some(word) => text.push_str(word),
        None => {
            let _ = write!(text, "{shown:?}");
        }
    }
}

/// Returns the word for a number that is not finite.
fn not_finite(value: f64) -> Option<&'static str> {
    match value {
        _ if value.is_finite() => None,
        _ if value.is_nan() => Some("NaN"),
        _ if value > 0.0 => Some("Infinity"),
        _ => Some("-Infinity"),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, StringArray};

    use super::*;
    use dream_schema::{Artifact, Image, Outlier, OutlierKind, RunId, with_run};

    fn outlier(index: u64, vector: Vec<f32>) -> Outlier {
        Outlier {
            class_id: 3,
            class_name: "pickup, \"truck\"".into(),
            index,
            kind: OutlierKind::Outlier,
            vector,
            anchor: 4,
            round: 5,
            knn_distance: Some(0.1),
        }
    }

    fn text(batch: &RecordBatch) -> Result<String, ExchangeError> {
        let mut out = Vec::new();
        let mut writer = CsvWriter::new(&mut out, &batch.schema())?;
        writer.write(batch)?;
        writer.finish()?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn vectors_are_json_arrays_that_read_back() {
        let vectors = [vec![0.1, -1e-30, 1.0e20], vec![f32::NAN, f32::INFINITY, -0.0]];
        let rows = [outlier(0, vectors[0].clone()), outlier(1, vectors[1].clone())];
        let batch = with_run(RunId([1; 16]), &Outlier::to_batch(&rows).unwrap()).unwrap();
        let text = text(&batch).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[0],
            "run,class_id,class_name,index,kind,vector,anchor,round,knn_distance"
        );
        let run = "01".repeat(16);
        let array = "[0.1,-1e-30,1e20]";
        assert_eq!(
            lines[1],
            format!("{run},3,\"pickup, \"\"truck\"\"\",0,outlier,\"{array}\",4,5,0.1")
        );
        let read: Vec<f32> = serde_json::from_str(array).unwrap();
        assert_eq!(read, vectors[0]);
        assert!(lines[2].contains("\"[NaN,Infinity,-0.0]\""), "{}", lines[2]);
    }

    #[test]
    fn null_is_told_from_an_empty_text() {
        let column = |values: &[Option<&str>]| -> ArrayRef { Arc::new(StringArray::from(values.to_vec())) };
        let a = column(&[None, Some(""), Some("a\nb\r\"c\""), Some(" d ")]);
        let b: ArrayRef = Arc::new(Float64Array::from(vec![
            Some(f64::NAN),
            None,
            Some(f64::NEG_INFINITY),
            Some(0.25),
        ]));
        let columns = [("a", a.clone(), true), ("b, \"c\"", b, true)];
        let two = text(&RecordBatch::try_from_iter_with_nullable(columns).unwrap()).unwrap();
        assert_eq!(
            two,
            "a,\"b, \"\"c\"\"\"\n,NaN\n\"\",\n\"a\nb\r\"\"c\"\"\",-Infinity\n d ,0.25\n"
        );
        let one = text(&RecordBatch::try_from_iter_with_nullable([("a", a, true)]).unwrap()).unwrap();
        assert!(one.starts_with("a\n\"\"\n\"\"\n"), "{one}");
    }

    #[test]
    fn no_rows_are_a_header() {
        let batch = RecordBatch::new_empty(Outlier::schema(3));
        assert!(text(&batch).unwrap().starts_with("class_id,class_name,index,"));
    }

    #[test]
    fn bytes_are_refused_with_a_way_out() {
        let batch = RecordBatch::new_empty(Image::schema(0));
        let err = text(&batch).unwrap_err().to_string();
        assert!(
            err.contains("`png`") && err.contains("CSV cannot hold; Parquet can"),
            "{err}"
        );
    }

    #[test]
    fn a_failing_source_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let target = Target::new(dir.path().join("a.csv"));
        let schema = Outlier::schema(1);
        let batches = [
            Ok(Outlier::to_batch(&[outlier(0, vec![1.0])]).unwrap()),
            Err("the disk is gone"),
        ];
        let err = write_csv(&target, &schema, batches).unwrap_err();
        assert_eq!(err.to_string(), "the disk is gone");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
