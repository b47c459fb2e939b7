//! Weights of a network, in a file of PyTorch's or of safetensors.

use std::path::Path;

use candle_core::Device;
use dream_schema::Dataset;

use super::{Source, check_source_name};
use crate::nn::{self, State};
use crate::stage::StageError;
use crate::store::Store;

/// The kind under which the weights of a network are registered.
pub const STATE_KIND: &str = "state-dict";

/// Registered weights of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct StateSource(Dataset);

impl Source for StateSource {
    const WHAT: &'static str = "the weights of a network (state-dict)";

    fn is_kind(kind: &str) -> bool {
        kind == STATE_KIND
    }

    fn wrap(entry: Dataset) -> Self {
        Self(entry)
    }

    fn entry(&self) -> &Dataset {
        &self.0
    }
}

/// Registers the weights in a file (see [`nn::read_state`]) under `name`, or without it under the file's name
/// and the head of its digest; registering them again is harmless.
///
/// # Errors
/// If the file holds no state, or the name belongs to another one.
pub fn register_state(store: &Store, name: Option<&str>, path: &Path) -> Result<StateSource, StageError> {
    if let Some(name) = name {
        check_source_name(store, name)?;
    }
    nn::read_state(path, &Device::Cpu)?;
    let digest = file_digest(path)?;
    let source = Dataset {
        name: name.map_or_else(|| own_name(path, &digest), str::to_owned),
        kind: STATE_KIND.to_owned(),
        path: path.display().to_string(),
        digest,
        ..Dataset::default()
    };
    store.put_dataset(&source)?;
    Ok(StateSource(source))
}

/// A name for weights that were given none: the file's, as far as names go, and the head of the digest.
fn own_name(path: &Path, digest: &str) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let plain: String = stem
        .chars()
        .map(|c| if allowed(c) { c } else { '-' })
        .take(48)
        .collect();
    format!("{}-{digest:.8}", plain.trim_start_matches('-'))
}

impl StateSource {
    /// Returns the weights at `path` for checks before they are registered: they have no digest.
    pub fn glance(path: &Path) -> Self {
        Self(Dataset {
            kind: STATE_KIND.to_owned(),
            path: path.display().to_string(),
            ..Dataset::default()
        })
    }

    /// Loads the weights, onto the CPU.
    ///
    /// # Errors
    /// If the file cannot be read or has changed.
    pub fn load(&self) -> Result<State, StageError> {
        let path = Path::new(self.path());
        self.check_digest(file_digest(path)?)?;
        Ok(nn::read_state(path, &Device::Cpu)?)
    }
}

/// BLAKE3 of a file's bytes, in hex.
fn file_digest(path: &Path) -> Result<String, StageError> {
    let mut hasher = blake3::Hasher::new();
    hasher
        .update_reader(std::fs::File::open(path).map_err(StageError::access(path))?)
        .map_err(StageError::access(path))?;
    Ok(hasher.finalize().to_hex().to_string())
}
