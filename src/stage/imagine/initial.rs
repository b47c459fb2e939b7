//! The noise that stored latents were sampled from, for other programs to start from.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch};
use dream_schema::{Artifact, Latent, SchemaError};

use crate::diffusion;

/// Returns rows of the table `latents` with the initial noise in the place of the final latents: the same shape, drawn again
/// from seed, class and index. No model is needed.
///
/// # Errors
/// If the rows are not those of the table.
pub fn initial_noise(batch: &RecordBatch) -> Result<RecordBatch, SchemaError> {
    let noise: Vec<Vec<u8>> = Latent::from_batch(batch)?
        .iter()
        .map(|row| {
            let count = row.shape.iter().product::<i64>().max(0) as usize;
            let numbers = diffusion::initial_noise(row.seed, row.class_id, row.index, count);
            numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
        })
        .collect();
    let data: ArrayRef = Arc::new(BinaryArray::from_iter_values(noise));
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns());
    let columns = columns.map(|(field, column)| {
        if field.name() == "data" {
            data.clone()
        } else {
            column.clone()
        }
    });
    Ok(RecordBatch::try_new(schema.clone(), columns.collect())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dream_schema::{RunId, with_run};

    #[test]
    fn noise_takes_the_place_of_the_latent() {
        let row = |index| Latent {
            class_id: 3,
            class_name: "bag".into(),
            index,
            outlier: None,
            prompt: "the bag".into(),
            seed: 9,
            dtype: "f32".into(),
            shape: vec![4, 2, 3],
            data: vec![0; 96],
        };
        let batch = Latent::to_batch(&[row(0), row(5)]).unwrap();
        let batch = with_run(RunId([1; 16]), &batch).unwrap();
        let noise = initial_noise(&batch).unwrap();
        assert_eq!(noise.schema(), batch.schema());
        let rows = Latent::from_batch(&noise).unwrap();
        let expected = diffusion::initial_noise(9, 3, 5, 24);
        let expected: Vec<u8> = expected.iter().flat_map(|n| n.to_le_bytes()).collect();
        assert_eq!((rows[1].index, &rows[1].data), (5, &expected));
        assert_ne!(rows[0].data, rows[1].data);
    }
}
