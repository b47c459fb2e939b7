//! What is to be taken in: a file, and what its rows are.

use std::path::Path;

use dream_schema::{RunId, Table};

use super::{ActivationsOf, NetworkOf, ScoresOf};
use crate::stage::StageError;
use crate::stage::classes::ClassRow;
use crate::store::check_name;

/// What is to be taken in.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The file; of images a folder.
    pub file: &'a Path,
    /// What its rows are.
    pub rows: Rows<'a>,
}

/// What the rows of a file are.
#[derive(Clone, Copy, Debug)]
pub enum Rows<'a> {
    /// Class embeddings of these classes, in their order; without them a table must name its own.
    ClassEmbeddings {
        /// The classes.
        classes: &'a [ClassRow],
        /// The array, where there are several.
        member: Option<&'a str>,
    },
    /// ID features or outliers.
    Vectors {
        /// The table.
        kind: VectorKind,
        /// The class embeddings whose classes and width they have: an `embed` run or an import.
        embeddings: RunId,
        /// The array, where there are several.
        member: Option<&'a str>,
    },
    /// Pictures of these classes.
    Images {
        /// The class embeddings: an `embed` run or an import.
        embeddings: RunId,
    },
    /// Detection scores.
    Scores(ScoresOf<'a>),
    /// What a classifier shows of images: features, logits or both.
    Activations(ActivationsOf<'a>),
}

/// Vectors that belong to classes which have embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VectorKind {
    /// ID features.
    Features,
    /// Outliers.
    Outliers,
}

impl Question<'_> {
    /// Refuses a folder where one file is read.
    pub(super) fn check_file(&self) -> Result<(), StageError> {
        match self.rows {
            Rows::Images { .. } => Ok(()),
            _ if self.file.is_dir() => Err(StageError::File {
                path: self.file.to_owned(),
                message: "it is a folder, and one file is read; parts of a table are joined first \
                          (`pyarrow.parquet.write_table(pyarrow.parquet.read_table(FOLDER), FILE)`)"
                    .to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

impl Rows<'_> {
    /// The table that they go into.
    pub(super) fn table(&self) -> Table {
        match self {
            Self::ClassEmbeddings { .. } => Table::ClassEmbeddings,
            Self::Vectors { kind, .. } => match kind {
                VectorKind::Features => Table::Features,
                VectorKind::Outliers => Table::Outliers,
            },
            Self::Images { .. } => Table::Images,
            Self::Scores(_) => Table::Scores,
            Self::Activations(_) => Table::Activations,
        }
    }

    pub(super) fn member(&self) -> Option<&str> {
        match self {
            Self::ClassEmbeddings { member, .. } | Self::Vectors { member, .. } => *member,
            Self::Scores(of) => of.member,
            Self::Images { .. } | Self::Activations(_) => None,
        }
    }

    /// Refuses names that tables and questions could not tell from something else.
    pub(super) fn check_names(&self) -> Result<(), StageError> {
        let (dataset, split, score) = match self {
            Self::Scores(of) => (of.dataset, of.split, Some(of.score)),
            Self::Activations(of) => (of.dataset, of.split, None),
            Self::ClassEmbeddings { .. } | Self::Vectors { .. } | Self::Images { .. } => return Ok(()),
        };
        check_name(dataset)?;
        check_name(split)?;
        if let Some(network) = self.network() {
            check_name(network.name)?;
        }
        let wrong = |what: &str, name: &str, reason: &str| {
            StageError::Mismatch(format!("{name:?} cannot be the name of {what}: {reason}"))
        };
        // A score may have its values behind its name: `knn:k=50`.
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+".contains(c);
        match score {
            Some(score) if score.is_empty() || score.len() > 64 || !score.chars().all(allowed) => Err(wrong(
                "a score",
                score,
                "it must have 1 to 64 letters, digits and -_./:=,+",
            )),
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn network(&self) -> Option<NetworkOf<'_>> {
        match self {
            Self::Activations(of) => of.network,
            Self::Scores(of) => of.network,
            _ => None,
        }
    }

    pub(super) fn embeddings(&self) -> Option<RunId> {
        match self {
            Self::Vectors { embeddings, .. } | Self::Images { embeddings } => Some(*embeddings),
            Self::ClassEmbeddings { .. } | Self::Scores(_) | Self::Activations(_) => None,
        }
    }
}
