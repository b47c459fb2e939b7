//! Rows from bare vectors: what an `.npy` or safetensors file becomes on the way in.
//!
//! Such a file knows nothing but the numbers. What else a row has is filled with values that no stage writes,
//! so that an imported row is recognised: numbers that are unknown are -1 or null, texts that are unknown are
//! empty.

use dream_schema::{Artifact, ClassEmbedding, Feature, Outlier, OutlierKind};

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

/// Returns the rows of a class from its vectors `[rows, width]`.
pub fn rows_from_vectors<A: FromVector>(
    class_id: u32,
    class_name: &str,
    flat: &[f32],
    width: usize,
) -> Vec<A> {
    let vectors = flat.chunks_exact(width.max(1)).zip(0..);
    vectors
        .map(|(vector, index)| A::from_vector(class_id, class_name, index, vector.to_vec()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_become_rows_in_order() {
        let flat = [3.0, 4.0, 0.0, 1.0];
        let rows: Vec<ClassEmbedding> = rows_from_vectors(7, "otter", &flat, 2);
        assert_eq!(
            (rows.len(), rows[0].norm, rows[1].index, rows[1].class_id),
            (2, 5.0, 1, 7)
        );
        assert_eq!(rows[1].vector, [0.0, 1.0]);
        let rows: Vec<Outlier> = rows_from_vectors(7, "otter", &flat, 4);
        assert!(rows[0].knn_distance.is_none() && rows[0].anchor == -1);
        let rows: Vec<Feature> = rows_from_vectors(7, "otter", &flat, 4);
        assert_eq!(rows[0].sample, -1);
    }
}
