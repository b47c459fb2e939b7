//! How each column is written.

use arrow::datatypes::{DataType, Field, Schema};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

/// Strings that differ from row to row, for which a dictionary is a loss.
const UNIQUE: [&str; 5] = ["blake3", "blob", "digest", "params", "path"];

/// What rows are found by: these columns get a page index.
const KEYS: [&str; 3] = ["run", "class_id", "index"];

/// Values written between two looks at the size of a page: few where a value may be a megabyte.
const BATCH_OF_BYTES: usize = 16;

/// Returns the properties for a file of rows of `schema` with `metadata`.
pub(super) fn properties(schema: &Schema, metadata: Vec<KeyValue>) -> WriterProperties {
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("dream-ood ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_key_value_metadata(Some(metadata));
    for field in schema.fields() {
        let name = field.name();
        let path = leaf(field);
        builder = match field.data_type() {
            DataType::Utf8 if !UNIQUE.contains(&name.as_str()) => {
                builder.set_column_dictionary_enabled(path.clone(), true)
            }
            DataType::Float32 | DataType::Float64 => {
                builder.set_column_encoding(path.clone(), Encoding::BYTE_STREAM_SPLIT)
            }
            DataType::FixedSizeList(item, _) | DataType::List(item) if item.data_type().is_floating() => {
                builder
                    .set_column_encoding(path.clone(), Encoding::BYTE_STREAM_SPLIT)
                    .set_column_statistics_enabled(path.clone(), EnabledStatistics::None)
            }
            DataType::Binary => builder
                .set_column_statistics_enabled(path.clone(), EnabledStatistics::None)
                .set_write_batch_size(BATCH_OF_BYTES),
            DataType::Struct(_) => {
                let file = ColumnPath::new(vec![name.clone(), "path".to_owned()]);
                builder
                    .set_column_compression(path.clone(), Compression::UNCOMPRESSED)
                    .set_column_statistics_enabled(path.clone(), EnabledStatistics::None)
                    .set_column_statistics_enabled(file, EnabledStatistics::None)
                    .set_write_batch_size(BATCH_OF_BYTES)
            }
            _ => builder,
        };
        if KEYS.contains(&name.as_str()) {
            builder = builder.set_column_statistics_enabled(path, EnabledStatistics::Page);
        }
    }
    builder.build()
}

/// Returns the path of the column that holds a field's values: of an image, its bytes.
fn leaf(field: &Field) -> ColumnPath {
    let mut path = vec![field.name().clone()];
    match field.data_type() {
        DataType::FixedSizeList(item, _) | DataType::List(item) => {
            path.push("list".to_owned());
            path.push(item.name().clone());
        }
        DataType::Struct(_) => path.push("bytes".to_owned()),
        _ => {}
    }
    ColumnPath::new(path)
}
