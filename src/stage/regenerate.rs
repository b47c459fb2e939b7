//! Decodes stored latents again and compares the pictures with the stored ones.

use candle_core::{Device, Tensor};
use dream_schema::{Image, Latent, RunId};

use super::{Context, Source, StageError, imagine, input};
use crate::diffusion::{Picture, Pipeline};
use crate::exchange;

/// A picture made again from its latent.
pub struct Regenerated {
    /// The stored row that it belongs to.
    pub image: Image,
    /// The picture as decoded now.
    pub picture: Picture,
    /// How it compares with the stored one.
    pub difference: Difference,
}

/// How two pictures of one size differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// The largest difference of a channel, in grey levels of 255.
    pub largest: u8,
    /// Peak signal-to-noise ratio in dB; infinite for equal pictures.
    pub psnr: f64,
}

impl Difference {
    /// Returns how `a` and `b`, equally long, differ.
    pub fn between(a: &[u8], b: &[u8]) -> Self {
        let largest = a.iter().zip(b).map(|(x, y)| x.abs_diff(*y)).max().unwrap_or(0);
        let squares: f64 = a
            .iter()
            .zip(b)
            .map(|(x, y)| f64::from(x.abs_diff(*y)).powi(2))
            .sum();
        let mean = squares / a.len().max(1) as f64;
        let psnr = if squares == 0.0 {
            f64::INFINITY
        } else {
            10.0 * (255.0 * 255.0 / mean).log10()
        };
        Self { largest, psnr }
    }
}

/// Decodes the stored latents of an `imagine` run again (one class, one index of it, or all), in batches, and hands each picture on.
///
/// # Errors
/// If the run is not a finished `imagine` run, its model is not at hand, or a latent is not the model's.
pub fn regenerate(
    ctx: &Context<'_>,
    run: RunId,
    class: Option<u32>,
    index: Option<u64>,
    each: &mut dyn FnMut(Regenerated) -> Result<(), StageError>,
) -> Result<(), StageError> {
    input(ctx.store, "latents", run, &[imagine::NAME])?;
    let model = Source::find(ctx.store, &ctx.store.run(run)?, "model")?;
    let pipeline = model.load_pipeline(ctx)?;
    let mut latents: Vec<Latent> = ctx.store.rows(run, class)?;
    latents.retain(|l| index.is_none_or(|i| l.index == i));
    if latents.is_empty() {
        return Err(StageError::Mismatch(format!(
            "run {run} has no latent of that class and index"
        )));
    }
    ctx.progress.begin("regenerate", latents.len() as u64, "images");
    for batch in latents.chunks(ctx.batch_size.max(1)) {
        ctx.check_interrupt()?;
        let tensors = batch
            .iter()
            .map(|l| tensor(l, &pipeline, ctx.device))
            .collect::<Result<Vec<_>, _>>()?;
        let pictures = pipeline.decode(&Tensor::cat(&tensors, 0)?)?;
        for (latent, picture) in batch.iter().zip(pictures) {
            let image: Image = ctx
                .store
                .row(run, latent.class_id, latent.index)?
                .ok_or_else(|| {
                    let (class, index) = (&latent.class_name, latent.index);
                    StageError::Mismatch(format!(
                        "run {run} has a latent and no picture of {class} {index}"
                    ))
                })?;
            let stored = exchange::decode_png(&image.png)?;
            let difference = Difference::between(&stored.rgb, &picture.rgb);
            each(Regenerated {
                image,
                picture,
                difference,
            })?;
        }
        ctx.progress.advance(batch.len() as u64);
    }
    ctx.progress.end();
    Ok(())
}

/// Returns the latent as a tensor `[1, channels, height, width]`.
fn tensor(latent: &Latent, pipeline: &Pipeline, device: &Device) -> Result<Tensor, StageError> {
    let expected = pipeline.latent_shape();
    let shape: Vec<usize> = latent.shape.iter().map(|d| *d as usize).collect();
    let fits = shape.first() == Some(&expected[0]) && shape.len() == 3;
    let numbers: Vec<f32> = latent
        .data
        .as_chunks::<4>()
        .0
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect();
    if !fits || latent.dtype != "f32" || numbers.len() != shape.iter().product::<usize>() {
        return Err(StageError::Mismatch(format!(
            "the latent of {} {} is {} {:?} in {} bytes; the model decodes f32 [{}, height, width]",
            latent.class_name,
            latent.index,
            latent.dtype,
            latent.shape,
            latent.data.len(),
            expected[0]
        )));
    }
    let dims = [&[1], shape.as_slice()].concat();
    Ok(Tensor::from_vec(numbers, dims, device)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difference_of_pictures() {
        assert_eq!(
            Difference::between(&[1, 2], &[1, 2]),
            Difference {
                largest: 0,
                psnr: f64::INFINITY
            }
        );
        let one = Difference::between(&[0, 10, 20, 30], &[0, 10, 21, 30]);
        assert_eq!(one.largest, 1);
        // Mean square error 1/4: 20 log10(255) + 10 log10(4).
        assert!((one.psnr - 54.151_4).abs() < 1e-3, "{}", one.psnr);
    }
}
