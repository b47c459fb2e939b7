//! Weights of a network, in a file of PyTorch's or of safetensors.

use std::path::Path;

use dream_schema::Dataset;

use super::{Source, check_source_name};
use crate::diffusion::PartKind;
use crate::file_digest::file_digest;
use crate::nn::{self, Misfit, ResNetConfig, State, StateFile};
use crate::stage::StageError;
use crate::stop::Stop;
use crate::store::Store;

/// The kind under which the weights of a network are registered.
pub const STATE_KIND: &str = "state-dict";

/// What weights are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::stage) enum UseOf {
    /// A training starts from them.
    Start {
        /// Whether it has a last layer of its own.
        new_head: bool,
    },
    /// They are a classifier.
    Classifier,
}

impl UseOf {
    fn new_head(self) -> bool {
        self == Self::Start { new_head: true }
    }
}

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

/// Registers the weights in a file (see [`StateFile`]) under `name`, or without it under the file's name
/// and the head of its digest; registering them again is harmless.
///
/// # Errors
/// If the file holds no tensors, or a part of a diffusion model, or the name belongs to another one.
pub fn register_state(
    store: &Store,
    name: Option<&str>,
    path: &Path,
    stop: &Stop,
) -> Result<StateSource, StageError> {
    if let Some(name) = name {
        check_source_name(store, name)?;
    }
    StateSource::glance(path).open()?;
    let digest = digest(path, &|| stop.is_asked())?;
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

    /// Opens the file, without reading numbers.
    ///
    /// # Errors
    /// If it cannot be read, or what it holds are no weights of a network.
    fn open(&self) -> Result<StateFile, StageError> {
        let file = StateFile::open(Path::new(self.path()))?;
        let names = file.names();
        let wrong = |message: String| StageError::File {
            path: self.path().into(),
            message,
        };
        match PartKind::of(names.iter().map(String::as_str)) {
            Some(kind) => Err(wrong(format!(
                "{kind}; weights to start from are those of a residual network"
            ))),
            None if !file.has_weights() => {
                let names = names.iter().take(8).cloned().collect::<Vec<_>>();
                Err(wrong(format!(
                    "no tensor of floating-point numbers in it is called a weight, as those of networks are; \
                     there are {}",
                    if names.is_empty() {
                        "none".to_owned()
                    } else {
                        names.join(", ")
                    }
                )))
            }
            None => Ok(file),
        }
    }

    /// Checks that the file holds the weights of this network, as far as names and shapes tell, and returns
    /// what is to be told of where they were found.
    ///
    /// # Errors
    /// If the file cannot be read, or the weights are others.
    pub(in crate::stage) fn check(
        &self,
        config: &ResNetConfig,
        use_of: UseOf,
    ) -> Result<Vec<String>, StageError> {
        self.open()?
            .fits(config, use_of.new_head())
            .map_err(|error| self.misfit(error, use_of))
    }

    /// Loads the weights of this network, onto the CPU; those of its last layer where they are used.
    ///
    /// # Errors
    /// If the file cannot be read or has changed, or the weights are others.
    pub(in crate::stage) fn load(&self, config: &ResNetConfig, use_of: UseOf) -> Result<State, StageError> {
        let path = Path::new(self.path());
        self.check_digest(digest(path, &|| false)?)?;
        let state = self.open()?.read(config, use_of.new_head());
        state.map_err(|error| self.misfit(error, use_of))
    }

    fn misfit(&self, error: nn::Error, use_of: UseOf) -> StageError {
        let nn::Error::Misfit(misfit) = error else {
            return error.into();
        };
        let hint = match (&misfit, use_of) {
            (Misfit::Head { .. } | Misfit::Layers { .. }, UseOf::Start { new_head: false }) => {
                "; training.new_head leaves the last layer out"
            }
            (Misfit::Head { found, .. }, UseOf::Classifier) if !found.is_empty() => {
                "; it has an output for each class of the set that is said to be in-distribution"
            }
            (Misfit::Head { .. }, UseOf::Classifier) => {
                "; what is observed is a whole classifier: a training that starts from these weights with \
                 training.new_head gives them a last layer"
            }
            (Misfit::Layers { .. }, UseOf::Classifier) => {
                "; activations that another program took of it can be imported"
            }
            (Misfit::Body { channels: None, .. }, UseOf::Start { .. }) => {
                "; training.depth, training.width, training.form and training.stem say which is wanted"
            }
            (Misfit::Body { channels: None, .. }, UseOf::Classifier) => {
                "; network.depth, network.width, network.form and network.stem say which is wanted"
            }
            _ => "",
        };
        let name = match self.name() {
            "" => String::new(),
            name => format!(" `{name}`"),
        };
        let words = format!("the weights{name} ({}): {misfit}{hint}", self.path());
        match hint.contains("new_head") {
            true => StageError::OtherHead(words),
            false => StageError::Mismatch(words),
        }
    }
}

/// BLAKE3 of a file, in hex.
pub(super) fn digest(path: &Path, stopped: &dyn Fn() -> bool) -> Result<String, StageError> {
    let digest = file_digest(path, stopped).map_err(StageError::access(path))?;
    Ok(digest.to_hex().to_string())
}
