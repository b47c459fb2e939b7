//! Makes stored pictures again: decodes their latents and, if asked, samples the latents again from the seed,
//! and compares both with what is stored.

mod difference;
mod rows;

use candle_core::{Device, Tensor};
use dream_schema::{ClassEmbedding, Image, Latent, Run, RunId};

use super::imagine::{Painter, Vectors, Wanted};
use super::{Context, Role, StageError, imagine, input, required_input};
use crate::bitmap::Bitmap;
use crate::exchange::{self, Png};
use crate::store::Readable;

pub use difference::{Difference, LatentDifference};

/// Which pictures of a run to make again, and from what.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choice {
    /// Only those of this class.
    pub class: Option<u32>,
    /// Only this place of each class.
    pub index: Option<u64>,
    /// Samples the latents again, too, from the initial noise that seed, class and index name.
    pub from_noise: bool,
}

/// A picture made again.
pub struct Regenerated {
    /// The stored row that it belongs to.
    pub image: Image,
    /// The picture as decoded now from the stored latent.
    pub picture: Bitmap,
    /// How it compares with the stored one.
    pub difference: Difference,
    /// The stored picture's text: where it is from.
    pub text: Vec<(String, String)>,
    /// How the latent, sampled now, compares with the stored one; none where it was not sampled.
    pub latent: Option<LatentDifference>,
}

/// Makes pictures of an `imagine` run again, in batches, and hands each on.
///
/// # Errors
/// If the run is not a finished `imagine` run, its model is not at hand or not what it was, nothing is
/// chosen, or a latent is not the model's.
pub fn regenerate(
    ctx: &Context<'_>,
    id: RunId,
    choice: Choice,
    each: &mut dyn FnMut(Regenerated) -> Result<(), StageError>,
) -> Result<(), StageError> {
    input(ctx.store, "latents", id, &[imagine::NAME])?;
    let run = ctx.store.run(id)?;
    let params: imagine::Params = super::params(&run)?;
    // On another processor than the run's, f32 shows how close it comes.
    let near = Context {
        f32_stands_in: true,
        ..*ctx
    };
    (params.arithmetic()).within(&near, |ctx| again(ctx, (&run, &params), choice, each))
}

fn again(
    ctx: &Context<'_>,
    (run, params): (&Run, &imagine::Params),
    choice: Choice,
    each: &mut dyn FnMut(Regenerated) -> Result<(), StageError>,
) -> Result<(), StageError> {
    let id = run.id;
    let mut rows = rows::Pairs::new(ctx.store, id, choice.class, choice.index)?;
    if rows.is_empty() {
        return Err(StageError::Mismatch(format!(
            "run {id} has no latent of that class and index"
        )));
    }
    let classes: Vec<ClassEmbedding> = ctx.store.rows(required_input(run, &Role::Embeddings)?, None)?;
    let painter = Painter::load(ctx, run, params, &classes)?;
    ctx.progress.begin("regenerate", rows.len(), "images");
    let batch = if choice.from_noise {
        painter.sampling_batch()
    } else {
        painter.decoding_batch()
    };
    let mut vectors = Vectors::new(ctx.store, run, params, &classes);
    loop {
        ctx.check_interrupt()?;
        let pairs = rows.take(batch)?;
        if pairs.is_empty() {
            break;
        }
        let tensors = pairs
            .iter()
            .map(|(latent, _)| tensor(latent, painter.latent_shape(), ctx.engine.device()))
            .collect::<Result<Vec<_>, _>>()?;
        let stored = Tensor::cat(&tensors, 0)?;
        let pictures = painter.decode(&stored)?;
        let again = if choice.from_noise {
            let wanted = pairs
                .iter()
                .map(|(latent, _)| wanted(run, latent, &classes, &mut vectors))
                .collect::<Result<Vec<_>, _>>()?;
            Some(painter.sample(ctx, &wanted)?)
        } else {
            None
        };
        let made = pairs.len() as u64;
        for (i, ((_, image), picture)) in pairs.into_iter().zip(pictures).enumerate() {
            let latent = match &again {
                Some(again) => {
                    let numbers = |x: &Tensor| x.get(i)?.flatten_all()?.to_vec1::<f32>();
                    Some(LatentDifference::between(&numbers(&stored)?, &numbers(again)?))
                }
                None => None,
            };
            each(compare(image, picture, latent)?)?;
        }
        ctx.progress.advance(made);
    }
    ctx.progress.end();
    Ok(())
}

/// Compares a picture with the stored one.
fn compare(
    image: Image,
    picture: Bitmap,
    latent: Option<LatentDifference>,
) -> Result<Regenerated, StageError> {
    let Png { bitmap: old, text } = exchange::decode_png(&image.png)?;
    if (old.width, old.height) != (picture.width, picture.height) {
        return Err(StageError::Mismatch(format!(
            "the stored picture of {} {} is {}x{}, its latent decodes to {}x{}",
            image.class_name, image.index, old.width, old.height, picture.width, picture.height
        )));
    }
    Ok(Regenerated {
        difference: Difference::between(&old.rgb, &picture.rgb),
        text,
        image,
        picture,
        latent,
    })
}

/// Returns what the picture of a latent is made from.
fn wanted<'a>(
    run: &Run,
    latent: &Latent,
    classes: &'a [ClassEmbedding],
    vectors: &mut Vectors<'_>,
) -> Result<Wanted<'a>, StageError> {
    let class = classes.iter().find(|c| c.class_id == latent.class_id);
    let class = class.ok_or_else(|| {
        let (name, id) = (&latent.class_name, run.id);
        StageError::Mismatch(format!(
            "run {id} has a latent of the class `{name}`, which its embeddings do not have"
        ))
    })?;
    Ok(Wanted {
        class,
        index: latent.index,
        vector: vectors.of(class, latent.index)?,
    })
}

/// Returns the latent as a tensor `[1, channels, height, width]`.
fn tensor(latent: &Latent, expected: [usize; 3], device: &Device) -> Result<Tensor, StageError> {
    let (numbers, _) = latent.data.as_chunks::<4>();
    let numbers: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let fits = latent.shape.iter().copied().eq(expected.map(|n| n as i64));
    if !fits || latent.dtype != "f32" || latent.data.len() != 4 * expected.iter().product::<usize>() {
        return Err(StageError::Mismatch(format!(
            "the latent of {} {} is {} {:?} in {} bytes; the run's model decodes f32 {expected:?}",
            latent.class_name,
            latent.index,
            latent.dtype,
            latent.shape,
            latent.data.len(),
        )));
    }
    let [c, h, w] = expected;
    Ok(Tensor::from_vec(numbers, (1, c, h, w), device)?)
}
