//! What can be wrong with scores and logits.

use super::curve::Threshold;
use crate::error::{HasKind, Kind};

/// Why a score or a metric could not be computed.
#[expect(missing_docs, reason = "fields are named for what they hold")]
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OodError {
    /// A list that must hold something is empty.
    #[error("no {what}: give at least one")]
    Empty { what: &'static str },
    /// A list's length does not fit the number of classes or of other lists.
    #[error("{what} holds {actual} values, expected {expected}")]
    Length {
        what: &'static str,
        /// The expected length, in words.
        expected: String,
        actual: usize,
    },
    /// A value is NaN.
    #[error(
        "{what} number {index} is NaN; a model that returns NaN has diverged, so look at its training first"
    )]
    Nan {
        what: &'static str,
        /// Position of the first NaN.
        index: usize,
    },
    /// A parameter lies outside its range.
    #[error("{what} is {actual}, expected {expected}")]
    Range {
        what: &'static str,
        expected: &'static str,
        actual: f64,
    },
    /// A label names no class.
    #[error(
        "label {label} of sample {index} is out of range: there are {classes} classes, 0 to {}",
        classes - 1
    )]
    Label {
        index: usize,
        label: u32,
        classes: usize,
    },
}

/// Checks that `values` is neither empty nor holds a NaN.
pub(super) fn check<T: Threshold>(what: &'static str, values: &[T]) -> Result<(), OodError> {
    if values.is_empty() {
        return Err(OodError::Empty { what });
    }
    match values.iter().position(|v| v.is_nan()) {
        Some(index) => Err(OodError::Nan { what, index }),
        None => Ok(()),
    }
}

/// Checks `logits` as `[n, classes]` and returns n.
pub(super) fn check_logits(logits: &[f32], classes: usize) -> Result<usize, OodError> {
    check("logits", logits)?;
    if classes == 0 {
        return Err(OodError::Empty { what: "classes" });
    }
    if !logits.len().is_multiple_of(classes) {
        return Err(OodError::Length {
            what: "logits",
            expected: format!("a multiple of {classes} classes"),
            actual: logits.len(),
        });
    }
    Ok(logits.len() / classes)
}

impl HasKind for OodError {
    fn kind(&self) -> Kind {
        match self {
            Self::Empty { .. } | Self::Length { .. } | Self::Range { .. } | Self::Label { .. } => {
                Kind::Refused
            }
            Self::Nan { .. } => Kind::Diverged,
        }
    }
}
