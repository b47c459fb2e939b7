//! CSV: one line a row, with a header.
//!
//! A vector or a shape is one field that holds a JSON array, so that a table has the same header whatever its
//! width (`json.loads` in Python, `from_json` in DuckDB). Numbers are the shortest text that reads back to
//! the same bits; what JSON has no word for is written as `NaN`, `Infinity` and `-Infinity`, as Python does.
//! Null is the empty field. Byte strings are refused.

use std::fmt::Write as _;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::csv::WriterBuilder;
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Int64Type, Schema, SchemaRef};
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
    writer: arrow::csv::Writer<W>,
    schema: SchemaRef,
    rows: u64,
}

impl<W: Write> CsvWriter<W> {
    /// Starts a file of rows of `schema`.
    ///
    /// # Errors
    /// If a column holds bytes.
    pub fn new(out: W, schema: &Schema) -> Result<Self, ExchangeError> {
        let schema = text_schema(schema)?;
        let writer = WriterBuilder::new().with_header(true).build(out);
        Ok(Self {
            writer,
            schema,
            rows: 0,
        })
    }

    /// Writes the rows of a batch.
    ///
    /// # Errors
    /// If the batch has other columns, or if the bytes cannot be written.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), ExchangeError> {
        let columns = batch
            .columns()
            .iter()
            .map(text_column)
            .collect::<Result<_, _>>()?;
        let batch = RecordBatch::try_new(self.schema.clone(), columns)?;
        self.writer.write(&batch)?;
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Writes the header if nothing was written yet, and returns the number of rows.
    ///
    /// # Errors
    /// If the bytes cannot be written.
    pub fn finish(mut self) -> Result<u64, ExchangeError> {
        if self.rows == 0 {
            self.writer.write(&RecordBatch::new_empty(self.schema.clone()))?;
        }
        Ok(self.rows)
    }
}

/// Returns the schema with every list as text.
fn text_schema(schema: &Schema) -> Result<SchemaRef, ExchangeError> {
    let text = |field: &Arc<Field>| match field.data_type() {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::Struct(_) => {
            Err(ExchangeError::Unsupported {
                column: field.name().clone(),
                actual: field.data_type().to_string(),
                format: "CSV",
                hint: "export to Parquet, export images to a directory, or leave the column out",
            })
        }
        DataType::FixedSizeList(..) | DataType::List(_) | DataType::LargeList(_) => {
            Ok(Arc::new(Field::new(field.name(), DataType::Utf8, true)))
        }
        _ => Ok(field.clone()),
    };
    let fields = schema.fields().iter().map(text).collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(Schema::new(fields)))
}

/// Returns a list column as JSON arrays, any other as it is.
fn text_column(column: &ArrayRef) -> Result<ArrayRef, ExchangeError> {
    if !column.data_type().is_nested() {
        return Ok(column.clone());
    }
    let mut texts = Vec::with_capacity(column.len());
    for row in 0..column.len() {
        texts.push(
            list_value(column, row)
                .map(|list| json_array(&list))
                .transpose()?,
        );
    }
    Ok(Arc::new(StringArray::from(texts)))
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
    if value.is_nan() {
        text.push_str("NaN");
    } else if value.is_infinite() {
        text.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    } else {
        let _ = write!(text, "{shown:?}");
    }
}

#[cfg(test)]
mod tests {
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
    fn no_rows_are_a_header() {
        let batch = RecordBatch::new_empty(Outlier::schema(3));
        assert!(text(&batch).unwrap().starts_with("class_id,class_name,index,"));
    }

    #[test]
    fn bytes_are_refused_with_a_way_out() {
        let batch = RecordBatch::new_empty(Image::schema(0));
        let err = text(&batch).unwrap_err().to_string();
        assert!(
            err.contains("`png`") && err.contains("export to Parquet"),
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
