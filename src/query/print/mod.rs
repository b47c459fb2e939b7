//! Record batches as text, into anything that takes bytes: a table for the eye, JSON lines and CSV for
//! programs.

mod json;
mod table;

use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Schema};

use super::Result;
use crate::exchange::ExchangeError;
use crate::exchange::csv::CsvWriter;

pub use json::write_json;
pub use table::write_table;

/// How rows are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns; vectors as their first numbers and their width, bytes as their number.
    #[default]
    Table,
    /// One JSON object a line, everything in full.
    Json,
    /// CSV with a header, as [`crate::exchange::csv`] describes.
    Csv,
}

/// Writes the batches as text and returns the number of rows.
///
/// # Errors
/// If a batch cannot be had or written, or holds bytes and the format is CSV.
pub fn write_rows(
    out: &mut dyn Write,
    format: Format,
    schema: &Schema,
    batches: impl IntoIterator<Item = Result<RecordBatch>>,
) -> Result<u64> {
    let schema = &in_utc(schema);
    let batches = batches.into_iter().map(|batch| times_in_utc(batch?));
    match format {
        Format::Table => write_table(out, schema, batches),
        Format::Json => {
            let mut rows = 0;
            for batch in batches {
                let batch = batch?;
                write_json(out, &batch)?;
                rows += batch.num_rows() as u64;
            }
            Ok(rows)
        }
        Format::Csv => {
            let mut writer = CsvWriter::new(out, schema)?;
            for batch in batches {
                writer.write(&batch?)?;
            }
            Ok(writer.finish()?)
        }
    }
}

/// Returns the rows of a batch as a table for the eye shows them: the text of each value.
///
/// # Errors
/// If Arrow refuses.
pub fn texts(batch: RecordBatch) -> Result<Vec<Vec<String>>> {
    let batch = times_in_utc(batch)?;
    let columns = batch.columns().iter().map(table::cells);
    let mut columns: Vec<_> = columns
        .map(|cells| cells.map(Vec::into_iter))
        .collect::<Result<_>>()?;
    let rows = 0..batch.num_rows();
    Ok(rows
        .map(|_| columns.iter_mut().filter_map(Iterator::next).collect())
        .collect())
}

/// UTC as Arrow knows it without a table of all time zones of the world, which is built in only beside SQL.
const UTC: &str = "+00:00";

/// Returns the schema with the time zone of its times by number.
fn in_utc(schema: &Schema) -> Schema {
    let field = |field: &FieldRef| match field.data_type() {
        DataType::Timestamp(unit, Some(zone)) if **zone == *"UTC" => {
            let times = DataType::Timestamp(*unit, Some(UTC.into()));
            Arc::new(field.as_ref().clone().with_data_type(times))
        }
        _ => field.clone(),
    };
    Schema::new_with_metadata(
        schema.fields().iter().map(field).collect::<Vec<_>>(),
        schema.metadata().clone(),
    )
}

/// Returns the rows with the time zone of their times by number: the times stay what they are.
fn times_in_utc(batch: RecordBatch) -> Result<RecordBatch> {
    let schema = in_utc(&batch.schema());
    if schema == *batch.schema() {
        return Ok(batch);
    }
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| cast(column, field.data_type()));
    let columns = columns.collect::<std::result::Result<_, _>>();
    Ok(columns.and_then(|columns| RecordBatch::try_new(Arc::new(schema), columns))?)
}

/// Returns what turns an error of the output into ours.
fn io_error(source: io::Error) -> ExchangeError {
    ExchangeError::Io {
        path: "the output".into(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::TimestampMicrosecondArray;
    use arrow::datatypes::{Field, TimeUnit};

    use super::*;

    /// Without SQL there is no table of time zones in the program.
    #[test]
    fn times_are_printed_whatever_is_built_in() {
        let times = TimestampMicrosecondArray::from(vec![1_790_000_000_000_000, 0]).with_timezone("UTC");
        let kind = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let schema = Arc::new(Schema::new(vec![Field::new("at", kind, false)]));
        let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(times)]).unwrap();
        for format in [Format::Table, Format::Json, Format::Csv] {
            let mut out = Vec::new();
            write_rows(&mut out, format, &schema, [Ok(batch.clone())]).unwrap();
            let text = String::from_utf8(out).unwrap();
            let time = match format {
                Format::Table => "1970-01-01 00:00:00",
                Format::Json | Format::Csv => "1970-01-01T00:00:00Z",
            };
            assert!(text.contains(time), "{format:?}: {text}");
        }
    }
}
