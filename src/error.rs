//! What kind an error is, the same way in every room.
//!
//! A room's errors say what happened and state the facts in fields. What can be done about it depends on who
//! asks: the command line names an option, Python raises an exception. A front end decides by [`Kind`], and
//! by the variant where it knows better.

use std::error::Error as StdError;
use std::io;

use dream_schema::SchemaError;

use crate::archive::ArchiveError;
use crate::ask::AskError;
use crate::dataset::DatasetError;
use crate::diffusion::DiffusionError;
use crate::engine::GpuError;
use crate::exchange::ExchangeError;
use crate::nn;
use crate::ood::OodError;
use crate::outlier::OutlierError;
use crate::query::QueryError;
use crate::report::ReportError;
use crate::stage::StageError;
use crate::store::StoreError;

/// What kind an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// What was named is not there: a file, a run, a data set, a table, a column.
    Missing,
    /// What was to be made is there already.
    Exists,
    /// A question that cannot be answered as it was asked: a value out of range, inputs that do not fit
    /// together.
    Refused,
    /// Something is no longer, or not, what is on record of it.
    Changed,
    /// Someone else holds what is needed, or it may only be read.
    Locked,
    /// Bytes that are not what was written, or not what their format demands.
    Corrupt,
    /// Well-formed, and beyond what this version does.
    Unsupported,
    /// The caller asked to stop; what was committed stays.
    Interrupted,
    /// Numbers that should be finite are not.
    Diverged,
    /// Memory, disk or processor do not suffice.
    Resource,
    /// The system refused to read or write.
    Io,
    /// A fault of this library or of one that it stands on.
    Internal,
}

/// An error that knows its kind.
pub trait HasKind: StdError {
    /// Returns what kind the error is.
    fn kind(&self) -> Kind;
}

/// An error of any room, with its kind.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct Error {
    kind: Kind,
    source: Box<dyn StdError + Send + Sync>,
}

impl Error {
    /// Returns what kind the error is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the room's error.
    pub fn into_inner(self) -> Box<dyn StdError + Send + Sync> {
        self.source
    }
}

impl<E: HasKind + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Self {
            kind: error.kind(),
            source: Box::new(error),
        }
    }
}

impl Kind {
    /// Returns the kind of the first error of the chain, from `error` to its last cause, that has one.
    pub fn of(error: &(dyn StdError + 'static)) -> Option<Self> {
        std::iter::successors(Some(error), |error| (**error).source()).find_map(|error| {
            of_type::<StageError>(error)
                .or_else(|| of_type::<AskError>(error))
                .or_else(|| of_type::<ArchiveError>(error))
                .or_else(|| of_type::<StoreError>(error))
                .or_else(|| of_type::<QueryError>(error))
                .or_else(|| of_type::<ExchangeError>(error))
                .or_else(|| of_type::<DatasetError>(error))
                .or_else(|| of_type::<DiffusionError>(error))
                .or_else(|| of_type::<nn::Error>(error))
                .or_else(|| of_type::<OutlierError>(error))
                .or_else(|| of_type::<OodError>(error))
                .or_else(|| of_type::<ReportError>(error))
                .or_else(|| of_type::<GpuError>(error))
                .or_else(|| of_type::<SchemaError>(error))
                .or_else(|| of_type::<candle_core::Error>(error))
                .or_else(|| of_type::<io::Error>(error))
                .or_else(|| error.downcast_ref::<Error>().map(Error::kind))
        })
    }

    /// Returns the kind of an error that is handed over in a box: of the first of its chain that has one.
    pub(crate) fn of_box(error: &(dyn StdError + Send + Sync + 'static)) -> Self {
        Self::of(error).unwrap_or(Self::Internal)
    }
}

fn of_type<E: HasKind + 'static>(error: &(dyn StdError + 'static)) -> Option<Kind> {
    error.downcast_ref::<E>().map(E::kind)
}

/// Errors that others define have an open list of variants, so that what is not named here is of one kind.
impl HasKind for io::Error {
    fn kind(&self) -> Kind {
        match io::Error::kind(self) {
            io::ErrorKind::NotFound => Kind::Missing,
            io::ErrorKind::AlreadyExists => Kind::Exists,
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge
            | io::ErrorKind::OutOfMemory => Kind::Resource,
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Kind::Corrupt,
            io::ErrorKind::Interrupted => Kind::Interrupted,
            io::ErrorKind::InvalidInput => Kind::Refused,
            io::ErrorKind::Unsupported => Kind::Unsupported,
            _ => Kind::Io,
        }
    }
}

/// A tensor library that fails on shapes that we hand it is a fault of ours; the processor may run out of
/// memory.
impl HasKind for candle_core::Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Io(error) => HasKind::kind(error),
            Self::Cuda(error) if let Some(gpu) = error.downcast_ref::<GpuError>() => gpu.kind(),
            Self::Cuda(error) if !is_out_of_memory(error.as_ref()) => Kind::Internal,
            Self::Cuda(_) | Self::Metal(_) => Kind::Resource,
            Self::NotCompiledWithCudaSupport | Self::NotCompiledWithMetalSupport => Kind::Unsupported,
            Self::SafeTensor(_) => Kind::Corrupt,
            Self::Context { inner, .. } | Self::WithPath { inner, .. } => inner.kind(),
            Self::WithBacktrace { inner, .. } => inner.kind(),
            _ => Kind::Internal,
        }
    }
}

/// Says whether a device has no memory left: its driver has a name for it, and no type that we could see.
fn is_out_of_memory(error: &(dyn StdError + Send + Sync)) -> bool {
    let text = error.to_string().to_lowercase();
    ["out_of_memory", "out of memory"]
        .iter()
        .any(|words| text.contains(words))
}

impl HasKind for arrow::error::ArrowError {
    fn kind(&self) -> Kind {
        match self {
            Self::MemoryError(_) | Self::OffsetOverflowError(_) => Kind::Resource,
            Self::IoError(_, error) => HasKind::kind(error),
            Self::ParseError(_) | Self::CsvError(_) | Self::JsonError(_) | Self::IpcError(_) => Kind::Corrupt,
            Self::NotYetImplemented(_) => Kind::Unsupported,
            _ => Kind::Internal,
        }
    }
}

/// Rows that are not what their table says, wherever they come from.
impl HasKind for SchemaError {
    fn kind(&self) -> Kind {
        match self {
            Self::Arrow(error) => error.kind(),
            _ => Kind::Corrupt,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(error: impl StdError + 'static) -> Kind {
        Kind::of(&error).unwrap()
    }

    #[test]
    fn a_kind_is_that_of_the_room_where_the_error_began() {
        let near = Vec::new;
        let unknown = || StoreError::UnknownRun {
            name: "nothing".into(),
            near: near(),
        };
        assert_eq!(of(unknown()), Kind::Missing);
        assert_eq!(of(StageError::from(unknown())), Kind::Missing);
        assert_eq!(of(QueryError::from(unknown())), Kind::Missing);
        assert_eq!(of(StageError::Interrupted), Kind::Interrupted);
        // Whoever hands over the rows of an export has an error of its own.
        assert_eq!(
            of(ExchangeError::Source(Box::new(QueryError::from(unknown())))),
            Kind::Missing
        );
        assert_eq!(of(ExchangeError::Source("a word".into())), Kind::Internal);
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let path = || "dream.redb".into();
        assert_eq!(
            of(StoreError::Io {
                path: path(),
                source: full()
            }),
            Kind::Resource
        );
        assert_eq!(
            of(ExchangeError::Io {
                path: path(),
                source: full()
            }),
            Kind::Resource
        );
        let missing = || SchemaError::MissingColumn {
            table: "features",
            column: "vector",
        };
        assert_eq!(of(ExchangeError::from(missing())), Kind::Refused);
        assert_eq!(of(StoreError::from(missing())), Kind::Corrupt);
        let read_only = QueryError::ReadOnly {
            what: "DELETE".into(),
        };
        assert_eq!(of(read_only), Kind::Refused);
        let access = |kind: io::ErrorKind| StageError::FileAccess {
            path: path(),
            source: kind.into(),
        };
        assert_eq!(of(access(io::ErrorKind::NotFound)), Kind::Missing);
        assert_eq!(of(access(io::ErrorKind::StorageFull)), Kind::Resource);
        assert_eq!(Kind::of(&std::fmt::Error), None);
    }

    #[test]
    fn a_device_without_memory_is_told_from_other_faults() {
        let cuda = |text: &str| candle_core::Error::Cuda(text.into());
        let full = cuda("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")");
        assert_eq!(of(full), Kind::Resource);
        assert_eq!(
            of(StageError::from(cuda("CUBLAS_STATUS_NOT_INITIALIZED"))),
            Kind::Internal
        );
        let old = GpuError::TooOld { major: 7, minor: 5 };
        assert_eq!(of(candle_core::Error::Cuda(old.into())), Kind::Unsupported);
    }

    #[test]
    fn any_error_becomes_one_with_its_kind_and_its_words() {
        let error = Error::from(StageError::Store(StoreError::Locked {
            path: "a.redb".into(),
            holder: None,
        }));
        assert_eq!(error.kind(), Kind::Locked);
        assert!(error.to_string().starts_with("a.redb is held"), "{error}");
        assert_eq!(Kind::of(&error), Some(Kind::Locked));
        assert!(error.into_inner().downcast::<StageError>().is_ok());
    }

    #[test]
    fn stopping_is_the_callers_wish_in_every_room() {
        assert_eq!(
            of(DiffusionError::Stopped { step: 1, steps: 2 }),
            Kind::Interrupted
        );
        assert_eq!(of(OutlierError::Cancelled { class: 1 }), Kind::Interrupted);
    }
}
