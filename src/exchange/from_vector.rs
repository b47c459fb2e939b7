//! Rows from bare vectors: what an `.npy` or safetensors file becomes on the way in.
//!
//! Such a file knows nothing but the numbers. What else a row has is filled with values that no stage writes,
//! so that an imported row is recognised: numbers that are unknown are -1 or null, texts that are unknown are
//! empty.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, RecordBatch};
use arrow::datatypes::DataType;
use dream_schema::value::vector_array;
use dream_schema::{Artifact, ClassEmbedding, Feature, Outlier, OutlierKind, SchemaError};

/// A row that can be made from a vector.
pub trait FromVector: Artifact {
    /// Returns the row of a vector of which nothing but its class and its place in it is known.
    fn from_vector(class_id: u32, class_name: &str, index: u64, vector: Vec<f32>) -> Self;
}

impl FromVector for ClassEmbedding {
    /// The word is the class's name, the norm that of the vector; token and model are unknown.
    fn from_vector(class_id: u32, class_name: &str, index: u64, vector: Vec<f32>) -> Self {
        let squares: f64 = vector.iter().map(|v| f64::from(*v).powi(2)).sum();
        Self {
            class_id,
            class_name: class_name.to_owned(),
            index,
            word: class_name.to_owned(),
            token_id: -1,
            model: String::new(),
            vector,
            norm: squares.sqrt() as f32,
        }
    }
}

impl FromVector for Feature {
    /// Split and sample are unknown.
    fn from_vector(class_id: u32, class_name: &str, index: u64, vector: Vec<f32>) -> Self {
        Self {
            class_id,
            class_name: class_name.to_owned(),
            index,
            vector,
            split: String::new(),
            sample: -1,
        }
    }
}

impl FromVector for Outlier {
    /// An outlier; anchor, round and distance are unknown.
    fn from_vector(class_id: u32, class_name: &str, index: u64, vector: Vec<f32>) -> Self {
        Self {
            class_id,
            class_name: class_name.to_owned(),
            index,
            kind: OutlierKind::Outlier,
            vector,
            anchor: -1,
            round: -1,
            knn_distance: None,
        }
    }
}

/// Rows, and their vectors in one array: a million vectors are not a million allocations.
#[derive(Clone, Debug)]
pub struct VectorRows<A> {
    /// The rows, whose vectors are left empty.
    pub rows: Vec<A>,
    numbers: Float32Array,
    width: usize,
}

impl<A: FromVector> VectorRows<A> {
    /// Puts rows and their vectors `[rows, width]` together.
    ///
    /// # Panics
    /// If they are not as many.
    pub fn new(rows: Vec<A>, numbers: Float32Array, width: usize) -> Self {
        assert_eq!(
            rows.len() * width,
            numbers.len(),
            "a vector of {width} numbers a row"
        );
        Self { rows, numbers, width }
    }

    /// Returns the rows, each with its vector.
    pub fn iter(&self) -> impl Iterator<Item = (&A, &[f32])> {
        self.rows.iter().zip(self.vectors())
    }

    /// Returns the rows to be changed, each with its vector.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&mut A, &[f32])> {
        let vectors = self.numbers.values().chunks_exact(self.width.max(1));
        self.rows.iter_mut().zip(vectors)
    }

    /// Returns the vectors.
    pub fn vectors(&self) -> impl Iterator<Item = &[f32]> {
        self.numbers.values().chunks_exact(self.width.max(1))
    }

    /// Returns the rows as the store takes them.
    ///
    /// # Errors
    /// If a value does not fit the table.
    pub fn to_batch(&self) -> Result<RecordBatch, SchemaError> {
        let empty = A::to_batch(&self.rows)?;
        let vectors = vector_array(self.numbers.clone(), self.width, self.rows.len())?;
        let vectors: ArrayRef = Arc::new(vectors);
        let schema = A::schema(self.width);
        let columns = schema.fields().iter().zip(empty.columns());
        let columns = columns.map(|(field, column)| match field.data_type() {
            DataType::FixedSizeList(..) => vectors.clone(),
            _ => column.clone(),
        });
        let columns = columns.collect();
        Ok(RecordBatch::try_new(schema, columns)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_and_rows_come_together() {
        let flat = vec![3.0, 4.0, 0.0, 1.0];
        let rows = (0..2).map(|index| Outlier::from_vector(7, "otter", index, Vec::new()));
        let rows = VectorRows::new(rows.collect(), flat.into(), 2);
        let stored = Outlier::from_batch(&rows.to_batch().unwrap()).unwrap();
        assert_eq!(stored[1].vector, [0.0, 1.0]);
        assert_eq!(
            (stored[1].class_id, stored[1].index, stored[1].anchor),
            (7, 1, -1)
        );
        assert!(rows.iter().map(|(_, vector)| vector.len()).eq([2, 2]));
        let row: ClassEmbedding = ClassEmbedding::from_vector(7, "otter", 0, vec![3.0, 4.0]);
        assert_eq!((row.norm, row.word.as_str()), (5.0, "otter"));
        assert_eq!(Feature::from_vector(7, "otter", 0, vec![1.0]).sample, -1);
    }
}
