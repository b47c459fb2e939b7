//! Writing vectors (or latents), with a table of their other columns beside them.

use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int32Type, Schema};

use super::super::atomic::AtomicFile;
use super::super::csv::CsvWriter;
use super::super::{BoxError, ExchangeError, Target};
use super::header;
use crate::exchange::vectors::{size, tensors};
use crate::floats;

/// How the rows are laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NpyLayout {
    /// `[classes, n, width]` if the rows are those of one run, class by class, and every class has the same
    /// number of them, more than one; otherwise `[n, width]`. Latents are `[n, channels, height, width]` in
    /// any case.
    #[default]
    Auto,
    /// `[n, width]`.
    Rows,
    /// `[classes, n, width]`, and an error if the classes differ in size.
    Classes,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NpyWritten {
    /// The array's shape.
    pub shape: Vec<u64>,
    /// Number of vectors.
    pub count: u64,
    /// The table of the rows' other columns, a CSV file: line i + 1 belongs to vector i in row-major order.
    pub rows: PathBuf,
}

/// Writes the column `vector`, or latents with the shape that they have, as an `.npy` file of 32-bit floats,
/// and the other columns as `NAME.rows.csv` beside it.
///
/// # Errors
/// If there is no column `vector` and no latents, if their shapes differ, if one is null, if the rows cannot
/// be had, if the layout does not fit them, or if one of the two files cannot be written or is there already.
pub fn write_npy<E: Into<BoxError>>(
    target: &Target,
    layout: NpyLayout,
    schema: &Schema,
    batches: impl IntoIterator<Item = Result<RecordBatch, E>>,
) -> Result<NpyWritten, ExchangeError> {
    let path = &target.path;
    let others: Vec<usize> = (0..schema.fields().len())
        .filter(|i| {
            !schema.field(*i).data_type().is_nested() && schema.field(*i).data_type() != &DataType::Binary
        })
        .collect();
    let rows_target = Target {
        path: path.with_extension("rows.csv"),
        overwrite: target.overwrite,
    };
    let mut file = AtomicFile::create(target)?;
    let mut rows_file = AtomicFile::create(&rows_target)?;
    let mut rows = CsvWriter::new(&mut rows_file, &schema.project(&others)?)?;
    let blank = vec![0; header::WRITTEN];
    file.write_all(&blank).map_err(ExchangeError::io(path))?;
    let (mut item, mut groups, mut count) = (None, Groups::default(), 0_u64);
    for batch in batches {
        let batch = batch.map_err(|e| ExchangeError::Source(e.into()))?;
        if batch.num_rows() == 0 {
            continue;
        }
        let rows_now = tensors(&batch)?;
        let expected = item.get_or_insert_with(|| rows_now.shape.clone());
        if *expected != rows_now.shape {
            let (name, found, expected) = (rows_now.name, size(&rows_now.shape), size(expected));
            let what = format!("row {count} has a {name} of {found}, the rows before it of {expected}");
            let hint = "export one run at a time";
            return Err(ExchangeError::Layout { what, hint });
        }
        groups.add(&batch);
        let others = batch.project(&others)?;
        let bytes = floats::as_bytes(&rows_now.flat);
        let (written, listed) = rayon::join(|| file.write_all(&bytes), || rows.write(&others));
        written.map_err(ExchangeError::io(path))?;
        listed?;
        count += batch.num_rows() as u64;
    }
    let shape = shape(layout, &groups, count, &item.unwrap_or_else(|| vec![0]))?;
    rows.finish()?;
    file.seek(SeekFrom::Start(0))
        .and_then(|_| file.write_all(&header::encode(&shape)))
        .map_err(ExchangeError::io(path))?;
    // The table first: an array without it would look complete.
    rows_file.commit()?;
    file.commit()?;
    Ok(NpyWritten {
        shape,
        count,
        rows: rows_target.path,
    })
}

/// The array's shape: that of the rows, in classes where the layout wants them, and then that of a row.
fn shape(layout: NpyLayout, groups: &Groups, count: u64, item: &[usize]) -> Result<Vec<u64>, ExchangeError> {
    let mut shape = match (layout, groups.equal()) {
        (NpyLayout::Classes, Some((classes, n))) => vec![classes, n],
        (NpyLayout::Auto, Some((classes, n))) if n > 1 && item.len() == 1 => vec![classes, n],
        (NpyLayout::Classes, None) => {
            let what = "the rows are not those of one run with equally many of each class".to_owned();
            let hint = "choose one run, or write [n, width]";
            return Err(ExchangeError::Layout { what, hint });
        }
        (NpyLayout::Auto | NpyLayout::Rows, _) => vec![count],
    };
    shape.extend(item.iter().map(|n| *n as u64));
    Ok(shape)
}

/// The runs and classes met so far, with the number of rows of each in a row.
#[derive(Default)]
struct Groups(Vec<(Option<String>, Option<i32>, u64)>);

impl Groups {
    fn add(&mut self, batch: &RecordBatch) {
        let runs = batch.column_by_name("run").and_then(|c| c.as_string_opt::<i32>());
        let classes = batch
            .column_by_name("class_id")
            .and_then(|c| c.as_primitive_opt::<Int32Type>());
        for row in 0..batch.num_rows() {
            let run = runs.map(|c| c.value(row));
            let class = classes.filter(|c| c.is_valid(row)).map(|c| c.value(row));
            match self.0.last_mut() {
                Some((r, c, n)) if r.as_deref() == run && *c == class => *n += 1,
                _ => self.0.push((run.map(str::to_owned), class, 1)),
            }
        }
    }

    /// Returns the number of classes and of rows of each, if all are of one run, met once, and equally large.
    fn equal(&self) -> Option<(u64, u64)> {
        let (run, _, n) = self.0.first()?;
        let mut classes: Vec<_> = self.0.iter().map(|(_, c, _)| *c).collect();
        classes.sort_unstable();
        classes.dedup();
        let alike = self.0.iter().all(|(r, c, m)| r == run && c.is_some() && m == n);
        (alike && classes.len() == self.0.len()).then_some((classes.len() as u64, *n))
    }
}
