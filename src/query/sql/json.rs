//! `json_value(json, path)`: the parameters and sources of runs, and the values of `run_params`, are JSON.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use serde_json::Value;

/// Returns all functions.
pub(super) fn all() -> impl Iterator<Item = ScalarUDF> {
    let signature = Signature::string(2, Volatility::Immutable);
    std::iter::once(ScalarUDF::new_from_impl(JsonValue { signature }))
}

/// The value at a dotted key, as text: a string without its quotes, anything else as JSON. Null where there
/// is none, or a JSON null. A number in the path is a place in an array; the empty path is the whole.
#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonValue {
    signature: Signature,
}

impl ScalarUDFImpl for JsonValue {
    fn name(&self) -> &str {
        "json_value"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let [texts, paths] = columns.as_slice() else {
            return exec_err!("json_value takes two arguments");
        };
        let (texts, paths) = (text(texts)?, text(paths)?);
        let mut values = Vec::with_capacity(texts.len());
        for (json, path) in texts.iter().zip(&paths) {
            values.push(match (json, path) {
                (Some(json), Some(path)) => value(json, path)?,
                (None, _) | (_, None) => None,
            });
        }
        match (constant, values.pop()) {
            (true, Some(value)) => Ok(ColumnarValue::Scalar(ScalarValue::Utf8(value))),
            (_, last) => {
                values.extend(last);
                Ok(ColumnarValue::Array(Arc::new(StringArray::from(values))))
            }
        }
    }
}

fn text(column: &ArrayRef) -> Result<StringArray> {
    Ok(cast(column, &DataType::Utf8)?.as_string::<i32>().clone())
}

fn value(json: &str, path: &str) -> Result<Option<String>> {
    let whole: Value = match serde_json::from_str(json) {
        Ok(whole) => whole,
        Err(error) => return exec_err!("json_value: `{json}` is no JSON: {error}"),
    };
    let keys = path.split('.').filter(|_| !path.is_empty());
    let mut found = &whole;
    for key in keys {
        let below = match found {
            Value::Object(map) => map.get(key),
            Value::Array(items) => key.parse::<usize>().ok().and_then(|place| items.get(place)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        };
        let Some(below) = below else { return Ok(None) };
        found = below;
    }
    Ok(match found {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    })
}
