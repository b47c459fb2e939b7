//! The digest of a run: BLAKE3 over its rows in key order, each value written with its length, floats by
//! their bits.
//!
//! A column that was added to a table later counts in a row where it does not hold the value that older rows
//! have: then its name and its value follow. So a finished run has the digest that it had before there was
//! the column.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int32Type, Int64Type, UInt64Type};

use crate::{Declaration, SchemaError, Table};

/// What is hashed at once: enough for BLAKE3 to use all its lanes, and several threads.
const PIECE: usize = 1 << 20;

/// Takes in the rows of a run, table by table and in key order, and gives the digest.
#[derive(Clone, Default)]
pub struct Digest {
    hasher: blake3::Hasher,
    /// Bytes that are still to be hashed.
    pending: Vec<u8>,
    rows: u64,
}

impl Digest {
    /// Starts with no rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in the next rows of `table`. How rows are cut into batches makes no difference.
    ///
    /// # Errors
    /// If a column has a type that no table of ours has.
    pub fn update(&mut self, table: Table, batch: &RecordBatch) -> Result<(), SchemaError> {
        self.take(table.declaration(), batch)
    }

    /// Takes in the next rows of a declared table.
    pub(crate) fn take(&mut self, table: &Declaration, batch: &RecordBatch) -> Result<(), SchemaError> {
        let columns = batch.schema_ref().fields().iter().zip(batch.columns());
        let columns = columns
            .map(|(field, column)| Ok((field.name(), column, self.of_older_rows(table, field.name())?)))
            .collect::<Result<Vec<_>, SchemaError>>()?;
        for row in 0..batch.num_rows() {
            self.field(table.name.as_bytes());
            for (name, column, older) in &columns {
                let start = self.pending.len();
                if older.is_some() {
                    self.field(name.as_bytes());
                }
                let value = self.pending.len();
                self.value(table, name, column.as_ref(), row)?;
                if older.as_deref() == self.pending.get(value..) {
                    self.pending.truncate(start);
                }
            }
            if self.pending.len() >= PIECE {
                self.hasher.update_rayon(&self.pending);
                self.pending.clear();
            }
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Returns the value that a column has in older rows as it would be taken in, if it was added later.
    fn of_older_rows(&self, table: &Declaration, column: &str) -> Result<Option<Vec<u8>>, SchemaError> {
        let Some(default) = table.column(column).and_then(|column| column.default) else {
            return Ok(None);
        };
        let mut older = Self::new();
        older.value(table, column, default(1)?.as_ref(), 0)?;
        Ok(Some(older.pending))
    }

    /// Returns the digest in hex.
    pub fn finish(mut self) -> String {
        let rows = self.rows.to_le_bytes();
        self.pending.extend_from_slice(&rows);
        self.hasher.update(&self.pending);
        self.hasher.finalize().to_hex().to_string()
    }

    fn field(&mut self, bytes: &[u8]) {
        self.field_with(bytes.len(), |field| field.copy_from_slice(bytes));
    }

    /// Takes in a field of `length` bytes, which `write` writes over zeros.
    fn field_with(&mut self, length: usize, write: impl FnOnce(&mut [u8])) {
        self.pending.extend_from_slice(&(length as u64).to_le_bytes());
        let start = self.pending.len();
        self.pending.resize(start + length, 0);
        write(&mut self.pending[start..]);
    }

    fn value(
        &mut self,
        table: &Declaration,
        name: &str,
        column: &dyn Array,
        row: usize,
    ) -> Result<(), SchemaError> {
        if column.is_null(row) {
            // No value has this length, so a null is like nothing else.
            self.pending.extend_from_slice(&u64::MAX.to_le_bytes());
            return Ok(());
        }
        match column.data_type() {
            DataType::Int32 => self.field(&column.as_primitive::<Int32Type>().value(row).to_le_bytes()),
            DataType::Int64 => self.field(&column.as_primitive::<Int64Type>().value(row).to_le_bytes()),
            DataType::UInt64 => self.field(&column.as_primitive::<UInt64Type>().value(row).to_le_bytes()),
            DataType::Float32 => self.field(&column.as_primitive::<Float32Type>().value(row).to_le_bytes()),
            DataType::Float64 => self.field(&column.as_primitive::<Float64Type>().value(row).to_le_bytes()),
            DataType::Utf8 => self.field(column.as_string::<i32>().value(row).as_bytes()),
            DataType::Binary => self.field(column.as_binary::<i32>().value(row)),
            DataType::FixedSizeList(..) => self.numbers(column.as_fixed_size_list().value(row).as_ref()),
            DataType::List(_) => self.numbers(column.as_list::<i32>().value(row).as_ref()),
            other => {
                return Err(SchemaError::ColumnType {
                    table: table.name,
                    column: name.to_owned(),
                    expected: "a type that our tables have".to_owned(),
                    actual: other.to_string(),
                });
            }
        }
        Ok(())
    }

    /// Takes in the numbers of a list as one field.
    fn numbers(&mut self, list: &dyn Array) {
        if let Some(list) = list.as_primitive_opt::<Float32Type>() {
            self.field_with(4 * list.len(), |field| {
                let (fields, _) = field.as_chunks_mut::<4>();
                fields
                    .iter_mut()
                    .zip(list.values())
                    .for_each(|(f, v)| *f = v.to_le_bytes());
            });
        } else {
            let list = list.as_primitive::<Int64Type>();
            self.field_with(8 * list.len(), |field| {
                let (fields, _) = field.as_chunks_mut::<8>();
                fields
                    .iter_mut()
                    .zip(list.values())
                    .for_each(|(f, v)| *f = v.to_le_bytes());
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Artifact, Metric};

    fn metric(index: u64, value: f64, dataset: Option<&str>) -> Metric {
        Metric {
            class_id: None,
            class_name: None,
            index,
            name: "loss".into(),
            dataset: dataset.map(str::to_owned),
            score: None,
            epoch: None,
            value,
            ood_group: None,
        }
    }

    fn digest(batches: &[&[Metric]]) -> String {
        let mut digest = Digest::new();
        for rows in batches {
            digest
                .update(Table::Metrics, &Metric::to_batch(rows).unwrap())
                .unwrap();
        }
        digest.finish()
    }

    #[test]
    fn depends_on_the_rows_and_not_on_the_batches() {
        let rows = [
            metric(0, 1.0, None),
            metric(1, 2.0, Some("a")),
            metric(2, 3.0, None),
        ];
        let whole = digest(&[&rows]);
        assert_eq!(whole, digest(&[&rows[..1], &rows[1..]]));
        assert_eq!(whole, digest(&[&rows[..2], &[], &rows[2..]]));
        assert_ne!(whole, digest(&[&rows[..2]]));
        let mut other = rows.clone();
        other[1].dataset = None;
        assert_ne!(whole, digest(&[&other]));
        other[1] = metric(1, f64::from_bits(2.0_f64.to_bits() + 1), Some("a"));
        assert_ne!(whole, digest(&[&other]));
    }
}
