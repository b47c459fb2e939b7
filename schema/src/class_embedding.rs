//! `class_embeddings`: T(y): the row of the text encoder's input token table that belongs to the class word (DREAM-OOD, Sec. 3.1).

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Float32Type, Int32Type, Int64Type, SchemaRef};

use crate::columns::{Builder, Columns, schema, vector_field};
use crate::{Artifact, SchemaError, Table};

/// T(y): the row of the text encoder's input token table that belongs to the class word (DREAM-OOD, Sec. 3.1).
#[derive(Clone, Debug, PartialEq)]
pub struct ClassEmbedding {
    /// The class.
    pub class_id: u32,
    /// The name of the class.
    pub class_name: String,
    /// Its place in the class.
    pub index: u64,
    /// The class word, one token of the tokenizer.
    pub word: String,
    /// Its row in the token table.
    pub token_id: i64,
    /// BLAKE3 of the diffusion model that it was read from.
    pub model: String,
    /// T(y), as wide as the text encoder.
    pub vector: Vec<f32>,
    /// |T(y)|, to which outliers of the class are scaled.
    pub norm: f32,
}

impl Artifact for ClassEmbedding {
    const TABLE: Table = Table::ClassEmbeddings;

    fn part(&self) -> u32 {
        self.class_id
    }

    fn index(&self) -> u64 {
        self.index
    }

    fn schema(width: usize) -> SchemaRef {
        schema(vec![
            Field::new("word", DataType::Utf8, true),
            Field::new("token_id", DataType::Int64, true),
            Field::new("model", DataType::Utf8, true),
            vector_field(width),
            Field::new("norm", DataType::Float32, true),
        ])
    }

    fn to_batch(rows: &[Self]) -> Result<RecordBatch, SchemaError> {
        let width = rows.first().map_or(0, |r| r.vector.len());
        Builder::new(Self::TABLE)
            .i32(rows.iter().map(|r| Some(r.class_id as i32)))
            .text(rows.iter().map(|r| Some(r.class_name.as_str())))
            .i64(rows.iter().map(|r| Some(r.index as i64)))
            .text(rows.iter().map(|r| Some(r.word.as_str())))
            .i64(rows.iter().map(|r| Some(r.token_id)))
            .text(rows.iter().map(|r| Some(r.model.as_str())))
            .vectors(rows.iter().map(|r| r.vector.as_slice()))?
            .f32(rows.iter().map(|r| r.norm))
            .finish(Self::schema(width))
    }

    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>, SchemaError> {
        let c = Columns::new(Self::TABLE, batch);
        let mut class_id = c.numbers::<Int32Type>("class_id")?.into_iter();
        let mut class_name = c.text("class_name")?.into_iter();
        let index = c.numbers::<Int64Type>("index")?;
        let mut word = c.text("word")?.into_iter();
        let mut token_id = c.numbers::<Int64Type>("token_id")?.into_iter();
        let mut model = c.text("model")?.into_iter();
        let mut vector = c.vectors("vector")?.into_iter();
        let mut norm = c.numbers::<Float32Type>("norm")?.into_iter();
        let row = |index: i64| {
            Some(Self {
                class_id: class_id.next()? as u32,
                class_name: class_name.next()?,
                index: index as u64,
                word: word.next()?,
                token_id: token_id.next()?,
                model: model.next()?,
                vector: vector.next()?,
                norm: norm.next()?,
            })
        };
        // Columns of one batch are equally long, so no row is left out.
        Ok(index.into_iter().map_while(row).collect())
    }
}
