//! `embed`: reads the class embeddings T(y) off the text encoder's token table (DREAM-OOD, Sec. 3.1).

use std::collections::{BTreeMap, BTreeSet};

use dream_schema::{ClassEmbedding, Run, RunSpec};
use serde::{Deserialize, Serialize};

use super::{Context, Source, StageError, params, source};
use crate::diffusion::Pipeline;

/// Name of the stage.
pub const NAME: &str = "embed";
/// Version of its algorithm.
pub const VERSION: u32 = 1;

/// Which classes, by which words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The classes in the order of their labels.
    pub classes: Vec<ClassWord>,
}

/// A class and the one token that stands for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassWord {
    /// Name of the class.
    pub name: String,
    /// The word; one token of the tokenizer.
    pub word: String,
}

/// Returns the specification of the class embeddings of `model`.
///
/// # Errors
/// If there is no class, or two have the same name.
pub fn spec(params: &Params, model: &Source) -> Result<RunSpec, StageError> {
    let mut seen = BTreeSet::new();
    let repeated = params.classes.iter().find(|c| !seen.insert(&c.name));
    if let Some(class) = repeated {
        return Err(StageError::Mismatch(format!(
            "two classes are called `{}`",
            class.name
        )));
    }
    if params.classes.is_empty() {
        return Err(StageError::Mismatch("there is no class to embed".into()));
    }
    Ok(RunSpec {
        stage: NAME.into(),
        stage_version: VERSION,
        params: serde_json::json!(params),
        seed: 0,
        inputs: Vec::new(),
        sources: BTreeMap::from([source::role("model", model)]),
    })
}

/// Executes the run.
///
/// # Errors
/// If the model cannot be read, or a class word is not exactly one token.
pub fn execute(ctx: &Context<'_>, run: &Run) -> Result<(), StageError> {
    let params: Params = params(run)?;
    ctx.progress
        .begin("embed", params.classes.len() as u64, "classes");
    let model = Source::find(ctx.store, run, "model")?;
    let pipeline = model.load_pipeline(ctx)?;
    let row = |(class_id, class): (usize, &ClassWord)| -> Result<ClassEmbedding, StageError> {
        let token_id = pipeline.tokenizer().single_token(&class.word)?;
        let vector = pipeline.token_embedding(token_id)?;
        ctx.progress.advance(1);
        Ok(ClassEmbedding {
            class_id: class_id as u32,
            class_name: class.name.clone(),
            index: 0,
            word: class.word.clone(),
            token_id: i64::from(token_id),
            model: model.digest().to_owned(),
            norm: norm(&vector),
            vector,
        })
    };
    let rows = params
        .classes
        .iter()
        .enumerate()
        .map(row)
        .collect::<Result<Vec<_>, _>>()?;
    ctx.store.put(run.id, &rows)?;
    Ok(())
}

/// Returns the Euclidean length of a vector, summed in f64.
pub(super) fn norm(vector: &[f32]) -> f32 {
    vector
        .iter()
        .map(|v| f64::from(*v) * f64::from(*v))
        .sum::<f64>()
        .sqrt() as f32
}

/// Checks that the model with which a word was embedded is the one that will use it.
pub(super) fn check_model(
    rows: &[ClassEmbedding],
    pipeline: &Pipeline,
    digest: &str,
) -> Result<(), StageError> {
    let Some(row) = rows
        .iter()
        .find(|r| r.model != digest || r.vector.len() != pipeline.embedding_dim())
    else {
        return Ok(());
    };
    Err(StageError::Mismatch(format!(
        "the embedding of class `{}` ({} wide) comes from the model {:.12}, the pictures would be made by {:.12} ({} wide): \
         embed the classes with this model first",
        row.class_name,
        row.vector.len(),
        row.model,
        digest,
        pipeline.embedding_dim()
    )))
}
