//! Results on stdout, in the format asked for.

use std::io::{self, Write};

use anyhow::Result;
use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use dream_ood::query::{self, Rows};
use dream_ood::stage::{Refusal, StageError};

use crate::args::Format;

/// Prints record batches as one table.
pub fn batches(
    format: Format,
    schema: &Schema,
    batches: impl IntoIterator<Item = query::Result<RecordBatch>>,
) -> Result<()> {
    let format = match format {
        Format::Table => query::Format::Table,
        Format::Json => query::Format::Json,
        Format::Csv => query::Format::Csv,
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    query::write_rows(&mut out, format, schema, batches)?;
    out.flush()?;
    Ok(())
}

/// Prints the rows of an answer as they come.
pub fn rows(format: Format, rows: Rows) -> Result<()> {
    batches(format, &rows.schema(), rows)
}

/// Prints one record batch as a table.
pub fn batch(format: Format, batch: RecordBatch) -> Result<()> {
    batches(format, &batch.schema(), [Ok(batch)])
}

/// Prints rows of text in aligned columns, the last one as long as it is.
pub fn columns<const N: usize>(rows: &[[String; N]]) -> Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let width = |column: usize| rows.iter().map(|r| r[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    for row in rows {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    out.flush()?;
    Ok(())
}

/// Returns what was refused before any work, where that is the error.
pub fn refusals(error: &anyhow::Error) -> Option<&[Refusal]> {
    match error.downcast_ref::<StageError>() {
        Some(StageError::Refused(refusals)) => Some(refusals),
        _ => None,
    }
}

/// Returns an error and its causes in one line; of several refusals, each has a line of its own.
pub fn one_line(error: &anyhow::Error) -> String {
    if let Some(refusals) = refusals(error)
        && refusals.len() > 1
    {
        let lines = refusals.iter().map(|refusal| format!("\n  {refusal}"));
        return format!(
            "{} things are refused:{}",
            refusals.len(),
            lines.collect::<String>()
        );
    }
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string().replace('\n', " ");
        // Transparent errors say what their cause says.
        if parts.last().is_none_or(|last| !last.contains(&text)) {
            parts.push(text);
        }
    }
    parts.join(": ")
}

/// Says whether the reader of our output has gone.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let mut io_errors = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>());
    io_errors.any(|e| e.kind() == io::ErrorKind::BrokenPipe)
}
