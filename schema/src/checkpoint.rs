//! `checkpoints`: the state of a model; its bytes are a blob of the store.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, SchemaRef};

use crate::columns::{Builder, Columns, schema};
use crate::{Artifact, SchemaError, Table};

/// The state of a model; its bytes are a blob of the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The class that it belongs to, where it does.
    pub class_id: Option<u32>,
    /// The name of that class.
    pub class_name: Option<String>,
    /// Its place among the run's rows of this table.
    pub index: u64,
    /// What it is a state of: `model` or `optimizer`.
    pub name: String,
    /// Epochs trained.
    pub epoch: i32,
    /// File format of the bytes: `safetensors`.
    pub format: String,
    /// Length of the bytes.
    pub size: i64,
    /// BLAKE3 of the bytes, in hex.
    pub blake3: String,
    /// Address of the blob that holds them.
    pub blob: String,
}

impl Artifact for Checkpoint {
    const TABLE: Table = Table::Checkpoints;

    fn part(&self) -> u32 {
        0
    }

    fn index(&self) -> u64 {
        self.index
    }

    fn schema(_width: usize) -> SchemaRef {
        schema(vec![
            Field::new("name", DataType::Utf8, true),
            Field::new("epoch", DataType::Int32, true),
            Field::new("format", DataType::Utf8, true),
            Field::new("size", DataType::Int64, true),
            Field::new("blake3", DataType::Utf8, true),
            Field::new("blob", DataType::Utf8, true),
        ])
    }

    fn to_batch(rows: &[Self]) -> Result<RecordBatch, SchemaError> {
        Builder::new(Self::TABLE)
            .i32(rows.iter().map(|r| r.class_id.map(|c| c as i32)))
            .text(rows.iter().map(|r| r.class_name.as_deref()))
            .i64(rows.iter().map(|r| Some(r.index as i64)))
            .text(rows.iter().map(|r| Some(r.name.as_str())))
            .i32(rows.iter().map(|r| Some(r.epoch)))
            .text(rows.iter().map(|r| Some(r.format.as_str())))
            .i64(rows.iter().map(|r| Some(r.size)))
            .text(rows.iter().map(|r| Some(r.blake3.as_str())))
            .text(rows.iter().map(|r| Some(r.blob.as_str())))
            .finish(Self::schema(0))
    }

    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>, SchemaError> {
        let c = Columns::new(Self::TABLE, batch);
        let mut class_id = c.optional_numbers::<Int32Type>("class_id")?.into_iter();
        let mut class_name = c.optional_text("class_name")?.into_iter();
        let index = c.numbers::<Int64Type>("index")?;
        let mut name = c.text("name")?.into_iter();
        let mut epoch = c.numbers::<Int32Type>("epoch")?.into_iter();
        let mut format = c.text("format")?.into_iter();
        let mut size = c.numbers::<Int64Type>("size")?.into_iter();
        let mut blake3 = c.text("blake3")?.into_iter();
        let mut blob = c.text("blob")?.into_iter();
        let row = |index: i64| {
            Some(Self {
                class_id: class_id.next()?.map(|c| c as u32),
                class_name: class_name.next()?,
                index: index as u64,
                name: name.next()?,
                epoch: epoch.next()?,
                format: format.next()?,
                size: size.next()?,
                blake3: blake3.next()?,
                blob: blob.next()?,
            })
        };
        // Columns of one batch are equally long, so no row is left out.
        Ok(index.into_iter().map_while(row).collect())
    }
}
