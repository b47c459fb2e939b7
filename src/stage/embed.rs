//! `embed`: reads the class embeddings T(y) off the text encoder's token table (DREAM-OOD, Sec. 3.1).
//!
//! The paper has one word of one token a class. [`Tokens`] says what to do with words that the tokenizer cuts up.

use std::collections::{BTreeMap, BTreeSet};

use dream_schema::{ClassEmbedding, Run, RunSpec};
use serde::{Deserialize, Serialize};

use super::{Context, Source, StageError, params, source};
use crate::diffusion::{Pipeline, TokenRule};

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
    /// What T(y) is for a word of several tokens.
    #[serde(default, skip_serializing_if = "Tokens::is_default")]
    pub tokens: Tokens,
}

/// What T(y) is for a word of several tokens. The row's `token_id` is the first token's in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tokens {
    /// An error: every word must be one token, as in the paper.
    #[default]
    One,
    /// The row of its first token.
    First,
    /// The mean of the rows of its tokens.
    Mean,
}

impl Tokens {
    /// Whether it is what holds where nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the first token of a word, and T(y).
    fn embed(self, pipeline: &Pipeline, word: &str) -> Result<(u32, Vec<f32>), StageError> {
        let rule = match self {
            Self::One => TokenRule::One,
            Self::First | Self::Mean => TokenRule::All,
        };
        let span = pipeline.outline().tokenizer().span(word, rule)?;
        let rows = span.tokens().iter().map(|token| pipeline.token_embedding(*token));
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        let first = span.tokens().first().copied().unwrap_or_default(); // a span has a token
        let vector = match self {
            Self::One | Self::First => rows.into_iter().next().unwrap_or_default(),
            Self::Mean => mean(&rows),
        };
        Ok((first, vector))
    }
}

/// The mean of vectors of one width, summed in f64.
fn mean(rows: &[Vec<f32>]) -> Vec<f32> {
    let width = rows.first().map_or(0, Vec::len);
    let sum = |i: usize| {
        rows.iter()
            .filter_map(|row| row.get(i))
            .map(|v| f64::from(*v))
            .sum::<f64>()
    };
    (0..width).map(|i| (sum(i) / rows.len() as f64) as f32).collect()
}

/// A class and the word that stands for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassWord {
    /// Name of the class.
    pub name: String,
    /// The word; one token of the tokenizer, unless [`Params::tokens`] says what to do with several.
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
/// If the model cannot be read, or a class word is not exactly one token and [`Params::tokens`] does not allow for that.
pub fn execute(ctx: &Context<'_>, run: &Run) -> Result<(), StageError> {
    let params: Params = params(run)?;
    ctx.progress
        .begin("embed", params.classes.len() as u64, "classes");
    let model = Source::find(ctx.store, run, "model")?;
    let pipeline = model.load_pipeline(ctx)?;
    let row = |(class_id, class): (usize, &ClassWord)| -> Result<ClassEmbedding, StageError> {
        let (token_id, vector) = params.tokens.embed(&pipeline, &class.word)?;
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
