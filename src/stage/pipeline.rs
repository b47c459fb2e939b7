//! The whole pipeline from one file: a preset names the data, the model and the parameters of every stage.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dream_schema::{Run, RunSpec};
use serde::{Deserialize, Serialize};

use super::classes::{ClassRow, read_classes};
use super::{
    Context, How, Source, StageError, detect, embed, encode, evaluate, imagine, register_images,
    register_model, run, sample,
};
use crate::dataset::Kind;
use crate::store::Store;

/// A preset file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// Its name, with which the aliases of its runs begin.
    pub name: String,
    /// The image sets.
    pub data: Data,
    /// The diffusion model.
    pub model: Named,
    /// What the class embedding is for a word of several tokens.
    #[serde(default, skip_serializing_if = "embed::Tokens::is_default")]
    pub class_tokens: embed::Tokens,
    /// Phase 1: the text-conditioned encoder.
    pub encode: encode::Params,
    /// Sampling.
    pub sample: sample::Params,
    /// Decoding; suffixes of the class table are added.
    pub imagine: imagine::Params,
    /// Pictures of the plain class prompt, a class, for comparison.
    pub plain_per_class: usize,
    /// The classifier; its loss on outliers is left out for the plain one.
    pub detect: detect::Params,
    /// Scores and metrics.
    pub evaluate: evaluate::Params,
    /// The folder that relative paths start from.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// The image sets of a preset.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// The in-distribution set.
    pub id: Named,
    /// Table of the classes: columns class_id, name, token_word and, if any, prompt_suffix.
    pub classes: PathBuf,
    /// The out-of-distribution test sets.
    pub ood: Vec<Named>,
}

/// Something registered in the store, or to be registered from a path.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// Its name in the store.
    pub name: String,
    /// Where it lies, from the preset's folder; without it, it must be registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// The reader; guessed where it is not named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// The runs of one pass through the pipeline.
#[derive(Clone, Debug)]
pub struct Runs {
    /// Class embeddings.
    pub embeddings: Run,
    /// Encoder and ID features.
    pub encoder: Run,
    /// Outlier embeddings.
    pub outliers: Run,
    /// Pictures imagined from them.
    pub imagined: Run,
    /// Pictures of the plain class prompts.
    pub plain_pictures: Run,
    /// Classifiers: plain, and trained with outliers.
    pub detectors: [Run; 2],
    /// Their evaluations, in the same order.
    pub evaluations: [Run; 2],
}

impl Preset {
    /// Reads a preset file.
    ///
    /// # Errors
    /// If it cannot be read, or is not a preset: the message says the line.
    pub fn read(path: &Path) -> Result<Self, StageError> {
        let wrong = |message: String| StageError::File {
            path: path.to_owned(),
            message,
        };
        let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
        let mut preset: Self = toml::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        preset.folder = path.parent().map(Path::to_owned).unwrap_or_default();
        let suffixes = preset.classes()?.into_iter().filter(|c| !c.suffix.is_empty());
        let mut all: BTreeMap<String, String> = suffixes.map(|c| (c.name, c.suffix)).collect();
        all.append(&mut preset.imagine.suffixes);
        preset.imagine.suffixes = all;
        Ok(preset)
    }

    /// Returns the class table.
    ///
    /// # Errors
    /// If it cannot be read or is no class table.
    pub fn classes(&self) -> Result<Vec<ClassRow>, StageError> {
        read_classes(&self.folder.join(&self.data.classes))
    }

    /// Returns the parameters of the class embeddings.
    ///
    /// # Errors
    /// If the class table cannot be read.
    pub fn embed(&self) -> Result<embed::Params, StageError> {
        let word = |c: ClassRow| embed::ClassWord {
            name: c.name,
            word: c.word,
        };
        Ok(embed::Params {
            classes: self.classes()?.into_iter().map(word).collect(),
            tokens: self.class_tokens,
        })
    }

    /// Returns the in-distribution set, registering it if the preset says where it lies.
    ///
    /// # Errors
    /// If it cannot be read, or is neither registered nor has a path.
    pub fn id_set(&self, store: &Store) -> Result<Source, StageError> {
        self.images(store, &self.data.id)
    }

    /// Returns the out-of-distribution sets, likewise.
    ///
    /// # Errors
    /// If one cannot be read, or is neither registered nor has a path.
    pub fn ood_sets(&self, store: &Store) -> Result<Vec<Source>, StageError> {
        self.data
            .ood
            .iter()
            .map(|named| self.images(store, named))
            .collect()
    }

    /// Returns the diffusion model, likewise.
    ///
    /// # Errors
    /// If it cannot be read, or is neither registered nor has a path.
    pub fn model(&self, store: &Store) -> Result<Source, StageError> {
        match self.path(&self.model)? {
            Some(path) => register_model(store, &self.model.name, &path, None),
            None => Source::named(store, &self.model.name),
        }
    }

    fn images(&self, store: &Store, named: &Named) -> Result<Source, StageError> {
        let kind = match &named.kind {
            Some(name) => Some(Kind::from_name(name).ok_or_else(|| {
                StageError::Mismatch(format!("{}: there is no reader of kind `{name}`", named.name))
            })?),
            None => None,
        };
        match self.path(named)? {
            Some(path) => register_images(store, &named.name, &path, kind),
            None => Source::named(store, &named.name),
        }
    }

    fn path(&self, named: &Named) -> Result<Option<PathBuf>, StageError> {
        let Some(path) = &named.path else { return Ok(None) };
        let path = self.folder.join(path);
        let absolute = path.canonicalize().map_err(|e| StageError::File {
            path,
            message: e.to_string(),
        })?;
        Ok(Some(absolute))
    }

    /// Runs every stage that is not in the store yet. `each` is told of every run as it is done, with the name of its part.
    ///
    /// # Errors
    /// Whatever a stage fails with; the runs before it stay.
    pub fn run(&self, ctx: &Context<'_>, seed: u64, each: Told<'_>) -> Result<Runs, StageError> {
        let store = ctx.store;
        let (id, model, ood) = (self.id_set(store)?, self.model(store)?, self.ood_sets(store)?);
        let mut step = |part: &str, spec: RunSpec| -> Result<Run, StageError> {
            let (run, how) = run(ctx, &spec)?;
            each(part, &run, how)?;
            Ok(run)
        };
        let embeddings = step("embed", embed::spec(&self.embed()?, &model)?)?;
        let encoder = step(
            "encode",
            encode::spec(store, &self.encode, seed, embeddings.id, &id)?,
        )?;
        let outliers = step("sample", sample::spec(store, &self.sample, seed, encoder.id)?)?;
        let imagined = step(
            "imagine",
            imagine::spec(store, &self.imagine, seed, outliers.id, &model)?,
        )?;
        let plain = imagine::Params {
            per_class: self.plain_per_class,
            ..self.imagine.clone()
        };
        let plain_pictures = step(
            "imagine-plain",
            imagine::spec(store, &plain, seed, embeddings.id, &model)?,
        )?;
        let without = detect::Params {
            outlier: None,
            ..self.detect.clone()
        };
        let detector = step(
            "detect-plain",
            detect::spec(store, &without, seed, detect::Inputs::default(), &id)?,
        )?;
        let fine_tunes = self
            .detect
            .outlier
            .as_ref()
            .is_some_and(|o| o.fine_tune.is_some());
        let from = detect::Inputs {
            outliers: Some(imagined.id),
            initial: fine_tunes.then_some(detector.id),
        };
        let detectors = [
            detector,
            step("detect", detect::spec(store, &self.detect, seed, from, &id)?)?,
        ];
        let mut evaluate = |part: &str, detector: &Run| {
            step(
                part,
                evaluate::spec(store, &self.evaluate, detector.id, &id, &ood)?,
            )
        };
        let evaluations = [
            evaluate("evaluate-plain", &detectors[0])?,
            evaluate("evaluate", &detectors[1])?,
        ];
        Ok(Runs {
            embeddings,
            encoder,
            outliers,
            imagined,
            plain_pictures,
            detectors,
            evaluations,
        })
    }
}

/// Told of a run that is done: its part of the pipeline, the run, and how it came about.
pub type Told<'a> = &'a mut dyn FnMut(&str, &Run, How) -> Result<(), StageError>;
