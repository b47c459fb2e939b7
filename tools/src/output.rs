//! Results on stdout, in the format asked for, and words beside them on stderr: the only place that writes
//! there.
//!
//! A reader that has gone is told from a disk that is full: the other is an error. Without a reader the rest
//! of a line is left unsaid, and the command goes on: what it does is done, and what it found is its exit
//! code. An answer of many rows ends there. Neither is a panic.

use std::fmt::Display;
use std::io::{self, Write};

use anyhow::{Context as _, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::util::display::array_value_to_string;
use dream_ood::query::{self, Rows};
use dream_ood::stage::Refusal;
use serde_json::Value;

use crate::globals::Format;
use crate::remedy::{self, Remedy};

/// Where an error of the output happened.
const STDOUT: &str = "the output";

/// Prints a line of a result.
macro_rules! out {
    ($($text:tt)*) => { $crate::output::line(format_args!($($text)*)) };
}

/// Prints a line.
pub fn line(text: impl Display) -> Result<()> {
    heard(writeln!(io::stdout().lock(), "{text}"))
}

/// Passes over a reader that has gone.
fn heard(written: io::Result<()>) -> Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context(STDOUT),
    }
}

/// Prints a line that is no result on stderr. If no one can read it there, the program goes on without.
pub fn aside(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints records with these fields: aligned columns below the names, a JSON object a line, or CSV.
pub fn records<const N: usize>(format: Format, names: [&str; N], rows: &[[Value; N]]) -> Result<()> {
    let text = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    let lines =
        || std::iter::once(names.map(str::to_owned)).chain(rows.iter().map(|r| r.each_ref().map(text)));
    match format {
        Format::Table => columns(&lines().collect::<Vec<_>>()),
        Format::Csv => lines().try_for_each(|row| csv(&row)),
        Format::Json => rows.iter().try_for_each(|row| {
            let fields = names
                .iter()
                .map(|name| (*name).to_owned())
                .zip(row.iter().cloned());
            line(Value::Object(fields.collect()))
        }),
    }
}

/// Prints a result as one JSON document, in one line.
pub fn document(value: &Value) -> Result<()> {
    line(value)
}

/// Prints a row of CSV.
pub fn csv(row: &(impl AsRef<[String]> + ?Sized)) -> Result<()> {
    let quoted = |cell: &String| match cell.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.clone(),
    };
    line(row.as_ref().iter().map(quoted).collect::<Vec<_>>().join(","))
}

/// Prints bytes as they are.
pub fn bytes(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).context(STDOUT)
}

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
    out.flush().context(STDOUT)?;
    Ok(())
}

/// Prints the rows of an answer as they come.
#[cfg_attr(not(feature = "sql"), allow(dead_code, reason = "only SQL answers so"))]
pub fn rows(format: Format, rows: Rows) -> Result<()> {
    batches(format, &rows.schema(), rows)
}

/// Prints rows of texts of several lines: the first column, then the others below it.
#[cfg_attr(not(feature = "sql"), allow(dead_code, reason = "only SQL answers so"))]
pub fn texts(rows: Rows) -> Result<()> {
    for batch in rows {
        let batch = batch?;
        for row in 0..batch.num_rows() {
            for column in batch.columns() {
                line(array_value_to_string(column, row)?.trim_end())?;
            }
        }
    }
    Ok(())
}

/// Prints the first rows of an answer and says whether there are more; without a number, all.
pub fn first_rows(format: Format, rows: Rows, number: Option<usize>) -> Result<bool> {
    let (schema, mut left, mut more) = (rows.schema(), number.unwrap_or(usize::MAX), false);
    let first = rows.map_while(|batch| match batch {
        Ok(_) if more => None,
        Ok(batch) => {
            more = batch.num_rows() > left;
            let shown = batch.slice(0, batch.num_rows().min(left));
            left -= shown.num_rows();
            Some(Ok(shown))
        }
        Err(error) => Some(Err(error)),
    });
    batches(format, &schema, first)?;
    Ok(more)
}

/// Prints one record batch as a table.
pub fn batch(format: Format, batch: RecordBatch) -> Result<()> {
    batches(format, &batch.schema(), [Ok(batch)])
}

/// Prints rows of text in aligned columns, the last one as long as it is.
pub fn columns(rows: &[impl AsRef<[String]>]) -> Result<()> {
    // A text that is longer sticks out.
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.as_ref().get(column));
        let widths = cells.map(|cell| cell.chars().count());
        widths.max().unwrap_or(0).min(400)
    };
    let columns = rows.iter().map(|row| row.as_ref().len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row
            .as_ref()
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    heard(io::stdout().lock().write_all(text.as_bytes()))
}

/// Returns an error, its causes and what can be done about it in one line; of several refusals, each has a
/// line of its own.
pub fn one_line(error: &anyhow::Error) -> String {
    match remedy::refusals(error) {
        Some([refusal]) => refused(refusal),
        Some(refusals) => {
            let lines = refusals.iter().map(|refusal| format!("\n  {}", refused(refusal)));
            format!(
                "{} things are refused:{}",
                refusals.len(),
                lines.collect::<String>()
            )
        }
        None => with_remedy(causes(error), remedy::of(error)),
    }
}

fn refused(refusal: &Refusal) -> String {
    let cause = refusal.cause.as_deref();
    with_remedy(refusal.to_string(), cause.and_then(remedy::of_stage))
}

fn with_remedy(text: String, remedy: Option<Remedy>) -> String {
    match remedy {
        Some(remedy) => format!("{text}; {}", remedy.text()),
        None => text,
    }
}

/// Returns an error and its causes in one line.
pub fn causes(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = without_backtrace(&cause.to_string()).replace('\n', " ");
        // Transparent errors say what their cause says.
        if parts.last().is_none_or(|last| !last.contains(&text)) {
            parts.push(text);
        }
    }
    parts.join(": ")
}

/// Returns a message without the backtrace that candle puts behind it where `RUST_BACKTRACE` is set.
fn without_backtrace(text: &str) -> String {
    let frame = |line: &&str| match line.trim_start().split_once(": ") {
        Some((number, _)) => line.starts_with(' ') && number.parse::<u32>().is_ok(),
        None => false,
    };
    let lines: Vec<&str> = text.lines().take_while(|line| !frame(line)).collect();
    lines.join("\n")
}

/// Says whether the reader of our output has gone.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let mut io_errors = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>());
    io_errors.any(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backtrace_is_no_part_of_a_message() {
        let text =
            "shape mismatch in cat\n   0: candle_core::error::Error::bt\n             at /x.rs:1:2\n   1: b";
        assert_eq!(without_backtrace(text), "shape mismatch in cat");
        assert_eq!(without_backtrace("line 3: a\n b"), "line 3: a\n b");
    }

    #[test]
    fn a_reader_that_has_gone_is_no_full_disk() {
        let failed = |kind| anyhow::Error::from(io::Error::from(kind)).context(STDOUT);
        assert!(is_broken_pipe(&failed(io::ErrorKind::BrokenPipe)));
        assert!(!is_broken_pipe(&failed(io::ErrorKind::StorageFull)));
    }
}
