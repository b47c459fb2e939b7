//! Floating-point numbers in JSON texts. JSON has no word for those that are not finite, and Arrow writes
//! `null` for them, which is no value; here each of them is a word.

use std::fmt::Debug;
use std::io::Write as _;

use arrow::array::{Array, AsArray, PrimitiveArray};
use arrow::datatypes::{ArrowPrimitiveType, DataType, FieldRef, Float16Type, Float32Type, Float64Type};
use arrow::error::ArrowError;
use arrow::json::writer::NullableEncoder;
use arrow::json::{Encoder, EncoderFactory, EncoderOptions};

/// How numbers that are not finite are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotFinite {
    /// As texts, `"NaN"`, `"Infinity"` and `"-Infinity"`, so that the whole is JSON.
    Quoted,
    /// As these words alone, which Python's reader of JSON takes.
    Bare,
}

impl EncoderFactory for NotFinite {
    fn make_default_encoder<'a>(
        &self,
        _: &'a FieldRef,
        array: &'a dyn Array,
        _: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        Ok(match array.data_type() {
            DataType::Float16 => self.encoder(array.as_primitive::<Float16Type>()),
            DataType::Float32 => self.encoder(array.as_primitive::<Float32Type>()),
            DataType::Float64 => self.encoder(array.as_primitive::<Float64Type>()),
            _ => None,
        })
    }
}

impl NotFinite {
    /// Returns what encodes numbers; none where Arrow does as well.
    fn encoder<'a, T: ArrowPrimitiveType>(self, array: &'a PrimitiveArray<T>) -> Option<NullableEncoder<'a>>
    where
        T::Native: Into<f64> + Debug,
    {
        let is_finite = |number: &T::Native| Into::<f64>::into(*number).is_finite();
        if self == Self::Quoted && array.values().iter().all(is_finite) {
            return None;
        }
        let encoder = Box::new(Numbers { array, style: self });
        Some(NullableEncoder::new(encoder, array.nulls().cloned()))
    }
}

/// Numbers as the shortest text that reads back to the same bits.
struct Numbers<'a, T: ArrowPrimitiveType> {
    array: &'a PrimitiveArray<T>,
    style: NotFinite,
}

impl<T: ArrowPrimitiveType> Encoder for Numbers<'_, T>
where
    T::Native: Into<f64> + Debug,
{
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let number = self.array.value(row);
        // Writing to memory never fails.
        let _ = match (word(number.into()), self.style) {
            (None, _) => write!(out, "{number:?}"),
            (Some(word), NotFinite::Bare) => write!(out, "{word}"),
            (Some(word), NotFinite::Quoted) => write!(out, "\"{word}\""),
        };
    }
}

/// Returns the word for a number that is not finite.
pub(crate) fn word(number: f64) -> Option<&'static str> {
    match number {
        _ if number.is_finite() => None,
        _ if number.is_nan() => Some("NaN"),
        _ if number > 0.0 => Some("Infinity"),
        _ => Some("-Infinity"),
    }
}
