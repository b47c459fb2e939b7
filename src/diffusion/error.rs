//! What can go wrong while a model is read or run.

use std::io;
use std::path::{Path, PathBuf};

use super::PartKind;
use crate::content::Content;
use crate::error::{HasKind, Kind};

/// An error of the diffusion models: what, where, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields whose names say what they are")]
pub enum DiffusionError {
    /// A file of the model could not be read.
    #[error(
        "cannot read {}: {source}; a model is a folder in the diffusers layout, or one checkpoint file of \
         Stable Diffusion 1.x",
        path.display()
    )]
    Read {
        /// The file, or the first of the names that were tried.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// What is there is no model, but a part of one or something that goes with one.
    #[error(
        "{}: {kind}, so it is no whole checkpoint of Stable Diffusion 1.x; a model is one file with UNet, \
         VAE and text encoder, or a folder in the diffusers layout (with model_index.json)",
        path.display()
    )]
    Part { path: PathBuf, kind: PartKind },
    /// A file of weights that is something else.
    #[error("{}: it is {content}; expected weights", path.display())]
    Other {
        path: PathBuf,
        /// What it is by its first bytes.
        content: Content,
    },
    /// A JSON file of the model does not say what it must.
    #[error("{}: {message}", path.display())]
    Config { path: PathBuf, message: String },
    /// The model asks for something that this code does not do.
    #[error("{}: {key} = {found} is not supported; supported: {supported}", path.display())]
    Unsupported {
        /// The configuration file.
        path: PathBuf,
        /// The key in it.
        key: String,
        found: String,
        /// The values that would do.
        supported: &'static str,
    },
    /// A safetensors file is damaged or cut off.
    #[error("{} is not a whole safetensors file: {message}; fetch it again", path.display())]
    Safetensors {
        path: PathBuf,
        /// The parser's reason.
        message: String,
    },
    /// A file in PyTorch's own format cannot be read.
    #[error(
        "{} is no readable PyTorch file: {message}; fetch it again, or save it anew as safetensors",
        path.display()
    )]
    Pickle { path: PathBuf, message: String },
    /// A single checkpoint file, which has no tokenizer, and none lies beside it.
    #[error(
        "{} has no tokenizer in it, and there is none in {}: put `vocab.json` and `merges.txt` (or \
         `tokenizer.json`) of the model there, for example the folder `tokenizer` of any Stable Diffusion \
         1.x in the diffusers layout, or name their folder",
        path.display(),
        searched.display()
    )]
    NoTokenizer {
        path: PathBuf,
        /// Where it was looked for.
        searched: PathBuf,
    },
    /// There are tensors that the model as configured has no place for.
    #[error(
        "{}: {} tensors have no place in the model as its configuration describes it: {}; the \
         configuration belongs to another model, or this is no Stable Diffusion 1.x",
        path.display(),
        names.len(),
        few(names)
    )]
    UnexpectedTensors {
        /// The file, or the index of several.
        path: PathBuf,
        names: Vec<String>,
    },
    /// A tensor that the configuration calls for is not in the file.
    #[error("{}: tensor `{name}` is missing (expected shape {expected:?})", path.display())]
    MissingTensor {
        path: PathBuf,
        name: String,
        expected: Vec<usize>,
    },
    /// A tensor has another shape than the configuration calls for.
    #[error(
        "{}: tensor `{name}` has shape {found:?}, the configuration calls for {expected:?}",
        path.display()
    )]
    TensorShape {
        path: PathBuf,
        name: String,
        expected: Vec<usize>,
        found: Vec<usize>,
    },
    /// A tensor is stored in a type other than f32, f16 or bf16.
    #[error("{}: tensor `{name}` is stored as {found}; supported: F32, F16, BF16", path.display())]
    TensorType {
        path: PathBuf,
        name: String,
        found: String,
    },
    /// A weight is NaN or infinite.
    #[error(
        "{}: tensor `{name}` holds {value} at flat position {position}; the checkpoint is broken",
        path.display()
    )]
    NonFiniteWeight {
        path: PathBuf,
        name: String,
        /// Flat position of the first such number.
        position: usize,
        /// The number.
        value: f32,
    },
    /// A word is not exactly one token of the vocabulary.
    #[error(
        "`{word}` is {} tokens ({}), but must be exactly one; choose another word for the class, or say \
         what becomes of several",
        tokens.len(),
        tokens.join(" ")
    )]
    NotOneToken {
        word: String,
        /// The tokens it falls into.
        tokens: Vec<String>,
    },
    /// A word has no token at all, or is one of the tokenizer's marks.
    #[error("{word:?} is no word that can stand for a class: it has no token of its own")]
    NoToken { word: String },
    /// The tokenizer refused a text.
    #[error("the tokenizer failed on {text:?}: {message}")]
    Tokenize {
        /// The text.
        text: String,
        /// The tokenizer's reason.
        message: String,
    },
    /// The token or tokens whose embedding is to be replaced are not in the prompt.
    #[error(
        "token {tokens:?} ({text:?}) does not occur in the prompt {prompt:?} as the model sees it (at most \
         {length} tokens)"
    )]
    TokenNotInPrompt {
        /// The ids, one after another.
        tokens: Vec<u32>,
        /// Their text.
        text: String,
        prompt: String,
        /// The longest prompt in tokens, both ends included.
        length: usize,
    },
    /// A token id lies outside the vocabulary.
    #[error("token id {token} lies outside the token table of {vocabulary} rows")]
    TokenRange {
        /// The id.
        token: u32,
        /// Rows of the token table.
        vocabulary: usize,
    },
    /// An embedding has the wrong width.
    #[error("vector {index} has {found} components, the text encoder's embeddings have {expected}")]
    VectorWidth {
        /// Position of the vector in its batch.
        index: usize,
        /// Components of an embedding.
        expected: usize,
        /// Components found.
        found: usize,
    },
    /// An embedding holds NaN or an infinity.
    #[error("vector {index} holds {value} at component {component}")]
    NonFiniteVector {
        /// Position of the vector in its batch.
        index: usize,
        /// The first such component.
        component: usize,
        value: f32,
    },
    /// A tensor handed in has the wrong shape.
    #[error("{what} has shape {found:?}, expected {expected}")]
    Shape {
        /// Which tensor.
        what: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        found: Vec<usize>,
    },
    /// A sampling setting is out of range.
    #[error("{setting} = {found}: {expected}")]
    Setting {
        /// Which setting.
        setting: &'static str,
        found: String,
        /// What would do.
        expected: String,
    },
    /// The result is not finite.
    #[error("{what} became NaN or infinite; check the guidance scale and the vectors")]
    NonFiniteResult {
        /// Which result.
        what: &'static str,
    },
    /// The caller asked to stop.
    #[error("stopped by the caller after step {step} of {steps}")]
    Stopped {
        /// Steps done.
        step: usize,
        steps: usize,
    },
    /// candle failed (memory, device).
    #[error("tensor computation failed: {0}")]
    Compute(#[from] candle_core::Error),
}

/// The first names of a list.
fn few(names: &[String]) -> String {
    const SHOWN: usize = 4;
    let shown = names.iter().take(SHOWN).map(|n| format!("`{n}`"));
    let shown = shown.collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        format!("{shown}, ...")
    } else {
        shown
    }
}

impl DiffusionError {
    /// The error of the file at `path` that cannot be read.
    pub(crate) fn read(path: &Path) -> impl Fn(io::Error) -> Self + '_ {
        |source| Self::Read {
            path: path.to_path_buf(),
            source,
        }
    }
}

/// Result of this room.
pub type Result<T> = std::result::Result<T, DiffusionError>;

impl HasKind for DiffusionError {
    fn kind(&self) -> Kind {
        match self {
            Self::Read { source, .. } => HasKind::kind(source),
            Self::NoTokenizer { .. } => Kind::Missing,
            Self::Config { .. }
            | Self::Safetensors { .. }
            | Self::Pickle { .. }
            | Self::MissingTensor { .. }
            | Self::NonFiniteWeight { .. } => Kind::Corrupt,
            Self::Other { content, .. } if content.stands_in() => Kind::Missing,
            Self::Unsupported { .. }
            | Self::Part { .. }
            | Self::Other { .. }
            | Self::UnexpectedTensors { .. }
            | Self::TensorShape { .. }
            | Self::TensorType { .. } => Kind::Unsupported,
            Self::NotOneToken { .. }
            | Self::NoToken { .. }
            | Self::Tokenize { .. }
            | Self::TokenNotInPrompt { .. }
            | Self::TokenRange { .. }
            | Self::VectorWidth { .. }
            | Self::NonFiniteVector { .. }
            | Self::Setting { .. } => Kind::Refused,
            Self::Shape { .. } => Kind::Internal,
            Self::NonFiniteResult { .. } => Kind::Diverged,
            Self::Stopped { .. } => Kind::Interrupted,
            Self::Compute(error) => error.kind(),
        }
    }
}
