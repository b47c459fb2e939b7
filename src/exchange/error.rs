//! What can go wrong on the way out of a store or into it.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use dream_schema::SchemaError;

use crate::content::Content;
use crate::error::{HasKind, Kind};

/// The error of whoever hands over the rows.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A file that could not be written or read.
#[expect(missing_docs, reason = "fields are named for what they hold")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The target is there already.
    #[error("{} is there already; name another one, or allow overwriting", path.display())]
    Exists { path: PathBuf },
    /// The folder of the target is not there.
    #[error("{}: there is no folder {}", path.display(), folder.display())]
    NoFolder { path: PathBuf, folder: PathBuf },
    /// A file is to take the place of a folder.
    #[error("{} is a folder, which a file does not replace", path.display())]
    IsFolder { path: PathBuf },
    /// The directory is to be replaced, and is not an export of ours.
    #[error(
        "{} is {reason}, so it is not an image export alone; remove it yourself, or name another one",
        path.display()
    )]
    NotAnExport { path: PathBuf, reason: String },
    /// A file is not what it should be.
    #[error("{}: {what}: expected {expected}, found {actual}", path.display())]
    Format {
        path: PathBuf,
        what: String,
        expected: String,
        actual: String,
    },
    /// A file is something else.
    #[error("{}: it is {content}; expected {expected}", path.display())]
    Other {
        path: PathBuf,
        /// What it is by its first bytes.
        content: Content,
        expected: &'static str,
    },
    /// A file of arrays, none of which is meant for certain.
    #[error(
        "{}: {what}: {}",
        path.display(),
        if members.is_empty() { "the file has none".to_owned() } else { members.join(", ") }
    )]
    Members {
        path: PathBuf,
        what: &'static str,
        /// Its arrays in words.
        members: Vec<String>,
    },
    /// An array or a column that is there and is not what its name says.
    #[error("{}: {reason}", path.display())]
    Unfit { path: PathBuf, reason: String },
    /// A column that this kind of file cannot hold.
    #[error("the column `{column}` holds {actual}, which {format} cannot hold; {hint}")]
    Unsupported {
        column: String,
        actual: String,
        format: &'static str,
        hint: &'static str,
    },
    /// The rows do not fit the layout that was asked for.
    #[error("{what}; {hint}")]
    Layout {
        /// What is in the way.
        what: String,
        hint: &'static str,
    },
    /// A picture could not be encoded or decoded.
    #[error("PNG: {what}")]
    Png { what: String },
    /// The rows could not be had.
    #[error("{0}")]
    Source(#[source] BoxError),
    /// The rows are not those of their table.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// Arrow refused.
    #[error("Arrow: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// The Parquet library refused.
    #[error("{}: {source}", path.display())]
    Parquet {
        path: PathBuf,
        #[source]
        source: parquet::errors::ParquetError,
    },
}

impl ExchangeError {
    /// Returns what turns an error of the file system at `path` into ours.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<'_> {
        move |source| {
            let path = path.to_owned();
            Self::Io { path, source }
        }
    }

    /// Returns the error for a file at `path` whose `what` is wrong.
    pub(crate) fn format(
        path: &Path,
        what: impl Into<String>,
        expected: impl Into<String>,
        actual: impl Into<String>,
    ) -> Self {
        Self::Format {
            path: path.to_owned(),
            what: what.into(),
            expected: expected.into(),
            actual: actual.into(),
        }
    }

    /// Returns the error for a sound file at `path` that holds something else than is wanted in `what`.
    pub(crate) fn unfit(
        path: &Path,
        what: impl Into<String>,
        expected: impl Into<String>,
        actual: impl Into<String>,
    ) -> Self {
        Self::format(path, what, expected, actual).refused()
    }

    /// Returns what is said of a damaged file as what is said of a sound one that does not fit.
    pub(crate) fn refused(self) -> Self {
        match self {
            Self::Format {
                path,
                what,
                expected,
                actual,
            } => {
                let reason = format!("{what}: expected {expected}, found {actual}");
                Self::Unfit { path, reason }
            }
            other => other,
        }
    }

    /// Returns what turns an error of the Parquet library into ours.
    pub(crate) fn parquet(path: &Path) -> impl FnOnce(parquet::errors::ParquetError) -> Self + use<'_> {
        move |source| {
            let path = path.to_owned();
            Self::Parquet { path, source }
        }
    }
}

impl HasKind for ExchangeError {
    fn kind(&self) -> Kind {
        match self {
            Self::Io { source, .. } => HasKind::kind(source),
            Self::Exists { .. } | Self::NotAnExport { .. } | Self::IsFolder { .. } => Kind::Exists,
            Self::NoFolder { .. } => Kind::Missing,
            Self::Other { content, .. } if content.stands_in() => Kind::Missing,
            Self::Other { .. } => Kind::Unsupported,
            Self::Members { .. } | Self::Unfit { .. } => Kind::Refused,
            Self::Format { .. } | Self::Png { .. } | Self::Parquet { .. } => Kind::Corrupt,
            Self::Unsupported { .. } | Self::Layout { .. } => Kind::Refused,
            Self::Source(error) => Kind::of_box(error.as_ref()),
            // Rows that someone brings: the file is sound, and not what was asked for.
            Self::Schema(error) if error.kind() == Kind::Corrupt => Kind::Refused,
            Self::Schema(error) => error.kind(),
            Self::Arrow(error) => error.kind(),
        }
    }
}
