//! What can go wrong in a stage.

use dream_schema::{RunId, Status};

use crate::dataset::DatasetError;
use crate::diffusion::DiffusionError;
use crate::error::{HasKind, Kind};
use crate::exchange::ExchangeError;
use crate::nn;
use crate::ood::OodError;
use crate::outlier::OutlierError;
use crate::store::StoreError;

/// What can go wrong in a stage. Whatever was committed before stays in the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StageError {
    /// What cannot be done as it was asked, found before any work.
    #[error("{}", super::refusal::in_words(.0))]
    Refused(Vec<super::Refusal>),
    /// The user asked to stop.
    #[error("interrupted; what is done is stored, the same command goes on from there")]
    Interrupted,
    /// A stage that this version does not have.
    #[error("this version has no stage `{stage}`; a newer version wrote the run")]
    UnknownStage {
        /// Its name.
        stage: String,
    },
    /// A run of another version of the stage.
    #[error(
        "the run is of version {actual} of the stage `{stage}`, this program has version {expected}; start \
        a new run"
    )]
    StageVersion {
        /// Its name.
        stage: String,
        /// The version that the run was begun with.
        actual: u32,
        /// The version of this program.
        expected: u32,
    },
    /// Parameters that are not the stage's.
    #[error("the parameters of `{stage}` are wrong: {message}")]
    Params {
        /// The stage.
        stage: String,
        /// What is wrong.
        message: String,
    },
    /// A run is not there.
    #[error("`{stage}` needs a run as its {role}")]
    MissingInput {
        /// The stage.
        stage: String,
        /// What it would serve as.
        role: String,
    },
    /// A score learns from images that are not there.
    #[error("`{score}` learns from {what}, and no activations of such are given (its {role})")]
    ScoreInput {
        /// The score.
        score: String,
        /// The images.
        what: &'static str,
        /// What they would serve as.
        role: super::Role,
    },
    /// An input run of the wrong stage.
    #[error("run {run} is of the stage `{stage}`; the {role} must come from `{expected}`")]
    InputStage {
        /// What it should serve as.
        role: String,
        /// The run.
        run: RunId,
        /// Its stage.
        stage: String,
        /// The stages that would do.
        expected: String,
    },
    /// An input run that is not finished.
    #[error(
        "run {run}, to serve as {role}, {}, and is not finished: run its command again first",
        status.in_words()
    )]
    InputUnfinished {
        /// What it should serve as.
        role: String,
        /// The run.
        run: RunId,
        /// How far it has come.
        status: Status,
    },
    /// A data set or model that the run names is not registered in this store.
    #[error("no registered data set or model has the digest {digest} of the run's {role}: register it first")]
    UnknownSource {
        /// What it serves as.
        role: String,
        /// The digest that is asked for.
        digest: String,
    },
    /// Something registered that is of another kind than what is asked for.
    #[error("`{name}` is registered as {kind}; {expected} is needed")]
    SourceKind {
        /// Its name in the store.
        name: String,
        /// Its kind.
        kind: String,
        /// What is needed, in words.
        expected: &'static str,
    },
    /// A data set or model that is no longer what it was.
    #[error(
        "{path} has changed since it was registered as `{name}`: its digest is {actual}, on record is \
        {expected}; restore it, or register it under another name"
    )]
    SourceChanged {
        /// Its name in the store.
        name: String,
        /// Where it lies.
        path: String,
        /// The digest on record.
        expected: String,
        /// The digest that was found.
        actual: String,
    },
    /// A preset, class table or file of vectors that is not what it should be.
    #[error("{}: {message}", path.display())]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A file that says of itself something else than was asked for.
    #[error(
        "{}: its column `{column}` says `{said}`, and `{asked}` was asked for",
        path.display()
    )]
    Contradicted {
        /// The file.
        path: std::path::PathBuf,
        /// The column that says it.
        column: &'static str,
        /// What it says.
        said: String,
        /// What was asked for.
        asked: String,
    },
    /// A file that the system does not let us read or write.
    #[error("{}: {source}", path.display())]
    FileAccess {
        /// The file.
        path: std::path::PathBuf,
        /// What it said.
        #[source]
        source: std::io::Error,
    },
    /// Weights whose last layer is not the network's; a training can begin without that.
    #[error("{0}")]
    OtherHead(String),
    /// Two inputs that do not fit together.
    #[error("{0}")]
    Mismatch(String),
    /// Numbers that should be finite are not.
    #[error("{what} became {value} in epoch {epoch}: training has diverged; lower the learning rate")]
    Diverged {
        /// Which number.
        what: &'static str,
        /// What it is.
        value: f32,
        /// When.
        epoch: usize,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored row that is not what its table says.
    #[error(transparent)]
    Schema(#[from] dream_schema::SchemaError),
    /// An image set.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The diffusion model.
    #[error(transparent)]
    Diffusion(#[from] DiffusionError),
    /// A network.
    #[error(transparent)]
    Nn(#[from] nn::Error),
    /// Sampling.
    #[error(transparent)]
    Outlier(#[from] OutlierError),
    /// Scores and metrics.
    #[error(transparent)]
    Ood(#[from] OodError),
    /// A report.
    #[error(transparent)]
    Report(#[from] crate::report::ReportError),
    /// Files and pictures.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// A tensor operation.
    #[error("tensor: {0}")]
    Candle(#[from] candle_core::Error),
}

impl StageError {
    /// Returns what makes the system's error one of the file at `path`.
    pub(super) fn access(path: &std::path::Path) -> impl Fn(std::io::Error) -> Self {
        move |source| Self::FileAccess {
            path: path.to_owned(),
            source,
        }
    }
}

impl HasKind for StageError {
    fn kind(&self) -> Kind {
        match self {
            Self::Interrupted => Kind::Interrupted,
            Self::UnknownStage { .. } | Self::StageVersion { .. } => Kind::Unsupported,
            Self::Refused(_)
            | Self::Params { .. }
            | Self::SourceKind { .. }
            | Self::MissingInput { .. }
            | Self::ScoreInput { .. }
            | Self::InputStage { .. }
            | Self::InputUnfinished { .. }
            | Self::File { .. }
            | Self::OtherHead(_)
            | Self::Contradicted { .. }
            | Self::Mismatch(_) => Kind::Refused,
            Self::UnknownSource { .. } => Kind::Missing,
            Self::FileAccess { source, .. } => HasKind::kind(source),
            Self::SourceChanged { .. } => Kind::Changed,
            Self::Diverged { .. } => Kind::Diverged,
            Self::Store(error) => error.kind(),
            Self::Schema(error) => error.kind(),
            Self::Dataset(error) => error.kind(),
            Self::Diffusion(error) => error.kind(),
            Self::Nn(error) => error.kind(),
            Self::Outlier(error) => error.kind(),
            Self::Ood(error) => error.kind(),
            Self::Report(error) => error.kind(),
            Self::Exchange(error) => error.kind(),
            Self::Candle(error) => error.kind(),
        }
    }
}
