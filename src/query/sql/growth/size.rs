//! How large the result of a function is at most, from its arguments.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, LargeStringArray};
use arrow::compute::cast;
use arrow::compute::kernels::length::length;
use arrow::datatypes::{DataType, Int64Type, IntervalMonthDayNanoType, TimeUnit};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};

use super::Growth;

/// Bytes of a character at most.
const CHARACTER: u64 = 4;

/// Characters of a number in text, at most.
const NUMBER: u64 = 25;

/// Days of a month, at least.
const MONTH: i64 = 28;

const DAY: i64 = 86_400_000_000_000;

/// The arguments of a call: each a column, or one value for all rows.
pub(super) struct Arguments {
    arrays: Vec<(ArrayRef, bool)>,
    rows: usize,
    /// How often the result stands in a batch.
    times: u64,
}

impl Arguments {
    pub(super) fn new(args: &ScalarFunctionArgs) -> Result<Self> {
        let array = |value: &ColumnarValue| {
            Ok(match value {
                ColumnarValue::Array(array) => (array.clone(), false),
                ColumnarValue::Scalar(scalar) => (scalar.to_array()?, true),
            })
        };
        let arrays = args.args.iter().map(array).collect::<Result<Vec<_>>>()?;
        let constant = arrays.iter().all(|(_, constant)| *constant);
        Ok(Self {
            arrays,
            rows: if constant { 1 } else { args.number_rows },
            times: if constant { args.number_rows as u64 } else { 1 },
        })
    }

    /// Returns the bytes of the result, or more. They are counted exactly, which takes time, only where what
    /// is found otherwise is more than `largest`.
    pub(super) fn result(&self, growth: Growth, largest: u64) -> Result<u64> {
        let size = match growth {
            Growth::Repeat => self.repeat()?,
            Growth::Pad => self.pad()?,
            Growth::Range => self.range()?,
            Growth::List => self.list()?,
            Growth::Resize => self.resize()?,
            Growth::Replace => match self.replace()? {
                size if size.saturating_mul(self.times) > largest => self.replace_exactly()?,
                size => size,
            },
            Growth::ReplacePattern => self.replace_pattern()?,
            Growth::Join => self.join()?,
            Growth::JoinAll => {
                let between = self.longest(0)?.saturating_mul(self.arrays.len() as u64);
                self.all()
                    .saturating_add(between.saturating_mul(self.rows as u64))
            }
            Growth::All(times) => self.all().saturating_mul(times),
            Growth::Characters => match self.all().saturating_mul(CHARACTER) {
                size if size.saturating_mul(self.times) > largest && self.is_ascii() => self.all(),
                size => size,
            },
        };
        Ok(size.saturating_mul(self.times))
    }

    fn repeat(&self) -> Result<u64> {
        let (lengths, counts) = (self.lengths(0)?, self.numbers(1)?);
        Ok(self.sum(|row| lengths.count(row).saturating_mul(counts.count(row))))
    }

    fn pad(&self) -> Result<u64> {
        let lengths = self.numbers(1)?;
        let bytes = if self.is_ascii() { 1 } else { CHARACTER };
        Ok(self.sum(|row| lengths.count(row).saturating_mul(bytes)))
    }

    fn range(&self) -> Result<u64> {
        let (start, stop, step) = match (self.arrays.len(), self.kind(0)) {
            (1, _) => (None, self.numbers(0)?, None),
            (2, _) => (Some(self.numbers(0)?), self.numbers(1)?, None),
            (_, Some(DataType::Date32 | DataType::Date64)) => {
                let day = |place| self.signed(place, days);
                let step = self.signed(2, |array| Ok(interval(array, |days, _| days)))?;
                (Some(day(0)?), day(1)?, Some(step))
            }
            (_, Some(DataType::Timestamp(..))) => {
                let time = |place| self.signed(place, nanoseconds);
                let whole = |days: i64, rest| days.saturating_mul(DAY).saturating_add(rest);
                let step = self.signed(2, |array| Ok(interval(array, whole)))?;
                (Some(time(0)?), time(1)?, Some(step))
            }
            _ => (Some(self.numbers(0)?), self.numbers(1)?, Some(self.numbers(2)?)),
        };
        Ok(self.sum(|row| {
            let from = start.as_ref().map_or(0, |start| start.at(row));
            let step = step.as_ref().map_or(1, |step| step.at(row));
            let way = i128::from(stop.at(row)) - i128::from(from);
            if way.signum() * i128::from(step.signum()) < 0 {
                return 0;
            }
            let items = way.unsigned_abs() / u128::from(step.unsigned_abs().max(1)) + 1;
            u64::try_from(items.saturating_mul(8)).unwrap_or(u64::MAX)
        }))
    }

    fn list(&self) -> Result<u64> {
        let counts = self.numbers(1)?;
        Ok(self.sum(|row| self.bytes(0, row).saturating_mul(counts.count(row))))
    }

    fn resize(&self) -> Result<u64> {
        let counts = self.numbers(1)?;
        let item = |row| match self.arrays.len() {
            0..=2 => 8,
            _ => self.bytes(2, row).max(8),
        };
        Ok(self.sum(|row| {
            item(row)
                .saturating_mul(counts.count(row))
                .saturating_add(self.bytes(0, row))
        }))
    }

    fn replace(&self) -> Result<u64> {
        let (text, from, to) = (self.lengths(0)?, self.lengths(1)?, self.lengths(2)?);
        Ok(self.sum(|row| {
            let (text, from) = (text.count(row), from.count(row));
            let found = text.checked_div(from).unwrap_or(text + 1);
            text.saturating_add(found.saturating_mul(to.count(row)))
        }))
    }

    fn replace_exactly(&self) -> Result<u64> {
        let (text, from, to) = (self.text(0)?, self.text(1)?, self.text(2)?);
        Ok(self.sum(|row| {
            let (text, from, to) = (text.at(row), from.at(row), to.at(row));
            let found = text.matches(from).count() as u64;
            let kept = text.len() as u64 - found * from.len() as u64;
            kept.saturating_add(found.saturating_mul(to.len() as u64))
        }))
    }

    /// What is found does not overlap, so that no group can stand for more than the text.
    fn replace_pattern(&self) -> Result<u64> {
        let (text, to) = (self.lengths(0)?, self.text(2)?);
        let flags = match self.arrays.len() {
            4 => Some(self.text(3)?),
            _ => None,
        };
        Ok(self.sum(|row| {
            let (text, to) = (text.count(row), to.at(row));
            let groups = to.matches(['\\', '$']).count() as u64;
            let everywhere = flags.as_ref().is_some_and(|flags| flags.at(row).contains('g'));
            let found = if everywhere { text + 1 } else { 1 };
            let grouped = groups.saturating_mul(text);
            let new = found.saturating_mul(to.len() as u64);
            text.saturating_add(grouped).saturating_add(new)
        }))
    }

    fn join(&self) -> Result<u64> {
        let Some((array, constant)) = self.arrays.first() else {
            return Ok(0);
        };
        let times = if *constant { self.rows as u64 } else { 1 };
        let mut item = NUMBER;
        for place in 1..self.arrays.len() {
            item = item.saturating_add(self.longest(place)?);
        }
        let texts = array.to_data().get_slice_memory_size().unwrap_or(0) as u64;
        let joined = leaves(array).saturating_mul(item).saturating_add(texts);
        Ok(joined.saturating_mul(times))
    }

    /// The bytes of all arguments in all rows.
    fn all(&self) -> u64 {
        let bytes = |(array, constant): &(ArrayRef, bool)| {
            let bytes = array.to_data().get_slice_memory_size().unwrap_or(0) as u64;
            if *constant {
                bytes.saturating_mul(self.rows as u64)
            } else {
                bytes
            }
        };
        self.arrays.iter().map(bytes).fold(0, u64::saturating_add)
    }

    fn sum(&self, of_row: impl Fn(usize) -> u64) -> u64 {
        (0..self.rows).map(of_row).fold(0, u64::saturating_add)
    }

    fn kind(&self, place: usize) -> Option<&DataType> {
        self.arrays.get(place).map(|(array, _)| array.data_type())
    }

    /// The bytes of one value.
    fn bytes(&self, place: usize, row: usize) -> u64 {
        self.arrays.get(place).map_or(0, |(array, constant)| {
            let row = if *constant { 0 } else { row };
            let value = array.slice(row.min(array.len().saturating_sub(1)), array.len().min(1));
            value.to_data().get_slice_memory_size().unwrap_or(0).max(1) as u64
        })
    }

    /// Bytes of the longest text of a column.
    fn longest(&self, place: usize) -> Result<u64> {
        let lengths = self.lengths(place)?;
        Ok((0..lengths.numbers.len())
            .map(|row| lengths.count(row))
            .max()
            .unwrap_or(0))
    }

    fn is_ascii(&self) -> bool {
        let texts = self
            .arrays
            .iter()
            .filter(|(array, _)| array.data_type().is_string());
        let mut texts = texts.map(|(array, _)| cast(array, &DataType::LargeUtf8));
        texts.all(|text| text.is_ok_and(|text| text.as_string::<i64>().value_data().is_ascii()))
    }

    fn lengths(&self, place: usize) -> Result<Numbers> {
        self.signed(place, |array| match array.data_type() {
            DataType::Null => Ok(cast(array, &DataType::Int64)?),
            _ => Ok(cast(&length(array)?, &DataType::Int64)?),
        })
    }

    fn numbers(&self, place: usize) -> Result<Numbers> {
        self.signed(place, |array| Ok(cast(array, &DataType::Int64)?))
    }

    fn signed(&self, place: usize, as_numbers: impl Fn(&ArrayRef) -> Result<ArrayRef>) -> Result<Numbers> {
        let (numbers, constant) = match self.arrays.get(place) {
            Some((array, constant)) => (as_numbers(array)?.as_primitive::<Int64Type>().clone(), *constant),
            None => (Int64Array::new_null(1), true),
        };
        Ok(Numbers { numbers, constant })
    }

    fn text(&self, place: usize) -> Result<Texts> {
        let (texts, constant) = match self.arrays.get(place) {
            Some((array, constant)) => (cast(array, &DataType::LargeUtf8)?.as_string().clone(), *constant),
            None => (LargeStringArray::new_null(1), true),
        };
        Ok(Texts { texts, constant })
    }
}

/// Numbers of an argument; a null counts as 0.
struct Numbers {
    numbers: Int64Array,
    constant: bool,
}

impl Numbers {
    fn at(&self, row: usize) -> i64 {
        let row = if self.constant { 0 } else { row };
        if self.numbers.is_null(row) {
            0
        } else {
            self.numbers.value(row)
        }
    }

    /// One below 0 counts as 0, too.
    fn count(&self, row: usize) -> u64 {
        u64::try_from(self.at(row)).unwrap_or(0)
    }
}

/// Texts of an argument; a null counts as an empty one.
struct Texts {
    texts: LargeStringArray,
    constant: bool,
}

impl Texts {
    fn at(&self, row: usize) -> &str {
        let row = if self.constant { 0 } else { row };
        if self.texts.is_null(row) {
            ""
        } else {
            self.texts.value(row)
        }
    }
}

/// Counts the items of lists, and of lists in them.
fn leaves(array: &ArrayRef) -> u64 {
    match array.data_type() {
        DataType::List(_) => lists(array.as_list::<i32>().iter()),
        DataType::LargeList(_) => lists(array.as_list::<i64>().iter()),
        DataType::FixedSizeList(..) => lists(array.as_fixed_size_list().iter()),
        _ => array.len() as u64,
    }
}

fn lists(lists: impl Iterator<Item = Option<ArrayRef>>) -> u64 {
    lists
        .flatten()
        .map(|list| leaves(&list))
        .fold(0, u64::saturating_add)
}

/// Returns dates as days.
fn days(array: &ArrayRef) -> Result<ArrayRef> {
    let days = cast(&cast(array, &DataType::Date32)?, &DataType::Int32)?;
    Ok(cast(&days, &DataType::Int64)?)
}

/// Returns times as nanoseconds.
fn nanoseconds(array: &ArrayRef) -> Result<ArrayRef> {
    let zone = match array.data_type() {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    let time = cast(array, &DataType::Timestamp(TimeUnit::Nanosecond, zone))?;
    Ok(cast(&time, &DataType::Int64)?)
}

/// Returns what `length` makes of the days, at least, and the nanoseconds of intervals.
fn interval(array: &ArrayRef, length: impl Fn(i64, i64) -> i64) -> ArrayRef {
    let intervals = array.as_primitive_opt::<IntervalMonthDayNanoType>();
    let of = |interval| {
        let (months, days, rest) = IntervalMonthDayNanoType::to_parts(interval);
        length(i64::from(months) * MONTH + i64::from(days), rest)
    };
    let lengths: Int64Array = match intervals {
        Some(intervals) => intervals.iter().map(|interval| interval.map(of)).collect(),
        None => Int64Array::new_null(array.len()),
    };
    Arc::new(lengths)
}
