//! Format 2: a table's columns in two strips. Blocks of the wide one (vectors, tensors, pictures) are record
//! batches as Arrow IPC streams, cut to redb's pages as in format 1. Blocks of the narrow one hold many more
//! rows. Lists of numbers in the wide one are of f16 where that holds all of a block's exactly (`half.rs`).
//! Of a narrow block are
//!
//! | byte | what |
//! |-|-|
//! | 0 | 1 if there are constant columns, otherwise 0 |
//! | 1 | 1 if there are varying columns, otherwise 0 |
//! | from 2 on | the constant columns, an IPC stream of one batch with one row, if there are any |
//! | then | the varying columns, an IPC stream of one batch with all rows, if there are any |
//!
//! A column whose values are the same in all rows of the block is constant: what belongs to a class (its
//! number and name), to a stage (kind, split, dtype) or is null throughout takes no room. The column `index`
//! is left out where it counts up from the key's first index, which it does in rows of ours.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions, Scalar, UInt32Array,
};
use arrow::buffer::Buffer;
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::take;
use arrow::datatypes::{DataType, FieldRef, Int64Type, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use dream_schema::{SchemaError, Table};

use super::{Cut, Cuts, Entry, cuts, stream};
use crate::store::{Result, pack};

/// The column that a block's key gives.
const INDEX: &str = "index";

type Decoded<T> = std::result::Result<T, ArrowError>;

/// Cuts the narrow columns of rows from index `first` on into blocks. What fits into `uncut` bytes becomes
/// one block.
pub(super) fn cut<'a>(first: u64, width: u32, rows: &'a RecordBatch, uncut: usize) -> Result<Cuts<'a>> {
    let kinds = kinds(first, rows).map_err(SchemaError::Arrow)?;
    let varying = of_kind(rows, &kinds, Kind::Varying).map_err(SchemaError::Arrow)?;
    let head = encode(first, &rows.slice(0, 1))?.len() + 128 * (rows.num_columns() + 8);
    let lengths = pack::cuts(&pack::row_sizes(&varying), head, uncut);
    Ok(cuts(lengths, move |offset, length| {
        let rows = rows.slice(offset, length);
        let block = encode(first + offset as u64, &rows)?;
        let entry = Entry {
            class_name: class_name(&rows).map(Arc::from),
            ..Entry::new(length, width, &block)
        };
        Ok(Cut {
            offset: offset as u64,
            entry,
            block,
        })
    }))
}

/// Returns the name of the class that all rows have.
fn class_name(rows: &RecordBatch) -> Option<String> {
    let names = rows.column_by_name("class_name")?;
    let constant = is_constant(names).unwrap_or(false) && names.null_count() == 0;
    let name = names.as_string_opt::<i32>().filter(|_| constant)?;
    name.iter().next().flatten().map(str::to_owned)
}

/// How a column is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Constant,
    Varying,
    /// Not at all: it counts up from the key.
    Counted,
}

fn kinds(first: u64, rows: &RecordBatch) -> Decoded<Vec<Kind>> {
    let kind = |(column, field): (&ArrayRef, &FieldRef)| {
        Ok(if field.name() == INDEX && counts_up(first, column) {
            Kind::Counted
        } else if is_constant(column)? {
            Kind::Constant
        } else {
            Kind::Varying
        })
    };
    let fields = rows.schema_ref().fields().iter();
    rows.columns().iter().zip(fields).map(kind).collect()
}

fn counts_up(first: u64, column: &ArrayRef) -> bool {
    column.null_count() == 0
        && column
            .as_primitive_opt::<Int64Type>()
            .is_some_and(|column| column.values().iter().copied().eq(counted(first, column.len())))
}

/// Returns the indexes of rows from `first` on, as the column `index` has them.
fn counted(first: u64, rows: usize) -> impl Iterator<Item = i64> {
    (0..rows as u64).map(move |row| first.wrapping_add(row) as i64)
}

/// Says whether all values of a column are the same, floats by their bits.
fn is_constant(column: &ArrayRef) -> Decoded<bool> {
    if column.len() < 2 {
        return Ok(!column.is_empty());
    }
    let head = column.slice(0, 1);
    if matches!(column.data_type(), DataType::List(_)) {
        return Ok((1..column.len()).all(|row| *column.slice(row, 1) == *head));
    }
    // The ends differ in most columns that vary.
    if *column.slice(column.len() - 1, 1) != *head {
        return Ok(false);
    }
    let same = not_distinct(column, &Scalar::new(head))?;
    Ok(same.true_count() == column.len())
}

fn of_kind(rows: &RecordBatch, kinds: &[Kind], wanted: Kind) -> Decoded<RecordBatch> {
    let places = kinds.iter().enumerate().filter(|(_, kind)| **kind == wanted);
    rows.project(&places.map(|(place, _)| place).collect::<Vec<_>>())
}

/// Returns the bytes of a block.
fn encode(first: u64, rows: &RecordBatch) -> Result<Vec<u8>> {
    let stream = || -> Decoded<Vec<u8>> {
        let kinds = kinds(first, rows)?;
        let constant = of_kind(rows, &kinds, Kind::Constant)?;
        let varying = of_kind(rows, &kinds, Kind::Varying)?;
        let parts = [constant.slice(0, constant.num_rows().min(1)), varying];
        let mut block: Vec<u8> = parts
            .iter()
            .map(|part| u8::from(part.num_columns() > 0))
            .collect();
        for part in parts.iter().filter(|part| part.num_columns() > 0) {
            let mut writer = StreamWriter::try_new(&mut block, part.schema_ref())?;
            writer.write(part)?;
            writer.finish()?;
        }
        Ok(block)
    };
    stream().map_err(|error| SchemaError::Arrow(error).into())
}

/// Returns so many times the value that older rows have.
type Default = fn(usize) -> std::result::Result<ArrayRef, SchemaError>;

/// The narrow columns of a block, as they are written.
#[derive(Clone)]
pub(in crate::store) struct Narrow {
    table: Table,
    schema: SchemaRef,
    first: u64,
    rows: usize,
    constant: Option<RecordBatch>,
    varying: Option<RecordBatch>,
}

impl Narrow {
    /// Reads a block of `rows` rows from index `first` on, which has the columns of `schema`.
    pub fn decode(
        table: Table,
        schema: SchemaRef,
        first: u64,
        rows: usize,
        block: &[u8],
    ) -> std::result::Result<Self, String> {
        let Some((flags, rest)) = block.split_first_chunk::<2>() else {
            return Err("it is cut short".to_owned());
        };
        let mut rest = Buffer::from(rest);
        let mut part = |there: u8, rows: usize| -> std::result::Result<Option<RecordBatch>, String> {
            if there == 0 {
                return Ok(None);
            }
            let batch = stream::read(&mut rest).map_err(|error| error.to_string())?;
            if batch.num_rows() != rows {
                return Err(format!("it has {} rows, expected {rows}", batch.num_rows()));
            }
            Ok(Some(batch))
        };
        let decoded = Self {
            constant: part(flags[0], 1)?,
            varying: part(flags[1], rows)?,
            table,
            schema,
            first,
            rows,
        };
        decoded.check()?;
        Ok(decoded)
    }

    /// Says in words which column is not as the table has it.
    fn check(&self) -> std::result::Result<(), String> {
        let fields = self.schema.fields();
        let parts = [&self.constant, &self.varying].into_iter().flatten();
        let mut stored = parts.flat_map(|part| part.schema_ref().fields().iter());
        if let Some(other) = stored.find(|field| !fields.iter().any(|known| known == *field)) {
            return Err(format!("its column `{}` is not the table's", other.name()));
        }
        let given = |field: &&FieldRef| {
            let name = field.name().as_str();
            name == INDEX || self.stored(name).is_some() || self.default(name).is_some()
        };
        match fields.iter().find(|field| !given(field)) {
            Some(missing) => Err(format!("the column `{}` is missing", missing.name())),
            None => Ok(()),
        }
    }

    /// Returns the number of rows.
    pub fn num_rows(&self) -> usize {
        self.rows
    }

    /// Returns the number of columns.
    pub fn num_columns(&self) -> usize {
        self.schema.fields().len()
    }

    /// Returns some rows of the columns at these places in the strip.
    pub fn slice(&self, offset: usize, length: usize, places: &[usize]) -> Decoded<RecordBatch> {
        let schema = Arc::new(self.schema.project(places)?);
        let zeros = std::cell::OnceCell::new();
        // A block in which a column is missing was refused when it was read.
        let missing = || Err(ArrowError::SchemaError("a column is missing".to_owned()));
        let column = |field: &FieldRef| -> Decoded<ArrayRef> {
            match self.stored(field.name()) {
                Some((column, false)) => Ok(column.slice(offset, length)),
                Some((column, true)) => {
                    let zeros = zeros.get_or_init(|| UInt32Array::from(vec![0; length]));
                    take(column, zeros, None)
                }
                None if field.name() != INDEX => self.default(field.name()).map_or_else(missing, |default| {
                    default(length).map_err(|error| ArrowError::ExternalError(Box::new(error)))
                }),
                None => {
                    let indexes = counted(self.first + offset as u64, length);
                    Ok(Arc::new(Int64Array::from_iter_values(indexes)))
                }
            }
        };
        let columns = schema.fields().iter().map(column).collect::<Decoded<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(length));
        RecordBatch::try_new_with_options(schema, columns, &options)
    }

    /// Returns what gives the values of a column that was added to the table after the block was written.
    fn default(&self, name: &str) -> Option<Default> {
        self.table.declaration().column(name)?.default
    }

    /// Returns a column as it is written, and whether it is constant.
    fn stored(&self, name: &str) -> Option<(&ArrayRef, bool)> {
        let constant = self.constant.as_ref().and_then(|part| part.column_by_name(name));
        let varying = self.varying.as_ref().and_then(|part| part.column_by_name(name));
        constant
            .map(|column| (column, true))
            .or_else(|| varying.map(|column| (column, false)))
    }
}

impl Entry {
    /// Returns the bytes of the entry: those of format 1, and the name of the class where all rows have one.
    pub(in crate::store) fn to_v2(&self) -> Vec<u8> {
        let mut bytes = self.to_v1().to_vec();
        if let Some(name) = &self.class_name {
            bytes.push(1);
            bytes.extend_from_slice(name.as_bytes());
        }
        bytes
    }

    /// Reads the bytes of an entry; none if they are not one.
    pub(in crate::store) fn from_v2(bytes: &[u8]) -> Option<Self> {
        let (head, tail) = bytes.split_first_chunk()?;
        let class_name = match tail {
            [] => None,
            [1, name @ ..] => Some(std::str::from_utf8(name).ok()?.into()),
            _ => return None,
        };
        Some(Self {
            class_name,
            ..Self::from_v1(head)
        })
    }
}
