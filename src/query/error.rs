//! What can go wrong with a question.

use dream_schema::{RunId, SchemaError};

use crate::error::{HasKind, Kind};
use crate::exchange::ExchangeError;
use crate::store::StoreError;

/// A question that cannot be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// There is no table of that name.
    #[error("there is no table `{table}`; the tables are {tables}")]
    UnknownTable {
        /// The name.
        table: String,
        /// The names that there are.
        tables: String,
    },
    /// There is no column of that name.
    #[error("there is no column `{column}`; the columns are {columns}")]
    UnknownColumn {
        /// The name.
        column: String,
        /// The names that there are.
        columns: String,
    },
    /// The table has no column that the question needs.
    #[error("the table {table} has no {what}; {hint}")]
    NotInTable {
        /// The table.
        table: String,
        /// What it lacks.
        what: &'static str,
        /// What to do.
        hint: String,
    },
    /// A vector has another width than those of a run.
    #[error(
        "the vectors of run {run} have width {actual}, the one asked for {expected}; \
         choose runs of that width"
    )]
    Width {
        /// The run.
        run: RunId,
        /// Width of the vector asked for.
        expected: usize,
        /// Width of the run's.
        actual: usize,
    },
    /// A vector that is near nothing.
    #[error("the vector asked for {what}, so nothing is near it")]
    Vector {
        /// What is wrong with it.
        what: &'static str,
    },
    /// SQL that would change something.
    #[error("SQL only reads here: {what} is not possible; ask with SELECT")]
    ReadOnly {
        /// What was asked for.
        what: String,
    },
    /// A condition without SQL in the program.
    #[error(
        "this program was built without SQL, so a condition cannot be evaluated; \
         build it with the feature `sql`"
    )]
    NoSql,
    /// The query engine refused.
    #[error("{message}")]
    Sql {
        /// Its words, in one line.
        message: String,
    },
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The rows are not those of their table.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The rows could not be written.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// Arrow refused.
    #[error("Arrow: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
}

/// The result of a question.
pub type Result<T> = std::result::Result<T, QueryError>;

impl HasKind for QueryError {
    fn kind(&self) -> Kind {
        match self {
            Self::UnknownTable { .. } | Self::UnknownColumn { .. } => Kind::Missing,
            Self::NotInTable { .. }
            | Self::Width { .. }
            | Self::Vector { .. }
            | Self::ReadOnly { .. }
            | Self::Sql { .. } => Kind::Refused,
            Self::NoSql => Kind::Unsupported,
            Self::Store(error) => error.kind(),
            Self::Schema(error) => error.kind(),
            Self::Exchange(error) => error.kind(),
            Self::Arrow(error) => error.kind(),
        }
    }
}
