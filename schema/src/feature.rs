//! `features`: an ID feature z = h(x)/|h(x)|: a training image in the token-embedding space (DREAM-OOD, Eq. 2).

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, SchemaRef};

use crate::columns::{Builder, Columns, schema, vector_field};
use crate::{Artifact, SchemaError, Table};

/// An ID feature z = h(x)/|h(x)|: a training image in the token-embedding space (DREAM-OOD, Eq. 2).
#[derive(Clone, Debug, PartialEq)]
pub struct Feature {
    /// The class.
    pub class_id: u32,
    /// The name of the class.
    pub class_name: String,
    /// Its place in the class.
    pub index: u64,
    /// The unit vector z.
    pub vector: Vec<f32>,
    /// The split of the data set that the image is from.
    pub split: String,
    /// The image's place in that split.
    pub sample: i64,
}

impl Artifact for Feature {
    const TABLE: Table = Table::Features;

    fn part(&self) -> u32 {
        self.class_id
    }

    fn index(&self) -> u64 {
        self.index
    }

    fn schema(width: usize) -> SchemaRef {
        schema(vec![
            vector_field(width),
            Field::new("split", DataType::Utf8, true),
            Field::new("sample", DataType::Int64, true),
        ])
    }

    fn to_batch(rows: &[Self]) -> Result<RecordBatch, SchemaError> {
        let width = rows.first().map_or(0, |r| r.vector.len());
        Builder::new(Self::TABLE)
            .i32(rows.iter().map(|r| Some(r.class_id as i32)))
            .text(rows.iter().map(|r| Some(r.class_name.as_str())))
            .i64(rows.iter().map(|r| Some(r.index as i64)))
            .vectors(rows.iter().map(|r| r.vector.as_slice()))?
            .text(rows.iter().map(|r| Some(r.split.as_str())))
            .i64(rows.iter().map(|r| Some(r.sample)))
            .finish(Self::schema(width))
    }

    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>, SchemaError> {
        let c = Columns::new(Self::TABLE, batch);
        let mut class_id = c.numbers::<Int32Type>("class_id")?.into_iter();
        let mut class_name = c.text("class_name")?.into_iter();
        let index = c.numbers::<Int64Type>("index")?;
        let mut vector = c.vectors("vector")?.into_iter();
        let mut split = c.text("split")?.into_iter();
        let mut sample = c.numbers::<Int64Type>("sample")?.into_iter();
        let row = |index: i64| {
            Some(Self {
                class_id: class_id.next()? as u32,
                class_name: class_name.next()?,
                index: index as u64,
                vector: vector.next()?,
                split: split.next()?,
                sample: sample.next()?,
            })
        };
        // Columns of one batch are equally long, so no row is left out.
        Ok(index.into_iter().map_while(row).collect())
    }
}
