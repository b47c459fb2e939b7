//! What can go wrong with a store, and what to do about it.

use std::path::{Path, PathBuf};

use dream_schema::{RunId, SchemaError, Table};

use super::names::SHORTEST;
use crate::error::{HasKind, Kind};

/// An operation on a store that failed. Whatever was committed before is still there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no file.
    #[error("there is no store at {}; create one, or name another file", .path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// There is no folder to make the file in.
    #[error("{}: there is no folder {}", .path.display(), .folder.display())]
    NoFolder {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        folder: PathBuf,
    },
    /// There is a file already.
    #[error("{} exists already; open it, or choose another name", .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("{} is not a dream-ood store: {reason}", .path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
        /// What gives it away.
        reason: String,
    },
    /// A folder is named, and a store is a file.
    #[error("{} is a folder; a store is a file", .path.display())]
    IsFolder {
        /// The folder.
        path: PathBuf,
    },
    /// The file was written by a later version of the program.
    #[error(
        "{} has format {found}, this program knows up to {supported}; use a newer version",
        .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format version.
        found: u32,
        /// The newest format version that this program reads.
        supported: u32,
    },
    /// The file uses something that this program does not know.
    #[error(
        "{} needs the feature `{feature}`, which this program does not know; use a newer version",
        .path.display()
    )]
    UnknownFeature {
        /// The file.
        path: PathBuf,
        /// The name of the feature.
        feature: String,
    },
    /// The file ends before what its head says.
    #[error("{} is cut short: {length} of {expected} bytes are there", .path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its length.
        length: u64,
        /// The length that it had.
        expected: u64,
    },
    /// The pages in which the database keeps its tables do not hold what was written.
    #[error("{} is damaged: {reason}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What gives it away.
        reason: String,
    },
    /// Something in the store is damaged that is to be mended first.
    #[error("{} is not sound: {problem}", .path.display())]
    Unsound {
        /// The file.
        path: PathBuf,
        /// What is damaged.
        problem: String,
    },
    /// Another process holds the file.
    #[error(
        "{} is held by {}, which writes to it; it can be read meanwhile",
        .path.display(), .holder.as_deref().unwrap_or("another process")
    )]
    Locked {
        /// The file.
        path: PathBuf,
        /// Which process that is, in words, where it is known.
        holder: Option<String>,
    },
    /// The last writer did not close the file, and a reader may not repair it.
    #[error(
        "{} was not closed by its last writer; open it once for writing, which repairs it",
        .path.display()
    )]
    NeedsRecovery {
        /// The file.
        path: PathBuf,
    },
    /// The store is open for reading only.
    #[error("{} is open for reading only", .path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// The file may be read and not written to.
    #[error("{} cannot be written to ({source}); it can be read", .path.display())]
    NotWritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file system failed: the disk is full, or broken, or access is denied.
    #[error(
        "{}: {source}; what was committed before is safe: remedy the cause and open the store again",
        .path.display()
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        #[source]
        source: std::io::Error,
    },
    /// redb failed.
    #[error("{}: {source}", .path.display())]
    Redb {
        /// The file.
        path: PathBuf,
        /// What it said.
        #[source]
        source: Box<redb::Error>,
    },
    /// A block does not hold what was written.
    #[error(
        "{}: damaged block: table {table}, run {run}, part {part}, index {index}: {reason}",
        .path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The table.
        table: Table,
        /// The run.
        run: RunId,
        /// The part (class).
        part: u32,
        /// Index of the block's first row.
        index: u64,
        /// What is wrong.
        reason: String,
    },
    /// A record other than a block does not hold what was written.
    #[error("{}: damaged record: {record}: {reason}", .path.display())]
    CorruptRecord {
        /// The file.
        path: PathBuf,
        /// Which one.
        record: String,
        /// What is wrong.
        reason: String,
    },
    /// Another row is stored under the same key.
    #[error(
        "table {table}: run {run} already has another row at part {part}, index {index}; \
         the same question must give the same rows: raise the stage's version if its algorithm changed"
    )]
    Conflict {
        /// The table.
        table: Table,
        /// The run.
        run: RunId,
        /// The part (class).
        part: u32,
        /// The index.
        index: u64,
    },
    /// Vectors of another width than those of the run's other rows.
    #[error("table {table}: vectors of width {actual}, but those of run {run} have {expected}")]
    Width {
        /// The table.
        table: Table,
        /// The run.
        run: RunId,
        /// The width of the stored rows.
        expected: usize,
        /// The width of the new ones.
        actual: usize,
    },
    /// A finished run was to be changed.
    #[error("run {run} is finished and never changes")]
    Finished {
        /// The run.
        run: RunId,
    },
    /// A run that was made once more is not what it was.
    #[error(
        "run {run}, made again, has the digest {actual}, and had {expected} before rows of it were lost; \
         this other result is not kept"
    )]
    OtherResult {
        /// The run.
        run: RunId,
        /// The digest that it had.
        expected: String,
        /// The digest of what was made.
        actual: String,
    },
    /// No run has that id, prefix or alias.
    #[error("no run is named `{name}`{}{}", too_short(.name), hint(.near))]
    UnknownRun {
        /// What was asked for.
        name: String,
        /// Names that are like it.
        near: Vec<String>,
    },
    /// Several runs have that prefix.
    #[error("`{name}` could be any of {}; give more digits", .candidates.join(", "))]
    AmbiguousRun {
        /// What was asked for.
        name: String,
        /// The ids that begin with it.
        candidates: Vec<String>,
    },
    /// No run has that alias.
    #[error("there is no alias `{name}`{}", hint(.near))]
    UnknownAlias {
        /// What was asked for.
        name: String,
        /// Names that are like it.
        near: Vec<String>,
    },
    /// Another run has that alias.
    #[error("the alias `{name}` names run {run}")]
    AliasTaken {
        /// The alias.
        name: String,
        /// The run that it names.
        run: RunId,
    },
    /// A name that cannot be an alias.
    #[error("`{name}` cannot be an alias: {reason}")]
    BadAlias {
        /// The name.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// A name that cannot be one of a data set or a model.
    #[error("`{name}` cannot be the name of a data set, a split or a model: {reason}")]
    BadName {
        /// The name.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// A name under which something is registered already.
    #[error("something is registered under `{name}` already")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// No data set has that name.
    #[error("no data set or model is named `{name}`{}", hint(.near))]
    UnknownDataset {
        /// What was asked for.
        name: String,
        /// Names that are like it.
        near: Vec<String>,
    },
    /// The data set of that name has other pictures.
    #[error("`{name}` is registered with the digest {stored}, this one has {given}")]
    DatasetChanged {
        /// The name.
        name: String,
        /// The digest in the store.
        stored: String,
        /// The digest of the new one.
        given: String,
    },
    /// A run names an input that is not as it says.
    #[error("the input `{role}` ({run}) has the digest {actual}, expected {expected}; read it again")]
    InputChanged {
        /// The role of the input.
        role: String,
        /// The input run.
        run: RunId,
        /// The digest that was named.
        expected: String,
        /// The digest in the store; `none` if the run is not finished.
        actual: String,
    },
    /// A run cannot be removed because others were made from it.
    #[error("run {run} is an input of {}", list(.by))]
    InUse {
        /// The run.
        run: RunId,
        /// The runs that read from it.
        by: Vec<RunId>,
    },
    /// No blob has that address.
    #[error("{}: there is no blob {hash}; write the bytes before (or with) what names them", .path.display())]
    UnknownBlob {
        /// The file.
        path: PathBuf,
        /// Its address.
        hash: String,
    },
    /// A blob does not hold what was written.
    #[error("{}: the blob {hash} is damaged: {reason}", .path.display())]
    CorruptBlob {
        /// The file.
        path: PathBuf,
        /// Its address.
        hash: String,
        /// What is wrong.
        reason: String,
    },
    /// An upgrade has copied a run wrongly.
    #[error("the copy of run {run} in the new format differs from it; the store is as it was: verify it")]
    BadCopy {
        /// The run.
        run: RunId,
    },
    /// Two stores have different results for the same finished run.
    #[error(
        "run {run} has the digest {here} here and {there} in {}; they differ, so nothing was merged",
        .path.display()
    )]
    MergeConflict {
        /// The other store.
        path: PathBuf,
        /// The run.
        run: RunId,
        /// Its digest here.
        here: String,
        /// Its digest there.
        there: String,
    },
    /// Rows and record batches do not fit.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A record cannot be written as JSON.
    #[error("a record cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// What is to be said of a name that may be meant as the beginning of an id.
fn too_short(name: &str) -> String {
    let is_short = name.len() < SHORTEST && name.bytes().all(|b| b.is_ascii_hexdigit());
    match is_short {
        true => format!(" (of an id at least {SHORTEST} digits are needed)"),
        false => String::new(),
    }
}

fn hint(names: &[String]) -> String {
    if names.is_empty() {
        String::new()
    } else {
        let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        format!("; did you mean {}?", quoted.join(" or "))
    }
}

fn list(runs: &[RunId]) -> String {
    runs.iter().map(RunId::to_string).collect::<Vec<_>>().join(", ")
}

/// Puts the path of the store into redb's errors.
pub(super) trait At<T> {
    /// Turns the error into ours.
    fn at(self, path: &Path) -> Result<T, StoreError>;
}

impl<T, E: Into<redb::Error>> At<T> for Result<T, E> {
    fn at(self, path: &Path) -> Result<T, StoreError> {
        self.map_err(|error| from_redb(path, error.into()))
    }
}

fn from_redb(path: &Path, error: redb::Error) -> StoreError {
    let path = path.to_owned();
    match error {
        redb::Error::Io(source) if source.kind() == std::io::ErrorKind::UnexpectedEof => {
            StoreError::Damaged {
                path,
                reason: "it ends before a page that is named".to_owned(),
            }
        }
        redb::Error::Io(source) => StoreError::Io { path, source },
        // After an error redb does nothing more.
        redb::Error::PreviousIo => StoreError::Io {
            path,
            source: std::io::Error::other(
                "an earlier read or write of it failed, and nothing is tried after that; where it fails \
                 again, `dream recover FILE -o NEW` saves every run that is whole",
            ),
        },
        redb::Error::Corrupted(reason) => StoreError::Damaged { path, reason },
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
            StoreError::Locked { path, holder: None }
        }
        redb::Error::RepairAborted => StoreError::NeedsRecovery { path },
        other => StoreError::Redb {
            path,
            source: Box::new(other),
        },
    }
}

impl HasKind for StoreError {
    fn kind(&self) -> Kind {
        match self {
            Self::Missing { .. }
            | Self::NoFolder { .. }
            | Self::UnknownRun { .. }
            | Self::UnknownAlias { .. }
            | Self::UnknownDataset { .. }
            | Self::UnknownBlob { .. } => Kind::Missing,
            Self::Exists { .. } | Self::AliasTaken { .. } | Self::DatasetChanged { .. } => Kind::Exists,
            Self::NotAStore { .. }
            | Self::Truncated { .. }
            | Self::Damaged { .. }
            | Self::Unsound { .. }
            | Self::Corrupt { .. }
            | Self::CorruptRecord { .. }
            | Self::CorruptBlob { .. } => Kind::Corrupt,
            Self::Newer { .. } | Self::UnknownFeature { .. } => Kind::Unsupported,
            Self::Locked { .. }
            | Self::NeedsRecovery { .. }
            | Self::ReadOnly { .. }
            | Self::NotWritable { .. }
            | Self::Finished { .. }
            | Self::InUse { .. } => Kind::Locked,
            Self::Io { source, .. } => HasKind::kind(source),
            Self::Redb { source, .. } => of_redb(source),
            Self::Conflict { .. }
            | Self::InputChanged { .. }
            | Self::MergeConflict { .. }
            | Self::OtherResult { .. } => Kind::Changed,
            Self::Width { .. }
            | Self::AmbiguousRun { .. }
            | Self::IsFolder { .. }
            | Self::BadAlias { .. }
            | Self::BadName { .. }
            | Self::NameTaken { .. } => Kind::Refused,
            Self::Schema(error) => error.kind(),
            Self::Json(_) | Self::BadCopy { .. } => Kind::Internal,
        }
    }
}

/// The database's errors that are no fault of ours.
fn of_redb(error: &redb::Error) -> Kind {
    match error {
        redb::Error::Io(error) => HasKind::kind(error),
        redb::Error::UpgradeRequired(_) => Kind::Unsupported,
        redb::Error::ValueTooLarge(_) => Kind::Resource,
        _ => Kind::Internal,
    }
}
