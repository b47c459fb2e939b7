//! Diffusion models: a folder or one checkpoint file, and where it is elsewhere, the folder of the tokenizer.

use std::path::Path;

use dream_schema::Dataset;

use super::{Source, check_source_name};
use crate::diffusion::{DiffusionError, Outline, Pipeline, PipelineOptions};
use crate::engine::Engine;
use crate::stage::{Context, StageError};
use crate::stop::Stop;
use crate::store::Store;

/// The kind under which a diffusion model is registered, whatever its layout.
pub const MODEL_KIND: &str = "diffusers";

/// A registered diffusion model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSource(Dataset);

impl Source for ModelSource {
    const WHAT: &'static str = "a diffusion model (diffusers)";

    fn is_kind(kind: &str) -> bool {
        kind == MODEL_KIND
    }

    fn wrap(entry: Dataset) -> Self {
        Self(entry)
    }

    fn entry(&self) -> &Dataset {
        &self.0
    }
}

/// Registers the diffusion model at `path` (a folder, or one checkpoint file) under `name`; registering it
/// again is harmless. `tokenizer`: the folder of its tokenizer, if that is neither in the folder nor beside
/// the file.
///
/// # Errors
/// If its files cannot be read, or the name belongs to another model.
pub fn register_model(
    store: &Store,
    name: &str,
    path: &Path,
    tokenizer: Option<&Path>,
    stop: &Stop,
) -> Result<ModelSource, StageError> {
    let source = read_model(store, name, path, tokenizer, stop)?;
    store.put_dataset(source.entry())?;
    Ok(source)
}

/// Reads the diffusion model at `path` whole, as [`register_model`] does, and does not register it.
///
/// # Errors
/// If its files cannot be read, or it cannot have that name.
pub(in crate::stage) fn read_model(
    store: &Store,
    name: &str,
    path: &Path,
    tokenizer: Option<&Path>,
    stop: &Stop,
) -> Result<ModelSource, StageError> {
    check_source_name(store, name)?;
    let source = Dataset {
        name: name.to_owned(),
        kind: MODEL_KIND.to_owned(),
        // Loading it also says at once whether it is a model that `imagine` can use.
        digest: hex(&load(path, tokenizer, &Engine::default())?.digest()),
        path: path.display().to_string(),
        tokenizer: tokenizer.map(|folder| folder.display().to_string()),
        ..Dataset::default()
    };
    stop.check().map_err(StageError::access(path))?;
    Ok(ModelSource(source))
}

impl ModelSource {
    /// Returns the model at `path` for checks before it is registered: it has no digest.
    pub fn glance(name: &str, path: &Path) -> Self {
        Self(Dataset {
            name: name.to_owned(),
            kind: MODEL_KIND.to_owned(),
            path: path.display().to_string(),
            ..Dataset::default()
        })
    }

    /// Reads of the model what is not weights.
    ///
    /// # Errors
    /// If its files cannot be read.
    pub fn outline(&self) -> Result<Outline, StageError> {
        Ok(Outline::read(Path::new(self.path()), self.tokenizer())?)
    }

    /// Loads the model onto the context's device.
    ///
    /// # Errors
    /// If its files cannot be read or have changed.
    pub fn load_pipeline(&self, ctx: &Context<'_>) -> Result<Pipeline, StageError> {
        let pipeline = load(Path::new(self.path()), self.tokenizer(), ctx.engine)?;
        self.check_digest(hex(&pipeline.digest()))?;
        Ok(pipeline)
    }

    /// The folder of the tokenizer, where it was named.
    fn tokenizer(&self) -> Option<&Path> {
        self.0.tokenizer.as_deref().map(Path::new)
    }
}

fn load(path: &Path, tokenizer: Option<&Path>, engine: &Engine) -> Result<Pipeline, DiffusionError> {
    let options = PipelineOptions {
        engine: engine.clone(),
        tokenizer,
    };
    Pipeline::open(path, &options)
}

fn hex(digest: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*digest).to_hex().to_string()
}
