//! What is refused before pictures are made.

use std::collections::BTreeMap;

use dream_schema::{ClassEmbedding, Table};

use super::params::{Params, ResizeBy, Size, Synthesis};
use super::{CLASS_PLACEHOLDER, vectors};
use crate::diffusion::{Outline, TokenRule, Workload};
use crate::engine::{Policy, Processor};
use crate::stage::{Input, Known, ModelSource, Refusals, Role, StageError, sample};
use crate::store::{Projection, Readable, Store};

pub(super) fn refuse_synthesis(outliers: &Known, refusals: &mut Refusals) {
    let run = outliers
        .run
        .map_or("the outliers' run".to_owned(), |run| format!("run {run}"));
    let instead = match outliers.input(&Role::Embeddings) {
        Some(Input::Stored(run)) => format!(": give its embeddings {run} instead"),
        Some(Input::Planned(_)) | None => String::new(),
    };
    let stage = &outliers.stage;
    let found =
        format!("a synthesis starts from class embeddings, but {run} is of the stage `{stage}`{instead}");
    refusals.refuse("synthesis", found);
}

/// Refuses what could otherwise fail days later, when its class is reached.
pub(super) fn check_prompts(
    params: &Params,
    classes: &[ClassEmbedding],
    model: &Outline,
    refusals: &mut Refusals,
) -> Result<(), StageError> {
    refusals.take("steps", model.evaluations(params.sampling()))?;
    for class in params.chosen(classes) {
        let Some(span) = refusals.take("tokens", model.tokenizer().span(&class.word, params.tokens))? else {
            break;
        };
        if refusals
            .take("prompt", model.placing(&params.prompt_of(class), &span))?
            .is_none()
        {
            break;
        }
    }
    let words = match &params.synthesis {
        Some(Synthesis::Disjoint { words }) => words.as_slice(),
        Some(Synthesis::Noise { .. } | Synthesis::Interpolation { .. } | Synthesis::EncoderNoise { .. })
        | None => &[],
    };
    for word in words {
        let span = model.tokenizer().span(word, TokenRule::All);
        let Some(span) = refusals.take("synthesis", span)? else {
            break;
        };
        let prompt = params.prompt.replace(CLASS_PLACEHOLDER, word);
        if refusals.take("prompt", model.placing(&prompt, &span))?.is_none() {
            break;
        }
    }
    Ok(())
}

/// Refuses pictures that do not fit into memory, one at a time, or as many as are to be made at once, and
/// more of them than fit on the disk, beside those that are there.
pub(super) fn check_room(
    params: &Params,
    pictures: u64,
    there: u64,
    model: &Outline,
    refusals: &mut Refusals,
) -> Result<(), StageError> {
    let geometry = model.geometry();
    let [height, width] = geometry.image_size();
    let size = params.size.unwrap_or(Size { width, height });
    let Some(latent) = refusals.take("size", geometry.latent_size(size.width, size.height))? else {
        return Ok(());
    };
    let work = Workload {
        latent,
        guided: params.guidance_scale > 1.0,
        // One at a time, without the scores of attention: what is needed at the least.
        policy: Policy::host(1),
    };
    if let Some(Processor::Cuda) = refusals.room().processor {
        let policy = Policy::of(Processor::Cuda, params.arithmetic().precision, 0);
        let (width, height) = (size.width, size.height);
        let found = format!("{width}x{height}: a tensor would have more numbers than a GPU can count");
        let most = geometry.most(Workload { policy, ..work });
        refusals.require(most > 0, "size", found, "smaller pictures, or the precision f16");
        let found = |batch| format!("{batch} pictures of {width}x{height}: a tensor would be too large");
        if let Some(batch) = params.batch.filter(|batch| *batch > most && most > 0) {
            refusals.require(false, "batch", found(batch), &format!("at most {most}"));
        }
    }
    if let (Some(Processor::Cpu), Some(own)) = (refusals.room().processor, params.batch) {
        let found = format!(
            "{own}: it is for GPUs, where results depend on it; here they do not, and it would make other \
             runs of the same pictures"
        );
        refusals.refuse("batch", found);
    }
    refusals.require_memory("size", geometry.bytes(1, work) as f64, "it");
    if let Some(batch) = refusals.room().pictures {
        let needed = geometry.bytes(pictures.min(batch as u64), work);
        refusals.require_memory("batch size", needed as f64, "it");
        if let Some(own) = params.batch.filter(|own| *own != batch) {
            let found =
                format!("{own}, which results depend on, but {batch} pictures are to be made at once");
            refusals.require(false, "batch", found, &format!("{batch}"));
        }
    }
    let [channels, ..] = geometry.latent_shape();
    let latents = 4 * channels * latent.iter().product::<usize>();
    let stored = params.resize.unwrap_or(size);
    // PNG seldom makes less than a quarter of a picture's bytes.
    let each = latents as f64 + 3.0 * (stored.width * stored.height) as f64 / 4.0;
    let needed = pictures.saturating_sub(there) as f64 * each;
    refusals.require_disk("per_class", needed, "it or size, or make the run in parts");
    Ok(())
}

/// Refuses too few outliers, or of another width: from the index of the store alone, or from what is asked
/// for.
pub(super) fn check_outliers(
    store: &Store,
    known: &Known,
    params: &Params,
    classes: &[ClassEmbedding],
    refusals: &mut Refusals,
) -> Result<(), StageError> {
    let Some(run) = known.run else {
        let count = known.params::<sample::Params>()?.count();
        let found = format!("{} pictures are wanted of {count} outliers", params.per_class);
        refusals.require(
            params.per_class <= count,
            "per_class",
            found,
            "as many at most as are sampled",
        );
        return Ok(());
    };
    let mut found: BTreeMap<u32, usize> = BTreeMap::new();
    for block in store.block_infos(Table::Outliers, Some(run), None, &Projection::Only(Vec::new()))? {
        *found.entry(block.part).or_default() += block.rows as usize;
    }
    for class in params.chosen(classes) {
        let found = found.get(&class.class_id).copied().unwrap_or(0);
        let enough = vectors::enough(run, class, found, params.per_class);
        if refusals.take("per_class", enough)?.is_none() {
            break;
        }
    }
    let width = classes.first().map_or(0, |c| c.vector.len());
    if let Some(found) = store.vector_width(Table::Outliers, run)?
        && found != width
    {
        let found = format!(
            "the outliers of run {run} are {found} wide, the class embeddings {width}: they were sampled \
            for another model"
        );
        refusals.refuse(Role::Outliers, found);
    }
    Ok(())
}

/// Checks sizes against the model's configuration, and leaves out those that change nothing, so that a
/// question has one id. Returns what it had to read of the model.
pub(super) fn resolve_sizes(params: &mut Params, model: &ModelSource) -> Result<Option<Outline>, StageError> {
    if params.size.is_none() && params.resize.is_none() {
        return Ok(None);
    }
    let outline = model.outline()?;
    let geometry = outline.geometry();
    let [height, width] = geometry.image_size();
    let own = Size { width, height };
    if let Some(size) = params.size {
        geometry.latent_size(size.width, size.height)?;
    }
    params.size = params.size.filter(|size| *size != own);
    let made = params.size.unwrap_or(own);
    // What is cut off to bytes is another picture than what is rounded, at one size too.
    let changes = |size: &Size| *size != made || params.resize_by == ResizeBy::Bilinear;
    params.resize = params.resize.filter(changes);
    Ok(Some(outline))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::params::tests::params;
    use super::*;
    use crate::stage::Room;

    #[test]
    fn a_gpu_is_not_asked_for_tensors_that_it_cannot_count() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let model = Outline::read(&root.join("tests/fixtures/diffusion/tiny"), None).unwrap();
        let said = |side, batch, processor| {
            let params = Params {
                size: Some(Size {
                    width: side,
                    height: side,
                }),
                batch,
                ..params()
            };
            let mut refusals = Refusals::of("imagine").within(Room {
                processor: Some(processor),
                ..Room::default()
            });
            check_room(&params, 1, 0, &model, &mut refusals).unwrap();
            let all = refusals.into_inner();
            all.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(said(64, Some(64), Processor::Cuda), "");
        let many = said(2048, Some(64), Processor::Cuda);
        assert!(
            many.contains("imagine: batch: 64 pictures") && many.contains("expected at most"),
            "{many}"
        );
        let most = many.rsplit(' ').next().unwrap().parse().unwrap();
        assert_eq!(said(2048, Some(most), Processor::Cuda), "");
        assert!(said(2048, Some(most + 1), Processor::Cuda).contains("batch"));
        let large = said(8192, Some(1), Processor::Cuda);
        assert!(
            large.contains("imagine: size: 8192x8192") && large.contains("f16"),
            "{large}"
        );
        assert_eq!(said(8192, None, Processor::Cpu), "");
        // Another run of the same pictures would be made.
        assert!(said(64, Some(4), Processor::Cpu).contains("imagine: batch: 4: it is for GPUs"));
    }
}
