//! A column whose values become fields.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Float16Type, Float32Type, Float64Type, Schema};
use arrow::json::EncoderOptions;
use arrow::json::writer::{NullableEncoder, make_encoder};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::exchange::ExchangeError;
use crate::exchange::json_numbers::{NotFinite, word};

/// Refuses columns that CSV cannot hold.
pub(super) fn check(schema: &Schema) -> Result<(), ExchangeError> {
    match schema.fields().iter().find(|field| !is_held(field.data_type())) {
        None => Ok(()),
        Some(field) => Err(ExchangeError::Unsupported {
            column: field.name().clone(),
            actual: field.data_type().to_string(),
            format: "CSV",
            hint: "Parquet can",
        }),
    }
}

/// Says whether values of a type have a text: bytes have none, at any depth.
fn is_held(data_type: &DataType) -> bool {
    match data_type {
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_)
        | DataType::Union(..) => false,
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _)
        | DataType::RunEndEncoded(_, field) => is_held(field.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| is_held(field.data_type())),
        DataType::Dictionary(_, values) => is_held(values),
        _ => true,
    }
}

/// Returns the columns with dictionaries as the values that they stand for.
pub(super) fn plain(columns: &[ArrayRef]) -> Result<Vec<ArrayRef>, ExchangeError> {
    let plain = |column: &ArrayRef| match column.data_type() {
        DataType::Dictionary(_, values) => cast(column, values),
        _ => Ok(column.clone()),
    };
    Ok(columns.iter().map(plain).collect::<Result<_, _>>()?)
}

/// How what is nested is written as JSON.
pub(super) fn nested() -> EncoderOptions {
    EncoderOptions::default()
        .with_explicit_nulls(true)
        .with_encoder_factory(Arc::new(NotFinite::Bare))
}

/// A column whose values become fields.
pub(super) struct Cells<'a> {
    array: &'a ArrayRef,
    nulls: Option<NullBuffer>,
    texts: Texts<'a>,
}

/// What makes texts of values.
enum Texts<'a> {
    Shown(ArrayFormatter<'a>),
    Json(NullableEncoder<'a>),
}

impl<'a> Cells<'a> {
    pub(super) fn new(
        field: &'a FieldRef,
        array: &'a ArrayRef,
        shown: &'a FormatOptions<'a>,
        nested: &'a EncoderOptions,
    ) -> Result<Self, ExchangeError> {
        Ok(Self {
            array,
            nulls: array.logical_nulls(),
            texts: match array.data_type().is_nested() {
                true => Texts::Json(make_encoder(field, array, nested)?),
                false => Texts::Shown(ArrayFormatter::try_new(array.as_ref(), shown)?),
            },
        })
    }

    pub(super) fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Appends the field of a row.
    pub(super) fn push(&mut self, row: usize, text: &mut String) -> Result<(), ExchangeError> {
        if self.is_null(row) {
            return Ok(());
        }
        let formatter = match &mut self.texts {
            Texts::Json(encoder) => {
                let mut json = Vec::new();
                encoder.encode(row, &mut json);
                push_field(text, &String::from_utf8_lossy(&json));
                return Ok(());
            }
            Texts::Shown(formatter) => formatter,
        };
        let special = match self.array.data_type() {
            DataType::Utf8 => {
                push_field(text, self.array.as_string::<i32>().value(row));
                return Ok(());
            }
            DataType::Float16 => word(self.array.as_primitive::<Float16Type>().value(row).into()),
            DataType::Float32 => word(self.array.as_primitive::<Float32Type>().value(row).into()),
            DataType::Float64 => word(self.array.as_primitive::<Float64Type>().value(row)),
            _ => None,
        };
        match special {
            Some(word) => text.push_str(word),
            None => push_field(text, &formatter.value(row).try_to_string()?),
        }
        Ok(())
    }
}

/// Appends a field, in quotes where its text needs them; an empty text does, to be told from null.
pub(super) fn push_field(text: &mut String, field: &str) {
    if field.is_empty() || field.contains([',', '"', '\n', '\r']) {
        text.push('"');
        text.push_str(&field.replace('"', "\"\""));
        text.push('"');
    } else {
        text.push_str(field);
    }
}
