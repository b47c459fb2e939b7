//! What can be wrong with the data of a report.

use crate::error::{HasKind, Kind};

/// Why a report, a contact sheet or a projection could not be made.
#[expect(missing_docs, reason = "fields are named for what they hold")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A picture's bytes do not fit its size.
    #[error(
        "picture '{caption}' says {width} x {height}, which needs {expected} RGB bytes, but has {actual}: \
         pass rows of 8-bit red, green, blue"
    )]
    PictureSize {
        caption: String,
        width: usize,
        height: usize,
        /// Bytes that this size needs.
        expected: usize,
        actual: usize,
    },
    /// There is nothing to put on a contact sheet, or a row of it would hold nothing.
    #[error(
        "a contact sheet needs at least one picture, column and pixel a pixel: got {pictures}, {columns} \
         and {scale}"
    )]
    EmptySheet {
        pictures: usize,
        columns: usize,
        /// Magnification asked for.
        scale: usize,
    },
    /// A contact sheet would be larger than a PNG viewer can be expected to open.
    #[error(
        "the contact sheet would be {width} x {height} pixels, over {limit} in all: take fewer pictures or \
         a smaller scale"
    )]
    SheetTooLarge {
        width: usize,
        height: usize,
        /// The most pixels allowed.
        limit: usize,
    },
    /// A list of vectors is not a whole number of vectors of the stated dimension.
    #[error("{actual} numbers are not whole vectors of dimension {dimension}, or fewer than {least} of them")]
    VectorShape {
        /// Numbers a vector.
        dimension: usize,
        /// The fewest vectors that will do.
        least: usize,
        actual: usize,
    },
    /// A vector holds an infinity or not-a-number, which has no projection.
    #[error("vector {row} holds a non-finite number at {column}: leave such vectors out before projecting")]
    NonFinite { row: usize, column: usize },
    /// The eigenvectors of the covariance were not found.
    #[error("the projection's axes were not found: the vectors' numbers are too large for their covariance")]
    Eigenvectors,
    /// A row of a detection table does not have one cell a data set.
    #[error("the row of network '{network}', score '{score}' has {actual} cells for {expected} data sets")]
    TableShape {
        network: String,
        score: String,
        expected: usize,
        actual: usize,
    },
    /// A curve does not have one value an epoch.
    #[error("curve '{metric}' of '{run}' has {epochs} epochs and {values} values: pass one value an epoch")]
    CurveLength {
        metric: String,
        run: String,
        epochs: usize,
        values: usize,
    },
    /// Two runs of a lineage have one id.
    #[error("run {id} is twice in the lineage: pass each run once")]
    DuplicateRun { id: String },
    /// An edge of the lineage names a run that is not there.
    #[error(
        "an edge of the lineage names run {id}, which is not among its nodes: pass the node too, or drop \
         the edge"
    )]
    UnknownRun { id: String },
    /// A run of the lineage is its own ancestor.
    #[error("run {id} is its own ancestor: a lineage has no cycles, so its edges are wrong")]
    LineageCycle {
        /// The id of one run on the cycle.
        id: String,
    },
    /// The PNG encoder refused.
    #[error("cannot encode a PNG")]
    Png(#[from] png::EncodingError),
}

impl HasKind for ReportError {
    fn kind(&self) -> Kind {
        match self {
            Self::EmptySheet { .. }
            | Self::SheetTooLarge { .. }
            | Self::VectorShape { .. }
            | Self::NonFinite { .. } => Kind::Refused,
            // What a report is of is gathered from a store, whose rows have been checked.
            Self::PictureSize { .. }
            | Self::Eigenvectors
            | Self::TableShape { .. }
            | Self::CurveLength { .. }
            | Self::DuplicateRun { .. }
            | Self::UnknownRun { .. }
            | Self::LineageCycle { .. }
            | Self::Png(_) => Kind::Internal,
        }
    }
}
