//! Which model or weights a word means: a registered name, or a path.

use std::path::Path;

use super::AskError;
use crate::stage::pipeline::Reach;
use crate::stage::{
    MODEL_KIND, ModelSource, STATE_KIND, Source as _, StateSource, register_model, register_state,
};
use crate::stop::Stop;
use crate::store::{Readable, Store};
use crate::{dataset, diffusion, nn};

/// A source that a word means.
#[derive(Debug)]
pub struct Found<T> {
    /// The source.
    pub source: T,
    /// Whether it was not known before, and was registered under [`name_of`] its path.
    pub registered: bool,
}

/// Returns what a path is, where it is no image set: a diffusion model (or a part of one, for reading to say
/// so) or the weights of a network. A file counts by its first bytes: `checkpoint.pth.tar` is no archive.
pub fn guess_kind(path: &Path) -> Option<&'static str> {
    if path.join("model_index.json").is_file() || diffusion::is_part(path) {
        return Some(MODEL_KIND);
    }
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    if !path.is_file() {
        return None;
    }
    if ends(&[".ckpt"]) || diffusion::is_checkpoint(path) {
        return Some(MODEL_KIND);
    }
    let named = ends(&[".pt", ".pth", ".safetensors", ".pth.tar", ".pt.tar"]);
    (named || nn::StateFile::open(path).is_ok()).then_some(STATE_KIND)
}

/// Returns the name under which the model at a path is registered if none is given: its last part; of a
/// snapshot in Hugging Face's cache, that of its repository (`models--stabilityai--sd-turbo`).
pub fn name_of(path: &Path) -> String {
    let folders = path.parent().filter(|folder| folder.ends_with("snapshots"));
    if let Some(repository) = folders.and_then(Path::parent).and_then(Path::file_name) {
        let name = repository.to_string_lossy();
        return name.rsplit("--").next().unwrap_or(&name).to_owned();
    }
    let own = match path.is_dir() {
        true => path.file_name(),
        false => path.file_stem(),
    };
    own.unwrap_or_default().to_string_lossy().into_owned()
}

/// Returns the diffusion model of that registered name, or at that path. One that is at a path and not
/// registered yet is, where the reach goes so far. A name comes before a path.
///
/// # Errors
/// If there is neither, or it cannot be read or registered.
pub fn model(store: &Store, word: &str, reach: Reach) -> Result<Found<ModelSource>, AskError> {
    let known = |source| Found {
        source,
        registered: false,
    };
    let registered = store.datasets()?;
    if registered.iter().any(|d| d.name == word) || !Path::new(word).exists() {
        return Ok(known(ModelSource::named(store, word)?));
    }
    let path = canonical(word)?;
    let place = path.display().to_string();
    let here = registered
        .iter()
        .find(|d| d.kind == MODEL_KIND && d.path == place);
    if let Some(entry) = here {
        return Ok(known(ModelSource::named(store, &entry.name)?));
    }
    let own = name_of(&path);
    Ok(match reach {
        Reach::Recorded | Reach::Glance | Reach::Read => known(ModelSource::glance(&own, &path)),
        Reach::Register => Found {
            source: register_model(store, &own, &path, None, &Stop::default())?,
            registered: true,
        },
    })
}

/// Returns the weights of a network in that file, or of that registered name. A file is registered where the
/// reach goes so far.
///
/// # Errors
/// If there is neither, or the file cannot be read.
pub fn weights(store: &Store, word: &str, reach: Reach) -> Result<StateSource, AskError> {
    if !Path::new(word).is_file() {
        return Ok(StateSource::named(store, word)?);
    }
    let path = canonical(word)?;
    Ok(match reach {
        Reach::Recorded | Reach::Glance | Reach::Read => StateSource::glance(&path),
        Reach::Register => register_state(store, None, &path, &Stop::default())?,
    })
}

fn canonical(word: &str) -> Result<std::path::PathBuf, AskError> {
    let path = Path::new(word);
    dataset::place(path).map_err(|source| AskError::Path {
        path: path.to_owned(),
        source,
    })
}
