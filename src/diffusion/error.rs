//! What can go wrong while a model is read or run.

use std::path::PathBuf;

/// An error of the diffusion models: what, where, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiffusionError {
    /// A file of the model could not be read.
    #[error("cannot read {}: {source}; the model's folder needs the diffusers layout with safetensors", path.display())]
    Read {
        /// The file, or the first of the names that were tried.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A JSON file of the model does not say what it must.
    #[error("{}: {message}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The model asks for something that this code does not do.
    #[error("{}: {key} = {found} is not supported; supported: {supported}", path.display())]
    Unsupported {
        /// The configuration file.
        path: PathBuf,
        /// The key in it.
        key: String,
        /// The value found.
        found: String,
        /// The values that would do.
        supported: &'static str,
    },
    /// A safetensors file is damaged or cut off.
    #[error("{} is not a whole safetensors file: {message}; fetch it again", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// The parser's reason.
        message: String,
    },
    /// A tensor that the configuration calls for is not in the file.
    #[error("{}: tensor `{name}` is missing (expected shape {expected:?})", path.display())]
    MissingTensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// The shape that it should have.
        expected: Vec<usize>,
    },
    /// A tensor has another shape than the configuration calls for.
    #[error("{}: tensor `{name}` has shape {found:?}, the configuration calls for {expected:?}", path.display())]
    TensorShape {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// The shape called for.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A tensor is stored in a type other than f32, f16 or bf16.
    #[error("{}: tensor `{name}` is stored as {found}; supported: F32, F16, BF16", path.display())]
    TensorType {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// The type in the file.
        found: String,
    },
    /// A weight is NaN or infinite.
    #[error("{}: tensor `{name}` holds {value} at flat position {position}; the checkpoint is broken", path.display())]
    NonFiniteWeight {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// Flat position of the first such number.
        position: usize,
        /// The number.
        value: f32,
    },
    /// A word is not exactly one token of the vocabulary.
    #[error("`{word}` is {} tokens ({}), but a class word must be exactly one; choose another word for the class", tokens.len(), tokens.join(" "))]
    NotOneToken {
        /// The word.
        word: String,
        /// The tokens it falls into.
        tokens: Vec<String>,
    },
    /// The tokenizer refused a text.
    #[error("the tokenizer failed on {text:?}: {message}")]
    Tokenize {
        /// The text.
        text: String,
        /// The tokenizer's reason.
        message: String,
    },
    /// The token whose embedding is to be replaced is not in the prompt.
    #[error(
        "token {token} ({text:?}) does not occur in the prompt {prompt:?} as the model sees it (at most {length} tokens)"
    )]
    TokenNotInPrompt {
        /// The token's id.
        token: u32,
        /// The token's text.
        text: String,
        /// The prompt.
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
        /// Its value.
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
        /// The value found.
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
        /// Steps in all.
        steps: usize,
    },
    /// candle failed (memory, device).
    #[error("tensor computation failed: {0}")]
    Compute(#[from] candle_core::Error),
}

/// Result of this room.
pub type Result<T> = std::result::Result<T, DiffusionError>;
