//! `metrics`: a number that describes a run: a loss, an accuracy, a detection metric.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Float64Type, Int32Type, Int64Type, SchemaRef};

use crate::columns::{Builder, Columns, schema};
use crate::{Artifact, SchemaError, Table};

/// A number that describes a run: a loss, an accuracy, a detection metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// The class that it belongs to, where it does.
    pub class_id: Option<u32>,
    /// The name of that class.
    pub class_name: Option<String>,
    /// Its place among the run's rows of this table.
    pub index: u64,
    /// What it is: `loss`, `accuracy`, `fpr95`, `auroc`.
    pub name: String,
    /// The OOD data set that it was measured on, where it was.
    pub dataset: Option<String>,
    /// The detection score that it judges, where it does.
    pub score: Option<String>,
    /// The epoch that it belongs to, where it has one.
    pub epoch: Option<i32>,
    /// The number.
    pub value: f64,
}

impl Artifact for Metric {
    const TABLE: Table = Table::Metrics;

    fn part(&self) -> u32 {
        0
    }

    fn index(&self) -> u64 {
        self.index
    }

    fn schema(_width: usize) -> SchemaRef {
        schema(vec![
            Field::new("name", DataType::Utf8, true),
            Field::new("dataset", DataType::Utf8, true),
            Field::new("score", DataType::Utf8, true),
            Field::new("epoch", DataType::Int32, true),
            Field::new("value", DataType::Float64, true),
        ])
    }

    fn to_batch(rows: &[Self]) -> Result<RecordBatch, SchemaError> {
        Builder::new(Self::TABLE)
            .i32(rows.iter().map(|r| r.class_id.map(|c| c as i32)))
            .text(rows.iter().map(|r| r.class_name.as_deref()))
            .i64(rows.iter().map(|r| Some(r.index as i64)))
            .text(rows.iter().map(|r| Some(r.name.as_str())))
            .text(rows.iter().map(|r| r.dataset.as_deref()))
            .text(rows.iter().map(|r| r.score.as_deref()))
            .i32(rows.iter().map(|r| r.epoch))
            .f64(rows.iter().map(|r| r.value))
            .finish(Self::schema(0))
    }

    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>, SchemaError> {
        let c = Columns::new(Self::TABLE, batch);
        let mut class_id = c.optional_numbers::<Int32Type>("class_id")?.into_iter();
        let mut class_name = c.optional_text("class_name")?.into_iter();
        let index = c.numbers::<Int64Type>("index")?;
        let mut name = c.text("name")?.into_iter();
        let mut dataset = c.optional_text("dataset")?.into_iter();
        let mut score = c.optional_text("score")?.into_iter();
        let mut epoch = c.optional_numbers::<Int32Type>("epoch")?.into_iter();
        let mut value = c.numbers::<Float64Type>("value")?.into_iter();
        let row = |index: i64| {
            Some(Self {
                class_id: class_id.next()?.map(|c| c as u32),
                class_name: class_name.next()?,
                index: index as u64,
                name: name.next()?,
                dataset: dataset.next()?,
                score: score.next()?,
                epoch: epoch.next()?,
                value: value.next()?,
            })
        };
        // Columns of one batch are equally long, so no row is left out.
        Ok(index.into_iter().map_while(row).collect())
    }
}
