//! What the columns of an answer are called: of two tables that are joined both may have a `run`, and an
//! object of JSON, a data frame or a Parquet file has a name once.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;

/// Returns the schema with a number behind every name that a column before it has, as DuckDB does: `run`,
/// `run_1`.
pub(super) fn distinct(schema: SchemaRef) -> SchemaRef {
    let mut taken: HashSet<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    if taken.len() == schema.fields().len() {
        return schema;
    }
    let mut seen = HashSet::new();
    let fields = schema.fields().iter().map(|field| {
        if seen.insert(field.name().clone()) {
            return field.clone();
        }
        let mut number = 1;
        let name = loop {
            let name = format!("{}_{number}", field.name());
            if taken.insert(name.clone()) {
                break name;
            }
            number += 1;
        };
        Arc::new(field.as_ref().clone().with_name(name))
    });
    let fields: Vec<_> = fields.collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// Returns the rows with the columns called as `schema` has them.
pub(super) fn called(schema: &SchemaRef, rows: RecordBatch) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), rows.columns().to_vec(), &options)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};

    use super::*;

    #[test]
    fn no_two_columns_have_one_name() {
        let named = |names: &[&str]| {
            let field = |name: &&str| Field::new(*name, DataType::Int32, true);
            let schema = distinct(Arc::new(Schema::new(names.iter().map(field).collect::<Vec<_>>())));
            schema
                .fields()
                .iter()
                .map(|field| field.name().clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(named(&["run", "index"]), ["run", "index"]);
        assert_eq!(named(&["run", "run", "run"]), ["run", "run_1", "run_2"]);
        assert_eq!(named(&["run", "run", "run_1"]), ["run", "run_2", "run_1"]);
        assert_eq!(named(&["", "a", ""]), ["", "a", "_1"]);
    }
}
