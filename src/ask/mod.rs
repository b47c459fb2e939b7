//! What every front end needs before it can ask the library something: what a word of its user means.
//!
//! A run is named by id, prefix or alias: [`Readable::resolve`](crate::store::Readable::resolve). A class is
//! named by its name or number ([`class`]), a model or weights by a registered name or a path ([`model`],
//! [`weights`]). A [`Session`] owns what stages run with.

mod class;
mod open;
mod process;
mod session;
mod source;

pub use class::{Scope, class};
pub use open::{open_laid_over, open_to_read};
pub use process::{State, own_process, with_holder};
pub use session::Session;
pub use source::{Found, guess_kind, model, name_of, weights};

use crate::error::{HasKind, Kind};
use crate::stage::{StageError, did_you_mean};
use crate::store::StoreError;

/// A word that means nothing here, or that could not be looked up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// No class of the run, or of what it came from, has that name.
    #[error(
        "run {run} has no class `{word}`; it has {}: {}{}",
        known.len(),
        known.join(", "),
        did_you_mean(word, known.iter().map(String::as_str))
    )]
    UnknownClass {
        /// The run.
        run: dream_schema::RunId,
        /// What was asked for.
        word: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// The path cannot be followed.
    #[error("{}: {source}", path.display())]
    Path {
        /// The path.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What is known of the word's runs and sources could not be had.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl HasKind for AskError {
    fn kind(&self) -> Kind {
        match self {
            Self::UnknownClass { .. } => Kind::Missing,
            Self::Path { source, .. } => HasKind::kind(source),
            Self::Stage(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }
}
