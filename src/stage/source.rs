//! What a run reads from outside the store: image sets and diffusion models, registered by name and pinned by digest.

use std::path::Path;

use candle_core::Device;
use dream_schema::{Dataset, Run};

use super::{Context, StageError};
use crate::dataset::{self, ImageSet, Kind, Preparation};
use crate::diffusion::{DiffusionError, Geometry, Pipeline};
use crate::store::Store;

/// The kind under which a diffusion model is registered, whatever its layout.
pub const MODEL_KIND: &str = "diffusers";

/// Stands in a model's registered path between the model and the folder of its tokenizer, where that was named.
const TOKENIZER: &str = "?tokenizer=";

/// A registered image set or diffusion model.
#[derive(Clone, Debug, PartialEq)]
pub struct Source(Dataset);

/// Returns the entry of a specification's `sources`.
pub(super) fn role(role: &str, source: &Source) -> (String, String) {
    (role.to_owned(), source.digest().to_owned())
}

/// Registers the image set at `path` under `name`; registering it again is harmless.
///
/// # Errors
/// If it cannot be read, or the name belongs to a set with other pictures.
pub fn register_images(
    store: &Store,
    name: &str,
    path: &Path,
    kind: Option<Kind>,
) -> Result<Source, StageError> {
    let description = dataset::describe(path, kind)?;
    let source = Dataset {
        name: name.to_owned(),
        kind: description.kind.name().to_owned(),
        path: path.display().to_string(),
        digest: hex(&description.digest),
        splits: description
            .splits
            .iter()
            .map(|(split, n)| (split.clone(), *n as u64))
            .collect(),
        classes: description.classes,
    };
    store.put_dataset(&source)?;
    Ok(Source(source))
}

/// Registers the diffusion model at `path` (a folder, or one checkpoint file) under `name`; registering it again is harmless.
/// `tokenizer`: the folder of its tokenizer, if that is neither in the folder nor beside the file.
///
/// # Errors
/// If its files cannot be read, or the name belongs to another model.
pub fn register_model(
    store: &Store,
    name: &str,
    path: &Path,
    tokenizer: Option<&Path>,
) -> Result<Source, StageError> {
    let path = match tokenizer {
        Some(folder) => format!("{}{TOKENIZER}{}", path.display(), folder.display()),
        None => path.display().to_string(),
    };
    let source = Dataset {
        name: name.to_owned(),
        kind: MODEL_KIND.to_owned(),
        // Loading it also says at once whether it is a model that `imagine` can use.
        digest: hex(&load_model(&path, &Device::Cpu)?.digest()),
        path,
        splits: Default::default(),
        classes: Vec::new(),
    };
    store.put_dataset(&source)?;
    Ok(Source(source))
}

impl Source {
    /// Returns the source registered under `name`.
    ///
    /// # Errors
    /// If there is none.
    pub fn named(store: &Store, name: &str) -> Result<Self, StageError> {
        Ok(Self(store.dataset(name)?))
    }

    /// Returns the source that serves as `role` in a run.
    ///
    /// # Errors
    /// If the run names none, or no registered one has the digest.
    pub fn find(store: &Store, run: &Run, role: &'static str) -> Result<Self, StageError> {
        let stage = || run.spec.stage.clone();
        let digest = run
            .spec
            .sources
            .get(role)
            .ok_or_else(|| StageError::MissingInput { stage: stage(), role })?;
        Self::with_digest(store, role, digest)
    }

    /// Returns the source with that digest.
    ///
    /// # Errors
    /// If no registered one has it.
    pub fn with_digest(store: &Store, role: &str, digest: &str) -> Result<Self, StageError> {
        let unknown = || StageError::UnknownSource {
            role: role.to_owned(),
            digest: digest.to_owned(),
        };
        store
            .datasets()?
            .into_iter()
            .find(|d| d.digest == digest)
            .map(Self)
            .ok_or_else(unknown)
    }

    /// Returns its name in the store.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns its digest in hex.
    pub fn digest(&self) -> &str {
        &self.0.digest
    }

    /// Returns the names of its classes.
    pub fn classes(&self) -> &[String] {
        &self.0.classes
    }

    /// Returns the pictures of a split, prepared for the network.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn load_images(&self, split: &str, preparation: &Preparation) -> Result<ImageSet, StageError> {
        let kind = Kind::from_name(&self.0.kind);
        Ok(dataset::load(Path::new(&self.0.path), kind, split, preparation)?)
    }

    /// Checks that the pictures are still those that were registered.
    ///
    /// # Errors
    /// If they cannot be read or have changed.
    pub fn verify_images(&self) -> Result<(), StageError> {
        let actual = dataset::describe(Path::new(&self.0.path), Kind::from_name(&self.0.kind))?.digest;
        self.check(hex(&actual))
    }

    /// Returns the sizes of the diffusion model, from its configuration alone.
    ///
    /// # Errors
    /// If its files cannot be read.
    pub fn geometry(&self) -> Result<Geometry, StageError> {
        let (path, tokenizer) = model_paths(&self.0.path);
        Ok(Geometry::read(path, tokenizer)?)
    }

    /// Loads the diffusion model onto the context's device.
    ///
    /// # Errors
    /// If its files cannot be read or have changed.
    pub fn load_pipeline(&self, ctx: &Context<'_>) -> Result<Pipeline, StageError> {
        let pipeline = load_model(&self.0.path, ctx.device)?;
        self.check(hex(&pipeline.digest()))?;
        Ok(pipeline)
    }

    fn check(&self, actual: String) -> Result<(), StageError> {
        if actual == self.0.digest {
            return Ok(());
        }
        let Dataset {
            name, path, digest, ..
        } = self.0.clone();
        Err(StageError::SourceChanged {
            name,
            path,
            expected: digest,
            actual,
        })
    }
}

/// Loads a model from its registered path.
fn load_model(path: &str, device: &Device) -> Result<Pipeline, DiffusionError> {
    match model_paths(path) {
        (path, Some(tokenizer)) => Pipeline::load_with_tokenizer(path, tokenizer, device),
        (path, None) => Pipeline::load(path, device),
    }
}

/// The model and, if it was named, the folder of its tokenizer.
fn model_paths(path: &str) -> (&Path, Option<&Path>) {
    match path.rsplit_once(TOKENIZER) {
        Some((path, tokenizer)) => (Path::new(path), Some(Path::new(tokenizer))),
        None => (Path::new(path), None),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
