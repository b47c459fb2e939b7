//! Rows as JSON lines.

use std::io::Write;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;

use crate::exchange::json_numbers::NotFinite;
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
        .with_encoder_factory(Arc::new(NotFinite::Quoted))
        .build::<_, LineDelimited>(out);
    writer.write(batch)?;
    writer.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Float32Array, Float64Array, ListArray};
    use arrow::compute::cast;
    use arrow::datatypes::{DataType, Float32Type};

    use super::*;

    #[test]
    fn null_means_null_and_nothing_else() {
        let a: ArrayRef = Arc::new(Float32Array::from(vec![Some(0.1), None, Some(f32::NAN)]));
        let b: ArrayRef = Arc::new(Float64Array::from(vec![f64::INFINITY, 1e300, f64::NEG_INFINITY]));
        let lists = [Some(vec![Some(f32::NAN), None]), None, Some(vec![Some(1.5)])];
        let c: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(lists));
        let d = cast(&a, &DataType::Float16).unwrap();
        let columns = [("a", a), ("b", b), ("c", c), ("d", d)].map(|(name, column)| (name, column, true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns);
        let mut out = Vec::new();
        write_json(&mut out, &batch.unwrap()).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[0],
            r#"{"a":0.1,"b":"Infinity","c":["NaN",null],"d":0.099975586}"#
        );
        assert_eq!(lines[1], r#"{"a":null,"b":1e300,"c":null,"d":null}"#);
        assert_eq!(lines[2], r#"{"a":"NaN","b":"-Infinity","c":[1.5],"d":"NaN"}"#);
    }
}
