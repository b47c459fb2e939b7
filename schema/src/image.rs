//! `images`: a generated image.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, SchemaRef};

use crate::columns::{Builder, Columns, schema};
use crate::{Artifact, SchemaError, Table};

/// A generated image.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// The class.
    pub class_id: u32,
    /// The name of the class.
    pub class_name: String,
    /// Its place in the class.
    pub index: u64,
    /// Index of the outlier (of the same class) that it was imagined from; none for a plain class prompt.
    pub outlier: Option<i64>,
    /// Width in pixels.
    pub width: i32,
    /// Height in pixels.
    pub height: i32,
    /// The picture as a PNG file.
    pub png: Vec<u8>,
    /// BLAKE3 of `png`, in hex.
    pub blake3: String,
}

impl Artifact for Image {
    const TABLE: Table = Table::Images;

    fn part(&self) -> u32 {
        self.class_id
    }

    fn index(&self) -> u64 {
        self.index
    }

    fn schema(_width: usize) -> SchemaRef {
        schema(vec![
            Field::new("outlier", DataType::Int64, true),
            Field::new("width", DataType::Int32, true),
            Field::new("height", DataType::Int32, true),
            Field::new("png", DataType::Binary, true),
            Field::new("blake3", DataType::Utf8, true),
        ])
    }

    fn to_batch(rows: &[Self]) -> Result<RecordBatch, SchemaError> {
        Builder::new(Self::TABLE)
            .i32(rows.iter().map(|r| Some(r.class_id as i32)))
            .text(rows.iter().map(|r| Some(r.class_name.as_str())))
            .i64(rows.iter().map(|r| Some(r.index as i64)))
            .i64(rows.iter().map(|r| r.outlier))
            .i32(rows.iter().map(|r| Some(r.width)))
            .i32(rows.iter().map(|r| Some(r.height)))
            .bytes(rows.iter().map(|r| r.png.as_slice()))
            .text(rows.iter().map(|r| Some(r.blake3.as_str())))
            .finish(Self::schema(0))
    }

    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>, SchemaError> {
        let c = Columns::new(Self::TABLE, batch);
        let mut class_id = c.numbers::<Int32Type>("class_id")?.into_iter();
        let mut class_name = c.text("class_name")?.into_iter();
        let index = c.numbers::<Int64Type>("index")?;
        let mut outlier = c.optional_numbers::<Int64Type>("outlier")?.into_iter();
        let mut width = c.numbers::<Int32Type>("width")?.into_iter();
        let mut height = c.numbers::<Int32Type>("height")?.into_iter();
        let mut png = c.bytes("png")?.into_iter();
        let mut blake3 = c.text("blake3")?.into_iter();
        let row = |index: i64| {
            Some(Self {
                class_id: class_id.next()? as u32,
                class_name: class_name.next()?,
                index: index as u64,
                outlier: outlier.next()?,
                width: width.next()?,
                height: height.next()?,
                png: png.next()?,
                blake3: blake3.next()?,
            })
        };
        // Columns of one batch are equally long, so no row is left out.
        Ok(index.into_iter().map_while(row).collect())
    }
}
