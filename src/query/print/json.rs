//! Rows as JSON lines.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, FieldRef, Float32Type, Float64Type};
use arrow::error::ArrowError;
use arrow::json::writer::{LineDelimited, NullableEncoder};
use arrow::json::{Encoder, EncoderFactory, EncoderOptions, WriterBuilder};

use crate::query::Result;

/// Writes one JSON object a row: null as `null`, vectors in full, bytes in hex, times as ISO 8601. A number
/// that is not finite, which JSON has no word for, is one of the texts `"NaN"`, `"Infinity"` and
/// `"-Infinity"`: `null` always means that there is no value.
///
/// # Errors
/// If the bytes cannot be written.
pub fn write_json(out: &mut dyn Write, batch: &RecordBatch) -> Result<()> {
    let mut writer = WriterBuilder::new()
        .with_explicit_nulls(true)
        .with_encoder_factory(Arc::new(NotFinite))
        .build::<_, LineDelimited>(out);
    writer.write(batch)?;
    writer.finish()?;
    Ok(())
}

/// Encodes columns that have numbers which are not finite.
#[derive(Debug)]
struct NotFinite;

impl EncoderFactory for NotFinite {
    fn make_default_encoder<'a>(
        &self,
        _: &'a FieldRef,
        array: &'a dyn Array,
        _: &'a EncoderOptions,
    ) -> std::result::Result<Option<NullableEncoder<'a>>, ArrowError> {
        let numbers: Vec<f64> = match array.data_type() {
            DataType::Float32 => {
                let numbers = array.as_primitive::<Float32Type>().values();
                if numbers.iter().all(|number| number.is_finite()) {
                    return Ok(None);
                }
                // By way of their shortest text, so that 0.1 stays 0.1.
                let widened = |number: &f32| number.to_string().parse().unwrap_or(f64::NAN);
                numbers.iter().map(widened).collect()
            }
            DataType::Float64 => array.as_primitive::<Float64Type>().values().to_vec(),
            _ => return Ok(None),
        };
        if numbers.iter().all(|number| number.is_finite()) {
            return Ok(None);
        }
        let encoder = Box::new(Numbers(numbers));
        Ok(Some(NullableEncoder::new(encoder, array.nulls().cloned())))
    }
}

struct Numbers(Vec<f64>);

impl Encoder for Numbers {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let text = match self.0.get(row) {
            Some(number) if number.is_finite() => serde_json::Value::from(*number).to_string(),
            Some(number) if number.is_nan() => "\"NaN\"".to_owned(),
            Some(number) if *number > 0.0 => "\"Infinity\"".to_owned(),
            Some(_) => "\"-Infinity\"".to_owned(),
            None => "null".to_owned(),
        };
        out.extend_from_slice(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Float32Array, Float64Array, ListArray};

    use super::*;

    #[test]
    fn null_means_null_and_nothing_else() {
        let a: ArrayRef = Arc::new(Float32Array::from(vec![Some(0.1), None, Some(f32::NAN)]));
        let b: ArrayRef = Arc::new(Float64Array::from(vec![f64::INFINITY, 1e300, f64::NEG_INFINITY]));
        let lists = [Some(vec![Some(f32::NAN), None]), None, Some(vec![Some(1.5)])];
        let c: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(lists));
        let batch =
            RecordBatch::try_from_iter_with_nullable([("a", a, true), ("b", b, true), ("c", c, true)]);
        let mut out = Vec::new();
        write_json(&mut out, &batch.unwrap()).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], r#"{"a":0.1,"b":"Infinity","c":["NaN",null]}"#);
        assert_eq!(
            lines[1],
            r#"{"a":null,"b":1e300,"c":null}"#.replace("1e300", "1e+300")
        );
        assert_eq!(lines[2], r#"{"a":"NaN","b":"-Infinity","c":[1.5]}"#);
    }
}
