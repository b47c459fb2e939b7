//! `embed`: reads the class embeddings T(y) off the text encoder's token table (DREAM-OOD, Sec. 3.1).
//!
//! The paper has one word of one token per class. [`Tokens`] says what to do with words that the tokenizer
//! cuts up.

use std::collections::BTreeSet;
use std::sync::Arc;

use dream_schema::{ClassEmbedding, Run, Table};
use serde::{Deserialize, Serialize};

use super::{
    Asked, Context, Input, Known, ModelSource, Order, Refusals, Role, Source, Stage, StageError, import,
};
use crate::diffusion::{Pipeline, TokenRule};
use crate::store::{Readable, Store};
use crate::words::words;

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

words! {
    /// What T(y) is for a word of several tokens. The row's `token_id` is the first token's in any case.
    #[derive(Default)]
    pub enum Tokens {
        /// An error: every word must be one token, as in the paper.
        #[default]
        One = "one",
        /// The row of its first token.
        First = "first",
        /// The mean of the rows of its tokens.
        Mean = "mean",
    }
}

impl Tokens {
    /// Says whether it is the default.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Which words are accepted.
    fn rule(self) -> TokenRule {
        match self {
            Self::One => TokenRule::One,
            Self::First | Self::Mean => TokenRule::All,
        }
    }

    /// Returns the first token of a word, and T(y).
    fn embed(self, pipeline: &Pipeline, word: &str) -> Result<(u32, Vec<f32>), StageError> {
        let span = pipeline.outline().tokenizer().span(word, self.rule())?;
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

/// The stages whose runs may hold class embeddings.
pub const STAGES: &[&str] = &[NAME, import::NAME];

/// Says whether a run, or one that is still to be made, is one of class embeddings.
///
/// # Errors
/// If the store fails, or does not have the run.
pub fn is_space(store: &Store, run: &Input) -> Result<bool, StageError> {
    let (stage, params) = match run {
        Input::Stored(run) => {
            let spec = store.run(*run)?.spec;
            (spec.stage, spec.params)
        }
        Input::Planned(known) => (known.stage.clone(), known.params.clone()),
    };
    let other = import::is_of_another(&stage, &params, Table::ClassEmbeddings);
    Ok(STAGES.contains(&stage.as_str()) && !other)
}

/// Returns what is known of the class embeddings that a question is to read, refusing another run.
pub(super) fn known<S: Stage>(
    store: &Store,
    asked: &Asked<S>,
    refusals: &mut Refusals,
) -> Result<Option<Arc<Known>>, StageError> {
    let role = Role::Embeddings;
    let known = asked.known(store, &role, STAGES, refusals)?;
    Ok(known.filter(|known| import::require(known, Table::ClassEmbeddings, &role, refusals)))
}

/// Class embeddings of a diffusion model.
#[derive(Clone, Debug)]
pub struct Embed;

/// Asks for the class embeddings of `model`.
pub fn ask(params: &Params, model: &ModelSource) -> Asked<Embed> {
    Asked::new(params, 0).from(Role::Model, model)
}

impl Stage for Embed {
    const NAME: &'static str = NAME;
    const VERSION: u32 = VERSION;
    type Params = Params;

    /// Refuses class lists with nothing in them or with a name twice, and words that are not the tokens asked
    /// for.
    fn check(store: &Store, asked: &mut Asked<Self>, refusals: &mut Refusals) -> Result<(), StageError> {
        let classes = &asked.params.classes;
        let mut seen = BTreeSet::new();
        for class in classes.iter().filter(|class| !seen.insert(&class.name)) {
            refusals.refuse("classes", format!("two classes are called `{}`", class.name));
        }
        if classes.is_empty() {
            refusals.refuse("classes", "there is no class to embed");
        }
        if asked.is_answered(store) {
            return Ok(());
        }
        let model = refusals
            .take(Role::Model, asked.source::<ModelSource>(&Role::Model))?
            .flatten();
        let outline = model
            .map(|model| refusals.take(Role::Model, model.outline()))
            .transpose()?;
        if let Some(outline) = outline.flatten() {
            for class in classes {
                let span = outline.tokenizer().span(&class.word, asked.params.tokens.rule());
                refusals.take("classes", span)?;
            }
        }
        Ok(())
    }

    fn execute(ctx: &Context<'_>, order: &Order<'_, Params>) -> Result<(), StageError> {
        execute(ctx, order.run, &order.params)
    }
}

fn execute(ctx: &Context<'_>, run: &Run, params: &Params) -> Result<(), StageError> {
    ctx.progress
        .begin("embed", params.classes.len() as u64, "classes");
    let model = ModelSource::find(ctx.store, run, &Role::Model)?;
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

/// Returns the class embeddings of a run, or of one that is still to be made what is known of them: all but
/// the vectors and the tokens.
pub(super) fn classes(store: &Store, known: &Known) -> Result<Vec<ClassEmbedding>, StageError> {
    if let Some(run) = known.run {
        return Ok(store.rows(run, None)?);
    }
    let params: Params = known.params()?;
    let model: ModelSource = known.source(store, &Role::Model)?;
    let class = |(class_id, class): (u32, ClassWord)| ClassEmbedding {
        class_id,
        class_name: class.name,
        index: 0,
        word: class.word,
        token_id: 0,
        model: model.digest().to_owned(),
        vector: Vec::new(),
        norm: 0.0,
    };
    Ok((0..).zip(params.classes).map(class).collect())
}

/// Checks that the model with which words were embedded is the one that will use them.
pub(super) fn check_model(rows: &[ClassEmbedding], digest: &str) -> Result<(), StageError> {
    // Of an import the model is not known.
    let other = |row: &&ClassEmbedding| !row.model.is_empty() && row.model != digest;
    let Some(row) = rows.iter().find(other) else {
        return Ok(());
    };
    let (name, model) = (&row.class_name, &row.model);
    Err(StageError::Mismatch(format!(
        "the embedding of class `{name}` comes from the model {model:.12}, the pictures would be made by \
        {digest:.12}: embed the \
         classes with this model first"
    )))
}

/// Tells where imported class embeddings are not those of the model: what they are of is not on record.
pub(super) fn say_if_foreign(ctx: &Context<'_>, rows: &[ClassEmbedding], pipeline: &Pipeline) {
    let is_foreign = |row: &&ClassEmbedding| {
        let span = pipeline
            .outline()
            .tokenizer()
            .span(&row.word, TokenRule::All)
            .ok();
        let token = span.and_then(|span| span.tokens().first().copied());
        let own = token.and_then(|token| pipeline.token_embedding(token).ok());
        own.is_none_or(|own| cosine(&own, &row.vector) < ALIKE)
    };
    let imported = || rows.iter().filter(|row| row.model.is_empty());
    let foreign: Vec<&str> = imported()
        .filter(is_foreign)
        .map(|row| row.class_name.as_str())
        .collect();
    if let Some(first) = foreign.first() {
        let (count, all) = (foreign.len(), imported().count());
        ctx.progress.note(&format!(
            "{count} of {all} imported class embeddings are not the model's own for their words, as of \
             `{first}`: they may be of another model"
        ));
    }
}

/// The cosine above which two embeddings are one, rounded.
const ALIKE: f64 = 0.99;

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot =
        |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Checks that the vectors are as wide as the model's.
pub(super) fn check_width(rows: &[ClassEmbedding], pipeline: &Pipeline) -> Result<(), StageError> {
    let width = pipeline.embedding_dim();
    let Some(row) = rows.iter().find(|row| row.vector.len() != width) else {
        return Ok(());
    };
    let (name, found) = (&row.class_name, row.vector.len());
    Err(StageError::Mismatch(format!(
        "the embedding of class `{name}` is {found} wide, those of the model are {width}: embed the classes \
        with this model first"
    )))
}
