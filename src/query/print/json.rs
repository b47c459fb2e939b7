//! Rows as JSON lines.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;

use crate::query::Result;

/// Writes one JSON object a row: null as `null`, vectors in full, bytes in hex, times as ISO 8601, a number
/// that is not finite as `null`.
///
/// # Errors
/// If the bytes cannot be written.
pub fn write_json(out: &mut dyn Write, batch: &RecordBatch) -> Result<()> {
    let mut writer = WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, LineDelimited>(out);
    writer.write(batch)?;
    writer.finish()?;
    Ok(())
}
