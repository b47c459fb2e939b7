//! CSV as RFC 4180 has it: one line per row, with a header; lines end with a line feed.
//!
//! A vector or a shape is one field that holds a JSON array, so that a table has the same header whatever its
//! width (`json.loads` in Python, `from_json` in DuckDB); so is every list, struct and map.
//! Numbers are the shortest text that reads back to the same bits; what JSON has no word for is written as
//! `NaN`, `Infinity` and `-Infinity`, as Python does. Null is the empty field, and an empty text the field
//! `""`; only in a table of one column, where an empty line would not count as a row, null is `""` too. Byte
//! strings are refused.

mod cells;

use std::io::Write;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::util::display::FormatOptions;

use super::atomic::AtomicFile;
use super::{BoxError, ExchangeError, Target};
use cells::{Cells, push_field};

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
    /// If a column holds bytes, at any depth.
    pub fn new(out: W, schema: &Schema) -> Result<Self, ExchangeError> {
        cells::check(schema)?;
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
        let (shown, nested) = (FormatOptions::default(), cells::nested());
        let (schema, arrays) = (batch.schema(), cells::plain(batch.columns())?);
        let columns = schema.fields().iter().zip(&arrays);
        let mut columns: Vec<_> = columns
            .map(|(field, array)| Cells::new(field, array, &shown, &nested))
            .collect::<Result<_, _>>()?;
        for row in 0..batch.num_rows() {
            for (place, column) in columns.iter_mut().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                column.push(row, &mut text)?;
            }
            if let [column] = columns.as_slice()
                && column.is_null(row)
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

#[cfg(test)]
mod tests {
    use arrow::array::{
        Array, ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float16Array, Float64Array, Int64Array,
        ListArray, NullArray, StringArray, StructArray,
    };
    use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
    use arrow::compute::cast;
    use arrow::datatypes::{DataType, Field};

    use half::f16;

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

    /// Lists of two values each.
    fn pairs(values: ArrayRef) -> ArrayRef {
        let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
        let ends = (0..=values.len() as i32)
            .step_by(2)
            .collect::<ScalarBuffer<i32>>();
        Arc::new(ListArray::new(field, OffsetBuffer::new(ends), values, None))
    }

    #[test]
    fn what_is_nested_is_json_at_any_depth() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(2), None, Some(4)]));
        let deep = pairs(pairs(numbers));
        let flags = pairs(Arc::new(BooleanArray::from(vec![Some(true), None])));
        let money = Decimal128Array::from(vec![150, -7]).with_precision_and_scale(9, 2);
        let halves = Float16Array::from(vec![f16::from_f32(1.5), f16::INFINITY]);
        let words: ArrayRef = Arc::new(StringArray::from(vec![Some("a \"b\", c"), None]));
        let kind = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
        let coded = pairs(cast(&words, &kind).unwrap());
        let fields = vec![
            Field::new("a", DataType::Int64, true),
            Field::new("b", DataType::Utf8, true),
        ];
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        let valid = NullBuffer::from(vec![true, false]);
        let structs = StructArray::new(fields.into(), vec![numbers, words], Some(valid));
        let one: ArrayRef = Arc::new(structs.slice(0, 1));
        let columns = [
            ("deep", deep),
            ("flags", flags),
            ("money", pairs(Arc::new(money.unwrap()))),
            ("halves", pairs(Arc::new(halves))),
            ("coded", coded),
            ("structs", pairs(Arc::new(structs))),
            ("one", one),
            ("none", Arc::new(NullArray::new(1)) as ArrayRef),
        ];
        let columns = columns.map(|(name, column)| (name, column, true));
        let text = text(&RecordBatch::try_from_iter_with_nullable(columns).unwrap()).unwrap();
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let row = reader.records().next().unwrap().unwrap();
        assert_eq!(
            row.iter().collect::<Vec<_>>(),
            [
                "[[1,2],[null,4]]",
                "[true,null]",
                "[1.50,-0.07]",
                "[1.5,Infinity]",
                r#"["a \"b\", c",null]"#,
                r#"[{"a":1,"b":"a \"b\", c"},null]"#,
                r#"{"a":1,"b":"a \"b\", c"}"#,
                "",
            ]
        );
    }

    #[test]
    fn numbers_behind_a_dictionary_or_of_half_a_width_are_numbers() {
        let numbers: ArrayRef = Arc::new(Float64Array::from(vec![Some(f64::INFINITY), None, Some(0.5)]));
        let kind = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Float64));
        let coded = cast(&numbers, &kind).unwrap();
        let half = cast(&numbers, &DataType::Float16).unwrap();
        let batch = RecordBatch::try_from_iter_with_nullable([("a", coded, true), ("b", half, true)]);
        assert_eq!(
            text(&batch.unwrap()).unwrap(),
            "a,b\nInfinity,Infinity\n,\n0.5,0.5\n"
        );
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
        let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![&b"a"[..], b"b"]));
        let batch = RecordBatch::try_from_iter([("lists", pairs(bytes))]).unwrap();
        let err = text(&batch).unwrap_err().to_string();
        assert!(err.contains("`lists`"), "{err}");
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
