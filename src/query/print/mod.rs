//! Record batches as text, into anything that takes bytes: a table for the eye, JSON lines and CSV for
//! programs.

mod json;
mod table;

use std::io::{self, Write};

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;

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

/// Returns what turns an error of the output into ours.
fn io_error(source: io::Error) -> ExchangeError {
    ExchangeError::Io {
        path: "the output".into(),
        source,
    }
}
