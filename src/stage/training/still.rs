//! Networks on whole images, without augmentation.

use candle_core::Tensor;

use crate::dataset::Preparation;
use crate::nn;
use crate::nn::augment::Augmentation;
use crate::stage::pictures::{Look, Pictures, ahead};
use crate::stage::{Context, StageError};

/// Images that a forward pass without gradients takes at once, at most, and their pixels. Results do not
/// depend on it.
const BATCH: usize = 250;
const PIXELS: usize = 1 << 20;

/// How a network looks at whole images.
#[derive(Clone, Debug)]
pub(in crate::stage) struct Still {
    pub preparation: Preparation,
    /// Mean and standard deviation of each channel, of values in [0, 1].
    pub mean: [f64; 3],
    pub std: [f64; 3],
}

impl Still {
    /// Returns what `network` makes of the images `samples`, a row each, flat.
    ///
    /// # Errors
    /// If an image cannot be read, or the user interrupts.
    pub fn outputs(
        &self,
        ctx: &Context<'_>,
        images: &Pictures<'_>,
        samples: &[u32],
        network: impl Fn(&Tensor) -> nn::Result<Tensor>,
    ) -> Result<Vec<f32>, StageError> {
        let mut all = Vec::new();
        self.each(ctx, images, samples, [BATCH, PIXELS], |_, x| {
            all.extend(network(x)?.flatten_all()?.to_vec1::<f32>()?);
            Ok(())
        })?;
        Ok(all)
    }

    /// Hands the images `samples` to `take` as the network takes them, batch by batch: `most` images, or
    /// pixels of them, at the most.
    ///
    /// # Errors
    /// If an image cannot be read, or the user interrupts; whatever `take` fails with.
    pub fn each(
        &self,
        ctx: &Context<'_>,
        images: &Pictures<'_>,
        samples: &[u32],
        most: [usize; 2],
        mut take: impl FnMut(&[u32], &Tensor) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        let look = Look {
            augmentation: Augmentation {
                flip: false,
                crop_padding: 0,
                fill: 0,
                jitter: None,
                policy: None,
                mean: self.mean.iter().map(|v| *v as f32).collect(),
                std: self.std.iter().map(|v| *v as f32).collect(),
            },
            resized_crop: None,
        };
        let area = (self.preparation.width * self.preparation.height).max(1);
        let batch = (most[1] / area).clamp(1, most[0]);
        let make = |samples| Ok((samples, images.batch(&look, samples, 0, 0)?));
        ahead(samples.chunks(batch), make, |(samples, x)| {
            ctx.check_interrupt()?;
            let shape = images.shape(samples.len());
            take(samples, &Tensor::from_vec(x, &shape, ctx.engine.device())?)
        })
    }
}
