//! What can go wrong in this room.

use crate::error::{HasKind, Kind};

/// An error of the neural-network room.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields whose names say what they are")]
pub enum Error {
    /// The operands of a convolution do not fit together.
    #[error(
        "convolution of {x:?} with weight {weight:?} (stride {stride}, padding {padding}, groups \
         {groups}): {reason}"
    )]
    Convolution {
        /// What does not fit.
        reason: &'static str,
        /// Shape of the picture.
        x: Vec<usize>,
        /// Shape of the weight.
        weight: Vec<usize>,
        stride: usize,
        /// Zero padding on every side.
        padding: usize,
        groups: usize,
    },
    /// A tensor of the wrong shape was passed.
    #[error("{what} has shape {actual:?}, expected {expected}")]
    Shape {
        /// The operand's role.
        what: &'static str,
        /// The shape that is needed, in words.
        expected: String,
        actual: Vec<usize>,
    },
    /// A setting outside its range.
    #[error("{field} = {value} is not allowed: {expected}")]
    Config {
        field: &'static str,
        value: String,
        /// What would be allowed.
        expected: &'static str,
    },
    /// A state to load lacks a tensor.
    #[error(
        "the state has no tensor {name:?} (expected shape {expected:?}); was it saved from the same network?"
    )]
    MissingTensor { name: String, expected: Vec<usize> },
    /// A state to load holds a tensor that nothing here takes.
    #[error("the state has a tensor {name:?} {actual:?} that this network does not have")]
    ExtraTensor { name: String, actual: Vec<usize> },
    /// A tensor of a state has another shape than the network's.
    #[error("tensor {name:?} of the state has shape {actual:?}, the network needs {expected:?}")]
    TensorShape {
        name: String,
        expected: Vec<usize>,
        actual: Vec<usize>,
    },
    /// A label or an index beyond its range.
    #[error("{what} number {index} is {value}, expected less than {limit}")]
    Range {
        /// What was indexed.
        what: &'static str,
        index: usize,
        value: usize,
        /// One more than the largest allowed.
        limit: usize,
    },
    /// A trainable tensor received no gradient: the loss does not depend on it.
    #[error("no gradient reached {name:?}: the loss does not depend on it")]
    NoGradient { name: String },
    /// Bytes that are not a safetensors file.
    #[error("not a readable safetensors file: {0}")]
    Safetensors(#[from] safetensors::SafeTensorError),
    /// A file that holds no state.
    #[error("{}: {reason}", path.display())]
    StateFile {
        path: std::path::PathBuf,
        reason: String,
    },
    /// The weights in a file are not those of the network.
    #[error(transparent)]
    Misfit(#[from] super::fit::Misfit),
    /// An error of the tensor library.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Tensor(error) => error,
            error => Self::wrap(error),
        }
    }
}

/// The result of this room's functions.
pub type Result<T> = std::result::Result<T, Error>;

impl HasKind for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Convolution { .. } | Self::Shape { .. } | Self::Range { .. } | Self::NoGradient { .. } => {
                Kind::Internal
            }
            Self::Config { .. }
            | Self::Misfit(_)
            | Self::MissingTensor { .. }
            | Self::ExtraTensor { .. }
            | Self::TensorShape { .. } => Kind::Refused,
            Self::Safetensors(_) | Self::StateFile { .. } => Kind::Corrupt,
            Self::Tensor(error) => error.kind(),
        }
    }
}
