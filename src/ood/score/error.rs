//! Why a score has no value.

/// Why a score could not be fitted or computed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum ScoreError {
    /// A score needs what was not given.
    #[error("{what} are needed and were not given")]
    Missing { what: &'static str },
    /// A set without rows or columns.
    #[error("no {what}: give at least one")]
    Empty { what: &'static str },
    /// Sizes that do not fit each other.
    #[error("{what}: {actual}, expected {expected}")]
    Shape {
        what: &'static str,
        expected: String,
        actual: usize,
    },
    /// A NaN or an infinity.
    #[error(
        "{what}: row {row}, column {column} is {value}; look at the training or the import of this set first"
    )]
    NotFinite {
        what: &'static str,
        row: usize,
        column: usize,
        value: f32,
    },
    /// A label that is no class.
    #[error("label {label} of row {row} is out of range: there are {classes} classes")]
    Label { row: usize, label: u32, classes: usize },
    /// Fewer rows or columns than a hyperparameter asks for.
    #[error("{what}: {actual}, but {needed} are needed ({why})")]
    TooFew {
        what: &'static str,
        needed: usize,
        actual: usize,
        why: &'static str,
    },
    /// A hyperparameter outside its range.
    #[error("{name} is {actual}, expected {expected}")]
    Range {
        name: &'static str,
        expected: String,
        actual: f64,
    },
    /// A hyperparameter that the score does not have.
    #[error("{score} has no {name:?}; it has: {known}")]
    Unknown {
        score: &'static str,
        name: String,
        known: String,
    },
    /// Training rows that leave a score without meaning.
    #[error("{what}: {why}")]
    Degenerate { what: &'static str, why: &'static str },
    /// The eigenvalues of a matrix could not be computed.
    #[error("the decomposition of {what} did not converge: its numbers are too large or too small")]
    Decomposition { what: &'static str },
}
