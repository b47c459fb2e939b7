//! `scores`: a detection score of a test image; higher means more in-distribution.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Float32Type, Int32Type, Int64Type, SchemaRef};

use crate::columns::{Builder, Columns, schema};
use crate::{Artifact, SchemaError, Table};

/// A detection score of a test image; higher means more in-distribution.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// The class that it belongs to, where it does.
    pub class_id: Option<u32>,
    /// The name of that class.
    pub class_name: Option<String>,
    /// Its place among the run's rows of this table.
    pub index: u64,
    /// The data set that the image is from.
    pub dataset: String,
    /// The split of the data set.
    pub split: String,
    /// Name of the score: `msp`, `energy`, `dream`.
    pub score: String,
    /// The image's place in the split.
    pub sample: i64,
    /// The score.
    pub value: f32,
    /// The image's class; none for an OOD image.
    pub label: Option<i32>,
    /// The class that the network gives it.
    pub predicted: i32,
}

impl Artifact for Score {
    const TABLE: Table = Table::Scores;

    fn part(&self) -> u32 {
        0
    }

    fn index(&self) -> u64 {
        self.index
    }

    fn schema(_width: usize) -> SchemaRef {
        schema(vec![
            Field::new("dataset", DataType::Utf8, true),
            Field::new("split", DataType::Utf8, true),
            Field::new("score", DataType::Utf8, true),
            Field::new("sample", DataType::Int64, true),
            Field::new("value", DataType::Float32, true),
            Field::new("label", DataType::Int32, true),
            Field::new("predicted", DataType::Int32, true),
        ])
    }

    fn to_batch(rows: &[Self]) -> Result<RecordBatch, SchemaError> {
        Builder::new(Self::TABLE)
            .i32(rows.iter().map(|r| r.class_id.map(|c| c as i32)))
            .text(rows.iter().map(|r| r.class_name.as_deref()))
            .i64(rows.iter().map(|r| Some(r.index as i64)))
            .text(rows.iter().map(|r| Some(r.dataset.as_str())))
            .text(rows.iter().map(|r| Some(r.split.as_str())))
            .text(rows.iter().map(|r| Some(r.score.as_str())))
            .i64(rows.iter().map(|r| Some(r.sample)))
            .f32(rows.iter().map(|r| r.value))
            .i32(rows.iter().map(|r| r.label))
            .i32(rows.iter().map(|r| Some(r.predicted)))
            .finish(Self::schema(0))
    }

    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>, SchemaError> {
        let c = Columns::new(Self::TABLE, batch);
        let mut class_id = c.optional_numbers::<Int32Type>("class_id")?.into_iter();
        let mut class_name = c.optional_text("class_name")?.into_iter();
        let index = c.numbers::<Int64Type>("index")?;
        let mut dataset = c.text("dataset")?.into_iter();
        let mut split = c.text("split")?.into_iter();
        let mut score = c.text("score")?.into_iter();
        let mut sample = c.numbers::<Int64Type>("sample")?.into_iter();
        let mut value = c.numbers::<Float32Type>("value")?.into_iter();
        let mut label = c.optional_numbers::<Int32Type>("label")?.into_iter();
        let mut predicted = c.numbers::<Int32Type>("predicted")?.into_iter();
        let row = |index: i64| {
            Some(Self {
                class_id: class_id.next()?.map(|c| c as u32),
                class_name: class_name.next()?,
                index: index as u64,
                dataset: dataset.next()?,
                split: split.next()?,
                score: score.next()?,
                sample: sample.next()?,
                value: value.next()?,
                label: label.next()?,
                predicted: predicted.next()?,
            })
        };
        // Columns of one batch are equally long, so no row is left out.
        Ok(index.into_iter().map_while(row).collect())
    }
}
