//! What can be wrong with a class of features or with the parameters.

use crate::error::{HasKind, Kind};

/// Why outliers could not be sampled.
#[expect(missing_docs, reason = "fields are named for what they hold")]
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OutlierError {
    /// A class has no features.
    #[error("class {class} has no features; encode some first")]
    Empty { class: u32 },
    /// The feature buffer is not a whole number of rows.
    #[error("class {class} has {actual} feature values, not a multiple of the dimension {dimension}")]
    Shape {
        class: u32,
        dimension: usize,
        actual: usize,
    },
    /// A row holds a NaN or an infinity.
    #[error("feature {row} of class {class} is not finite; the encoder that made it has diverged")]
    NotFinite {
        class: u32,
        /// The first such row.
        row: usize,
    },
    /// A row is all zeros and has no direction.
    #[error("feature {row} of class {class} is the zero vector, which cannot be normalised")]
    Zero {
        class: u32,
        /// The first such row.
        row: usize,
    },
    /// All rows point the same way, so that every distance is zero.
    #[error(
        "all {n} features of class {class} are one and the same direction; there is no boundary to sample"
    )]
    Duplicates { class: u32, n: usize },
    /// More neighbours than features.
    #[error(
        "k = {k} neighbours, but class {class} has only {n} features; lower k to at most {n} or encode \
         more samples"
    )]
    TooFewForK { class: u32, n: usize, k: usize },
    /// A covariance that no Gaussian has.
    #[error("the covariance of the features is singular; add to its diagonal")]
    Singular,
    /// A larger boundary set than features.
    #[error(
        "select = {select} boundary features, but class {class} has only {n}; lower select to at most {n}"
    )]
    TooFewForSelect { class: u32, n: usize, select: usize },
    /// Fewer features cross the decision boundary than are wanted.
    #[error(
        "{crossed} features of class {class} cross the decision boundary within {max_steps} steps, {count} \
         are wanted; lower count, or raise max_steps or step"
    )]
    TooFewCross {
        class: u32,
        /// How many cross; features that the classifier gets wrong are not counted.
        crossed: usize,
        /// Steps that they have.
        max_steps: usize,
        count: usize,
    },
    /// More features are to cross the decision boundary than there are.
    #[error(
        "count = {count} features of class {class} are wanted, and it has {n}; lower count to at most {n}"
    )]
    TooFewForCount { class: u32, n: usize, count: usize },
    /// A parameter lies outside its range.
    #[error("{what} is {actual}, expected {expected}")]
    Parameter {
        what: &'static str,
        expected: String,
        actual: String,
    },
    /// The engine failed.
    #[error("class {class}: {reason}")]
    Engine {
        class: u32,
        reason: String,
        /// Whether its memory did not suffice.
        memory: bool,
    },
    /// The caller asked to stop.
    #[error("sampling of class {class} was stopped; what earlier classes gave is kept")]
    Cancelled { class: u32 },
}

impl OutlierError {
    /// The failure of an engine.
    pub(super) fn of_engine(class: u32, error: &candle_core::Error) -> Self {
        Self::Engine {
            class,
            reason: error.to_string(),
            memory: error.kind() == Kind::Resource,
        }
    }
}

/// Returns an error of `what` unless `good`.
pub(super) fn require(
    good: bool,
    what: &'static str,
    expected: impl Into<String>,
    actual: impl ToString,
) -> Result<(), OutlierError> {
    match good {
        true => Ok(()),
        false => Err(OutlierError::Parameter {
            what,
            expected: expected.into(),
            actual: actual.to_string(),
        }),
    }
}

/// Returns an error of the first of the named counts that is zero, or too large for a stored index.
pub(super) fn require_counts(counts: &[(&'static str, usize)]) -> Result<(), OutlierError> {
    counts.iter().try_for_each(|(what, value)| {
        let expected = format!("1 to {}", u32::MAX);
        require((1..=u32::MAX as usize).contains(value), what, expected, value)
    })
}

/// Returns an error of `what` unless the vector `embedding` has a direction.
pub(super) fn require_direction(what: &'static str, embedding: &[f32]) -> Result<(), OutlierError> {
    let usable = embedding.iter().all(|v| v.is_finite()) && embedding.iter().any(|v| *v != 0.0);
    require(usable, what, "finite and not zero", "something else")
}

impl HasKind for OutlierError {
    fn kind(&self) -> Kind {
        match self {
            Self::Empty { .. }
            | Self::Shape { .. }
            | Self::Zero { .. }
            | Self::Duplicates { .. }
            | Self::TooFewForK { .. }
            | Self::Singular
            | Self::TooFewForSelect { .. }
            | Self::TooFewForCount { .. }
            | Self::TooFewCross { .. }
            | Self::Parameter { .. } => Kind::Refused,
            Self::NotFinite { .. } => Kind::Diverged,
            Self::Engine { memory: true, .. } => Kind::Resource,
            Self::Engine { memory: false, .. } => Kind::Internal,
            Self::Cancelled { .. } => Kind::Interrupted,
        }
    }
}
