//! What a run reads from outside the store: image sets, diffusion models and weights, registered by name and pinned by digest.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Device;
use dream_schema::{Dataset, Run, SkippedImage};

use super::{Context, StageError};
use crate::dataset::{self, ClassFolder, Description, Images, Kind, Reading, Skipped};
use crate::diffusion::{DiffusionError, Outline, Pipeline, PipelineOptions};
use crate::engine::Engine;
use crate::nn::{self, State};
use crate::store::{Readable, Store};

/// The kind under which a diffusion model is registered, whatever its layout.
pub const MODEL_KIND: &str = "diffusers";

/// Stands in a model's registered path between the model and the folder of its tokenizer, where that was named.
const TOKENIZER: &str = "?tokenizer=";

/// The kind under which the weights of a network, a file of PyTorch's or safetensors, are registered.
pub const STATE_KIND: &str = "state-dict";

/// A registered image set, diffusion model or state dict.
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
    register_images_as(store, name, path, &Reading::of(kind))
}

/// As [`register_images`], but reads the set as `reading` says: of an image folder only some classes, or without the images that
/// cannot be decoded. The entry keeps how, and which images these are, so that every run reads the same.
///
/// # Errors
/// As [`register_images`].
pub fn register_images_as(
    store: &Store,
    name: &str,
    path: &Path,
    reading: &Reading,
) -> Result<Source, StageError> {
    let description = dataset::describe_as(path, reading)?;
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
        skipped: reading.skip_bad.then(|| skipped(&description)),
        class_folders: reading.classes.iter().map(|class| class.folder.clone()).collect(),
        classes: description.classes,
    };
    store.put_dataset(&source)?;
    Ok(Source(source))
}

fn skipped(description: &Description) -> BTreeMap<String, Vec<SkippedImage>> {
    let row = |bad: &Skipped| SkippedImage {
        index: bad.index as u64,
        name: bad.name.clone(),
        reason: bad.reason.clone(),
    };
    let splits = description.skipped.iter();
    splits
        .map(|(split, bad)| (split.clone(), bad.iter().map(row).collect()))
        .collect()
}

/// Registers the weights in a file (see [`nn::read_state`]) under `name`, or without it under the file's name and the head of
/// its digest; registering them again is harmless.
///
/// # Errors
/// If the file holds no state, or the name belongs to another one.
pub fn register_state(store: &Store, name: Option<&str>, path: &Path) -> Result<Source, StageError> {
    nn::read_state(path, &Device::Cpu)?;
    let digest = file_digest(path)?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let source = Dataset {
        name: name.map_or_else(|| format!("{stem}-{digest:.8}"), str::to_owned),
        kind: STATE_KIND.to_owned(),
        path: path.display().to_string(),
        digest,
        ..Dataset::default()
    };
    store.put_dataset(&source)?;
    Ok(Source(source))
}

/// BLAKE3 of a file's bytes, in hex.
fn file_digest(path: &Path) -> Result<String, StageError> {
    let failed = |error: std::io::Error| StageError::File {
        path: path.to_owned(),
        message: error.to_string(),
    };
    let mut hasher = blake3::Hasher::new();
    hasher
        .update_reader(std::fs::File::open(path).map_err(failed)?)
        .map_err(failed)?;
    Ok(hasher.finalize().to_hex().to_string())
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
        digest: hex(&load_model(&path, &Engine::default())?.digest()),
        path,
        ..Dataset::default()
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
        let same: Vec<Dataset> = store
            .datasets()?
            .into_iter()
            .filter(|d| d.digest == digest)
            .collect();
        // One that was moved, or that came with another machine's store, may be registered at another place too.
        let there = same.iter().find(|d| model_paths(&d.path).0.exists());
        there.or(same.first()).cloned().map(Self).ok_or_else(unknown)
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

    /// Returns the names of its splits.
    pub fn splits(&self) -> impl Iterator<Item = &str> {
        self.0.splits.keys().map(String::as_str)
    }

    /// Returns where it lies.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// Returns the images of a split that are left out because they cannot be decoded.
    pub fn left_out(&self, split: &str) -> &[SkippedImage] {
        let splits = self.0.skipped.as_ref();
        splits
            .and_then(|splits| splits.get(split))
            .map_or(&[], Vec::as_slice)
    }

    /// Returns words on the images of a split that are left out: how many, and the names of the first.
    pub fn say_left_out(&self, split: &str) -> String {
        let bad = self.left_out(split);
        let named = bad
            .iter()
            .take(5)
            .map(|b| b.name.as_str())
            .collect::<Vec<_>>()
            .join(", ");
        let more = if bad.len() > 5 { ", ..." } else { "" };
        let (count, name) = (bad.len(), self.name());
        format!(
            "{count} of the images of `{name}` in the split {split} cannot be decoded and are left out: {named}{more}"
        )
    }

    fn reading(&self) -> Reading {
        let pairs = self.0.class_folders.iter().zip(&self.0.classes);
        let class = |(folder, name): (&String, &String)| ClassFolder {
            folder: folder.clone(),
            name: name.clone(),
        };
        Reading {
            kind: Kind::from_name(&self.0.kind),
            classes: pairs.map(class).collect(),
            skip_bad: self.0.skipped.is_some(),
        }
    }

    /// Opens a split; its pictures are decoded when they are asked for.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open_images(&self, split: &str) -> Result<Images, StageError> {
        let skipped = self.left_out(split).iter().map(|bad| Skipped {
            index: bad.index as usize,
            name: bad.name.clone(),
            reason: bad.reason.clone(),
        });
        let skipped: Vec<Skipped> = skipped.collect();
        Ok(Images::open_as(
            Path::new(&self.0.path),
            &self.reading(),
            split,
            &skipped,
        )?)
    }

    /// Checks that the pictures are still those that were registered.
    ///
    /// # Errors
    /// If they cannot be read or have changed, or others than those on record cannot be decoded.
    pub fn verify_images(&self) -> Result<(), StageError> {
        let description = dataset::describe_as(Path::new(&self.0.path), &self.reading())?;
        self.check(hex(&description.digest))?;
        if let Some(recorded) = &self.0.skipped
            && *recorded != skipped(&description)
        {
            return Err(StageError::Mismatch(format!(
                "other images of `{}` cannot be decoded than when it was registered; register it again",
                self.0.name
            )));
        }
        Ok(())
    }

    /// Loads the weights, onto the CPU.
    ///
    /// # Errors
    /// If they are none, or the file cannot be read or has changed.
    pub fn load_state(&self) -> Result<State, StageError> {
        if self.0.kind != STATE_KIND {
            let (name, kind) = (&self.0.name, &self.0.kind);
            return Err(StageError::Mismatch(format!(
                "`{name}` is of kind {kind}, not {STATE_KIND}"
            )));
        }
        let path = Path::new(&self.0.path);
        self.check(file_digest(path)?)?;
        Ok(nn::read_state(path, &Device::Cpu)?)
    }

    /// Reads of the diffusion model what is not weights.
    ///
    /// # Errors
    /// If its files cannot be read.
    pub fn outline(&self) -> Result<Outline, StageError> {
        let (path, tokenizer) = model_paths(&self.0.path);
        Ok(Outline::read(path, tokenizer)?)
    }

    /// Loads the diffusion model onto the context's device.
    ///
    /// # Errors
    /// If its files cannot be read or have changed.
    pub fn load_pipeline(&self, ctx: &Context<'_>) -> Result<Pipeline, StageError> {
        let pipeline = load_model(&self.0.path, ctx.engine)?;
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
fn load_model(path: &str, engine: &Engine) -> Result<Pipeline, DiffusionError> {
    let (path, tokenizer) = model_paths(path);
    let options = PipelineOptions {
        engine: engine.clone(),
        tokenizer,
    };
    Pipeline::open(path, &options)
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
