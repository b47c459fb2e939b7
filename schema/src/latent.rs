//! `latents`: the final latent of a generated image, before the VAE decodes it: enough to make the picture again.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, SchemaRef, UInt64Type};

use crate::columns::{Builder, Columns, schema, shape_type};
use crate::{Artifact, SchemaError, Table};

/// The final latent of a generated image, before the VAE decodes it: enough to make the picture again.
#[derive(Clone, Debug, PartialEq)]
pub struct Latent {
    /// The class.
    pub class_id: u32,
    /// The name of the class.
    pub class_name: String,
    /// Its place in the class.
    pub index: u64,
    /// Index of the outlier (of the same class) whose vector stood in for the class word; none for a plain class prompt.
    pub outlier: Option<i64>,
    /// The prompt.
    pub prompt: String,
    /// The seed of the initial noise; with class and index it names the noise.
    pub seed: u64,
    /// Type of the numbers in `data`: `f32`.
    pub dtype: String,
    /// [channels, height, width].
    pub shape: Vec<i64>,
    /// The numbers, little-endian, in row-major order.
    pub data: Vec<u8>,
}

impl Artifact for Latent {
    const TABLE: Table = Table::Latents;

    fn part(&self) -> u32 {
        self.class_id
    }

    fn index(&self) -> u64 {
        self.index
    }

    fn schema(_width: usize) -> SchemaRef {
        schema(vec![
            Field::new("outlier", DataType::Int64, true),
            Field::new("prompt", DataType::Utf8, true),
            Field::new("seed", DataType::UInt64, true),
            Field::new("dtype", DataType::Utf8, true),
            Field::new("shape", shape_type(), true),
            Field::new("data", DataType::Binary, true),
        ])
    }

    fn to_batch(rows: &[Self]) -> Result<RecordBatch, SchemaError> {
        Builder::new(Self::TABLE)
            .i32(rows.iter().map(|r| Some(r.class_id as i32)))
            .text(rows.iter().map(|r| Some(r.class_name.as_str())))
            .i64(rows.iter().map(|r| Some(r.index as i64)))
            .i64(rows.iter().map(|r| r.outlier))
            .text(rows.iter().map(|r| Some(r.prompt.as_str())))
            .u64(rows.iter().map(|r| r.seed))
            .text(rows.iter().map(|r| Some(r.dtype.as_str())))
            .shapes(rows.iter().map(|r| r.shape.as_slice()))
            .bytes(rows.iter().map(|r| r.data.as_slice()))
            .finish(Self::schema(0))
    }

    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>, SchemaError> {
        let c = Columns::new(Self::TABLE, batch);
        let mut class_id = c.numbers::<Int32Type>("class_id")?.into_iter();
        let mut class_name = c.text("class_name")?.into_iter();
        let index = c.numbers::<Int64Type>("index")?;
        let mut outlier = c.optional_numbers::<Int64Type>("outlier")?.into_iter();
        let mut prompt = c.text("prompt")?.into_iter();
        let mut seed = c.numbers::<UInt64Type>("seed")?.into_iter();
        let mut dtype = c.text("dtype")?.into_iter();
        let mut shape = c.shapes("shape")?.into_iter();
        let mut data = c.bytes("data")?.into_iter();
        let row = |index: i64| {
            Some(Self {
                class_id: class_id.next()? as u32,
                class_name: class_name.next()?,
                index: index as u64,
                outlier: outlier.next()?,
                prompt: prompt.next()?,
                seed: seed.next()?,
                dtype: dtype.next()?,
                shape: shape.next()?,
                data: data.next()?,
            })
        };
        // Columns of one batch are equally long, so no row is left out.
        Ok(index.into_iter().map_while(row).collect())
    }
}
