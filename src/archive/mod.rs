//! Finished runs as a data set of Parquet files in a folder or bucket: for programs that query what has
//! outgrown one file, and for stores that take the runs in again.
//!
//! ```text
//! table=outliers/run_id=ID/class=5/rows.parquet  the rows of a class; other tables have no class
//! table=runs/run_id=ID/rows.parquet              the run, as SQL shows it
//! _blobs/BLAKE3                                  the bytes that checkpoints name
//! _runs/ID.json                                  the run as a store keeps it, what it reads, its aliases
//! ```
//!
//! Names that begin with `_` are passed over by Spark, Hive and Hugging Face. The record in `_runs` comes
//! last: a run is there when its record is, and what an interrupted export has left is written over by the
//! next. A run that is there is not written again but for files that are missing and for aliases and notes
//! that have changed, so that an export can be repeated and grows by what is new. A data set goes on in the
//! layout in which it was begun (`layout.rs`).

#[cfg(any(test, feature = "cloud"))]
mod bucket;
#[cfg(feature = "cloud")]
mod cloud;
mod export;
mod import;
mod layout;
mod place;
#[cfg(test)]
mod tests;

use dream_schema::RunId;

use crate::error::{HasKind, Kind};
use crate::exchange::ExchangeError;
use crate::query::QueryError;
use crate::store::StoreError;

pub use export::{Exported, export};
pub use import::{Imported, import};
pub use place::{Cancelled, Local, Place, Write, open};

/// Runs that cannot go to a data set, or come from one.
#[expect(missing_docs, reason = "fields are named for what they hold")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// A place that this program cannot use.
    #[error("{place}: {reason}")]
    Place { place: String, reason: String },
    /// The address of a bucket, which this build cannot reach.
    #[error("{place}: this build knows folders; buckets are the cargo feature `cloud`, which it lacks")]
    NoCloud { place: String },
    /// A bucket that is not there.
    #[error("{place}: there is no such bucket ({reason})")]
    NoBucket { place: String, reason: String },
    /// A bucket that does not let us in.
    #[error("{place}: access is denied ({reason})")]
    Denied { place: String, reason: String },
    /// A bucket that does not answer, or fails.
    #[error("{place}: {reason}; every object that is there is whole, a run is there once all of it is")]
    Unreachable { place: String, reason: String },
    /// A record that is none, or of a newer program.
    #[error("{place}: {reason}")]
    Record { place: String, reason: String },
    /// No run of that name is there.
    #[error("{place}: there is no run {name} in it")]
    UnknownRun { place: String, name: String },
    /// Nothing is there.
    #[error("{place}: there are no runs in it: it is no data set that an export wrote")]
    Empty { place: String },
    /// There is no such folder.
    #[error("{place}: there is no such folder")]
    NoFolder { place: String },
    /// A run has another digest there than here.
    #[error("run {run} has the digest {here} here and {there} in {place}: one of them is not what was made")]
    Conflict {
        place: String,
        run: RunId,
        here: String,
        there: String,
    },
    /// Rows or bytes are missing, or are not those of the run.
    #[error("{place}: run {run}: {reason}; nothing of the run was kept")]
    Damaged {
        place: String,
        run: RunId,
        reason: String,
    },
    /// The caller asked to stop.
    #[error("interrupted; what is done is stored, the same command goes on from there")]
    Interrupted,
    /// A run cannot be exported before it is finished.
    #[error("run {run} {}, and is not finished: run its command again first", status.in_words())]
    Unfinished {
        run: RunId,
        status: dream_schema::Status,
    },
    /// A file.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The table of runs.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// Rows that are not those of their table.
    #[error(transparent)]
    Schema(#[from] dream_schema::SchemaError),
}

impl HasKind for ArchiveError {
    fn kind(&self) -> Kind {
        match self {
            Self::Place { .. } | Self::Unfinished { .. } => Kind::Refused,
            Self::Record { .. } | Self::Damaged { .. } => Kind::Corrupt,
            Self::UnknownRun { .. } | Self::Empty { .. } | Self::NoFolder { .. } | Self::NoBucket { .. } => {
                Kind::Missing
            }
            Self::NoCloud { .. } => Kind::Unsupported,
            Self::Denied { .. } | Self::Unreachable { .. } => Kind::Io,
            Self::Conflict { .. } => Kind::Changed,
            Self::Interrupted => Kind::Interrupted,
            Self::Exchange(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Query(error) => error.kind(),
            Self::Schema(error) => error.kind(),
        }
    }
}
