//! `imagine`: decodes outlier embeddings into pictures (DREAM-OOD, Eq. 6). The class word's embedding gives way to the outlier
//! vector, the text encoder runs, the latent diffusion model is sampled from seeded noise, and the VAE decodes.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use candle_core::Tensor;
use dream_schema::{ClassEmbedding, Image, Latent, Outlier, Run, RunId, RunSpec, Table};
use serde::{Deserialize, Serialize};

use super::{
    Context, Source, StageError, embed, import, input, input_run, params, required_input, sample, source,
};
use crate::diffusion::{self, Pipeline, Scheduler, TokenRule};
use crate::exchange;
use crate::store::Store;

/// Name of the stage.
pub const NAME: &str = "imagine";
/// Version of its algorithm.
pub const VERSION: u32 = 1;

/// The place in the prompt that the class word takes.
pub const CLASS_PLACEHOLDER: &str = "<class>";

/// How pictures are made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Pictures of each class; outliers are taken evenly from those sampled.
    pub per_class: usize,
    /// The prompt, with `<class>` where the class word goes.
    pub prompt: String,
    /// What follows the prompt for single classes, by class name (" bird" for kite), so that the object is the right one.
    pub suffixes: BTreeMap<String, String>,
    /// The way from noise to a picture.
    pub scheduler: SchedulerName,
    /// DDIM's eta: the share of DDPM's noise that each step adds; 0 for none.
    #[serde(default)]
    pub eta: f64,
    /// Steps; 50 in the paper.
    pub steps: usize,
    /// Classifier-free guidance; 7.5 in the paper.
    pub guidance_scale: f64,
    /// What becomes of the tokens of a class word of several.
    #[serde(default, skip_serializing_if = "TokenRule::is_default")]
    pub tokens: TokenRule,
}

/// The way from noise to a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SchedulerName {
    /// Pseudo linear multistep: PNDM without Runge-Kutta steps.
    Plms,
    /// Denoising diffusion implicit models.
    Ddim,
    /// DPM-Solver++ of second order, multistep.
    DpmSolver,
}

impl Params {
    fn sampling(&self) -> diffusion::Sampling {
        let scheduler = match self.scheduler {
            SchedulerName::Plms => Scheduler::Plms,
            SchedulerName::Ddim => Scheduler::Ddim { eta: self.eta },
            SchedulerName::DpmSolver => Scheduler::DpmSolver2M,
        };
        diffusion::Sampling {
            scheduler,
            steps: self.steps,
            guidance_scale: self.guidance_scale,
        }
    }
}

/// Returns the specification of pictures imagined from the run `vectors`: outliers of a `sample` run, or, of an `embed` run, the
/// plain class prompts for comparison.
///
/// # Errors
/// If `vectors` is no finished run of those stages, or the prompt has no place for the class word.
pub fn spec(
    store: &Store,
    params: &Params,
    seed: u64,
    vectors: RunId,
    model: &Source,
) -> Result<RunSpec, StageError> {
    if !params.prompt.contains(CLASS_PLACEHOLDER) {
        let prompt = &params.prompt;
        return Err(StageError::Mismatch(format!(
            "the prompt {prompt:?} has no {CLASS_PLACEHOLDER} for the class word"
        )));
    }
    let run = store.run(vectors)?;
    let inputs = if run.spec.stage == embed::NAME {
        vec![input(store, "embeddings", vectors, &[embed::NAME])?]
    } else {
        let outliers = input(store, "outliers", vectors, &[sample::NAME, import::NAME])?;
        vec![
            outliers,
            input(
                store,
                "embeddings",
                required_input(&run, "embeddings")?,
                &[embed::NAME],
            )?,
        ]
    };
    Ok(RunSpec {
        stage: NAME.into(),
        stage_version: VERSION,
        params: serde_json::json!(params),
        seed,
        inputs,
        sources: BTreeMap::from([source::role("model", model)]),
    })
}

/// A picture that is still to be made.
struct Wanted {
    index: u64,
    outlier: Option<Outlier>,
}

/// Executes the run; every batch is committed as it is done.
///
/// # Errors
/// If the model does not fit the embeddings, or a class has fewer outliers than pictures are wanted.
pub fn execute(ctx: &Context<'_>, run: &Run) -> Result<(), StageError> {
    let params: Params = params(run)?;
    let classes: Vec<ClassEmbedding> = ctx.store.rows(required_input(run, "embeddings")?, None)?;
    ctx.progress
        .begin("imagine", (classes.len() * params.per_class) as u64, "images");
    let model = Source::find(ctx.store, run, "model")?;
    let pipeline = model.load_pipeline(ctx)?;
    embed::check_model(&classes, &pipeline, model.digest())?;
    let unconditional = pipeline.encode("", None)?;
    for class in &classes {
        let wanted = missing(ctx, run, &params, class)?;
        ctx.progress.advance((params.per_class - wanted.len()) as u64);
        for batch in wanted.chunks(ctx.batch_size.max(1)) {
            imagine_batch(ctx, run, &params, &pipeline, &unconditional, class, batch)?;
            ctx.progress.advance(batch.len() as u64);
        }
    }
    Ok(())
}

/// Returns the pictures of a class that are not in the store, with their outliers.
fn missing(
    ctx: &Context<'_>,
    run: &Run,
    params: &Params,
    class: &ClassEmbedding,
) -> Result<Vec<Wanted>, StageError> {
    let done = ctx.store.indices(run.id, Table::Images, class.class_id)?;
    let todo = (0..params.per_class as u64).filter(|index| !done.contains(index));
    let Some(sampled) = input_run(run, "outliers") else {
        return Ok(todo.map(|index| Wanted { index, outlier: None }).collect());
    };
    let outliers: Vec<Outlier> = ctx.store.rows(sampled, Some(class.class_id))?;
    if outliers.len() < params.per_class {
        return Err(StageError::Mismatch(format!(
            "run {sampled} has {} outliers of the class `{}`, {} pictures are wanted; sample more rounds, or ask for fewer",
            outliers.len(),
            class.class_name,
            params.per_class
        )));
    }
    let evenly = |index: u64| index as usize * outliers.len() / params.per_class;
    Ok(todo
        .map(|index| Wanted {
            index,
            outlier: outliers.get(evenly(index)).cloned(),
        })
        .collect())
}

fn imagine_batch(
    ctx: &Context<'_>,
    run: &Run,
    params: &Params,
    pipeline: &Pipeline,
    unconditional: &Tensor,
    class: &ClassEmbedding,
    batch: &[Wanted],
) -> Result<(), StageError> {
    let prompt = prompt(params, class);
    let vector = |w: &'_ Wanted| {
        w.outlier
            .as_ref()
            .map_or(class.vector.clone(), |o| o.vector.clone())
    };
    let vectors: Vec<Vec<f32>> = batch.iter().map(vector).collect();
    let vectors: Vec<&[f32]> = vectors.iter().map(Vec::as_slice).collect();
    let span = pipeline.tokenizer().span(&class.word, params.tokens)?;
    let own = span.tokens().len() > 1 && batch.iter().all(|w| w.outlier.is_none());
    // [batch or 1, length, m]; the class vector of a word of several tokens would not give the plain prompt again.
    let conditional = if own {
        pipeline.encode(&prompt, None)?
    } else {
        pipeline.encode_batch(&prompt, &span, &vectors)?
    };
    let noise = |w: &Wanted| pipeline.initial_noise(run.spec.seed, class.class_id, w.index);
    let noise = Tensor::cat(&batch.iter().map(noise).collect::<Result<Vec<_>, _>>()?, 0)?;
    let mut on_step = |_step: usize| {
        if ctx.progress.cancelled() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let latents = pipeline.sample(
        params.sampling(),
        &conditional,
        unconditional,
        noise,
        &mut on_step,
    );
    ctx.check_interrupt()?;
    let latents = latents?;
    let pictures = pipeline.decode(&latents)?;
    let mut latent_rows = Vec::with_capacity(batch.len());
    let mut image_rows = Vec::with_capacity(batch.len());
    for (i, (wanted, picture)) in batch.iter().zip(pictures).enumerate() {
        let latent = latents.get(i)?;
        let outlier = wanted.outlier.as_ref().map(|o| o.index as i64);
        let (class_id, class_name, index) = (class.class_id, class.class_name.clone(), wanted.index);
        let png = provenance(run, class, wanted.index, outlier, &prompt, &picture)?;
        latent_rows.push(Latent {
            class_id,
            class_name: class_name.clone(),
            index,
            outlier,
            prompt: prompt.clone(),
            seed: run.spec.seed,
            dtype: "f32".into(),
            shape: latent.dims().iter().map(|d| *d as i64).collect(),
            data: latent
                .flatten_all()?
                .to_vec1::<f32>()?
                .iter()
                .flat_map(|v| v.to_le_bytes())
                .collect(),
        });
        image_rows.push(Image {
            class_id,
            class_name,
            index,
            outlier,
            width: picture.width as i32,
            height: picture.height as i32,
            blake3: blake3::hash(&png).to_hex().to_string(),
            png,
        });
    }
    ctx.store
        .batch(run.id)
        .add(&latent_rows)?
        .add(&image_rows)?
        .commit()?;
    Ok(())
}

/// Returns the prompt for a class.
fn prompt(params: &Params, class: &ClassEmbedding) -> String {
    let suffix = params.suffixes.get(&class.class_name).map_or("", String::as_str);
    params.prompt.replace(CLASS_PLACEHOLDER, &class.word) + suffix
}

/// Returns the picture as a PNG file that says where it is from.
fn provenance(
    run: &Run,
    class: &ClassEmbedding,
    index: u64,
    outlier: Option<i64>,
    prompt: &str,
    picture: &diffusion::Picture,
) -> Result<Vec<u8>, StageError> {
    let mut text = vec![
        ("dream-ood:run", run.id.to_string()),
        ("dream-ood:class", class.class_name.clone()),
        ("dream-ood:class_id", class.class_id.to_string()),
        ("dream-ood:index", index.to_string()),
        ("dream-ood:prompt", prompt.to_owned()),
    ];
    text.extend(outlier.map(|o| ("dream-ood:outlier", o.to_string())));
    let text: Vec<(&str, &str)> = text.iter().map(|(k, v)| (*k, v.as_str())).collect();
    Ok(exchange::encode_png(
        picture.width as u32,
        picture.height as u32,
        &picture.rgb,
        &text,
    )?)
}
