//! The noise of pictures: what they start from, and what the steps of a stochastic scheduler add. Both are
//! named by seed, class and place in the class, so that a picture does not depend on the batch or the shard
//! it is made in.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch};
use candle_core::{Device, Result, Tensor};
use dream_schema::{Artifact, Latent, SchemaError};

use crate::floats;
use crate::rng::{Stream, domain};

/// Returns the `count` numbers of the noise that picture `index` of `class` starts from. A smaller latent
/// starts from the first of the numbers that a larger one starts from.
pub fn initial_noise(seed: u64, class: u32, index: u64, count: usize) -> Vec<f32> {
    Stream::new(seed, domain::IMAGINE_NOISE, class, index).normals(count)
}

/// The class and index whose noise pictures of one fixed noise start from.
const FIXED: (u32, u64) = (0, 0);

/// The numbers that a stochastic scheduler adds after evaluation `step`.
fn step_noise(seed: u64, class: u32, index: u64, step: usize, count: usize) -> Vec<f32> {
    Stream::new(seed, &domain::imagine_step_noise(step), class, index).normals(count)
}

/// The noise of the pictures of a batch.
pub(super) struct BatchNoise<'a> {
    pub(super) seed: u64,
    /// Class and place in the class of each picture.
    pub(super) pictures: Vec<(u32, u64)>,
    /// Whether all of them start from the same noise.
    pub(super) fixed: bool,
    /// Channels, height and width of a latent.
    pub(super) shape: [usize; 3],
    pub(super) device: &'a Device,
}

impl BatchNoise<'_> {
    /// What the pictures start from, `[batch, c, h, w]`.
    pub(super) fn initial(&self) -> Result<Tensor> {
        self.tensor(|class, index, count| {
            let (class, index) = if self.fixed { FIXED } else { (class, index) };
            initial_noise(self.seed, class, index, count)
        })
    }

    /// What is added after evaluation `step`, `[batch, c, h, w]`.
    pub(super) fn of_step(&self, step: usize) -> Result<Tensor> {
        self.tensor(|class, index, count| step_noise(self.seed, class, index, step, count))
    }

    fn tensor(&self, numbers: impl Fn(u32, u64, usize) -> Vec<f32>) -> Result<Tensor> {
        let [channels, height, width] = self.shape;
        let count = channels * height * width;
        let each = self.pictures.iter();
        let all: Vec<f32> = each
            .flat_map(|(class, index)| numbers(*class, *index, count))
            .collect();
        let shape = (self.pictures.len(), channels, height, width);
        Tensor::from_vec(all, shape, self.device)
    }
}

/// Returns rows of the table `latents` with the initial noise in the place of the final latents: the same
/// shape, drawn again from seed, class and index, for other programs to start from. No model is needed.
/// `fixed`: whether the run's pictures start from one noise ([`Params::fixed_noise`](super::Params)).
///
/// # Errors
/// If the rows are not those of the table.
pub fn initial_latents(batch: &RecordBatch, fixed: bool) -> std::result::Result<RecordBatch, SchemaError> {
    let noise: Vec<Vec<u8>> = Latent::from_batch(batch)?
        .iter()
        .map(|row| {
            let count = row.shape.iter().product::<i64>().max(0) as usize;
            let (class, index) = if fixed { FIXED } else { (row.class_id, row.index) };
            let numbers = initial_noise(row.seed, class, index, count);
            floats::to_bytes(&numbers)
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
    fn noise_is_named_by_seed_class_and_index() {
        let noise = |s, c, i| initial_noise(s, c, i, 24);
        let base = noise(1, 2, 3);
        assert_eq!(base, noise(1, 2, 3));
        for other in [noise(0, 2, 3), noise(1, 0, 3), noise(1, 2, 0)] {
            assert_ne!(base, other);
        }
        assert_eq!(base[..6], initial_noise(1, 2, 3, 6));
        let batch = BatchNoise {
            seed: 1,
            pictures: vec![(2, 0), (2, 3)],
            fixed: false,
            shape: [4, 2, 3],
            device: &Device::Cpu,
        };
        let numbers = |tensor: Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(batch.initial().unwrap().dims(), [2, 4, 2, 3]);
        assert_eq!(numbers(batch.initial().unwrap())[24..], base);
        let step = |step| numbers(batch.of_step(step).unwrap());
        assert_ne!(step(0), step(1));
        assert_eq!(step(1)[24..], step_noise(1, 2, 3, 1, 24));
        let fixed = BatchNoise {
            fixed: true,
            pictures: batch.pictures.clone(),
            ..batch
        };
        let same = numbers(fixed.initial().unwrap());
        assert_eq!(
            (&same[..24], &same[24..]),
            (&noise(1, 0, 0)[..], &noise(1, 0, 0)[..])
        );
        assert_eq!(numbers(fixed.of_step(1).unwrap())[24..], step(1)[24..]);
    }

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
        let noise = initial_latents(&batch, false).unwrap();
        assert_eq!(noise.schema(), batch.schema());
        let rows = Latent::from_batch(&noise).unwrap();
        let expected: Vec<u8> = initial_noise(9, 3, 5, 24)
            .iter()
            .flat_map(|n| n.to_le_bytes())
            .collect();
        assert_eq!((rows[1].index, &rows[1].data), (5, &expected));
        assert_ne!(rows[0].data, rows[1].data);
        let fixed = Latent::from_batch(&initial_latents(&batch, true).unwrap()).unwrap();
        assert_eq!(fixed[0].data, fixed[1].data);
    }
}
