//! The metadata by which Hugging Face `datasets` knows the types of the columns.

use arrow::datatypes::{DataType, Schema, TimeUnit};
use serde_json::{Map, Value, json};

/// The key of the schema's metadata.
pub(super) const KEY: &str = "huggingface";

/// Returns the features of `schema` as JSON; none if `datasets` has no word for one of the types.
pub(super) fn features(schema: &Schema) -> Option<String> {
    let mut features = Map::new();
    for field in schema.fields() {
        features.insert(field.name().clone(), feature(field.data_type())?);
    }
    Some(json!({"info": {"features": features}}).to_string())
}

fn feature(data_type: &DataType) -> Option<Value> {
    let value = |dtype: &str| Some(json!({"dtype": dtype, "_type": "Value"}));
    match data_type {
        DataType::Boolean => value("bool"),
        DataType::Int32 => value("int32"),
        DataType::Int64 => value("int64"),
        DataType::UInt32 => value("uint32"),
        DataType::UInt64 => value("uint64"),
        DataType::Float32 => value("float32"),
        DataType::Float64 => value("float64"),
        DataType::Utf8 => value("string"),
        DataType::Binary => value("binary"),
        DataType::Timestamp(TimeUnit::Microsecond, None) => value("timestamp[us]"),
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) => value(&format!("timestamp[us, tz={zone}]")),
        // `Sequence` is what releases before 4 know; later ones read it as `List`.
        DataType::FixedSizeList(item, width) => {
            Some(json!({"feature": feature(item.data_type())?, "length": width, "_type": "Sequence"}))
        }
        DataType::List(item) => Some(json!({"feature": feature(item.data_type())?, "_type": "Sequence"})),
        // The only struct that we write.
        DataType::Struct(_) => Some(json!({"_type": "Image"})),
        _ => None,
    }
}
