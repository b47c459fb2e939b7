//! What [`Store::verify`](super::Store::verify) finds: where, of what kind, and in which words.

use std::fmt;

use dream_schema::{RunId, Table, words};

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What is wrong there.
    pub kind: ProblemKind,
    /// What gives it away.
    pub reason: String,
}

/// A part of a store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Rows of a table that are kept together.
    Block(BlockPlace),
    /// A run: its record, or all its rows.
    Run(RunId),
    /// Large bytes.
    Blob {
        /// Their address.
        hash: String,
        /// The runs whose checkpoints name them.
        runs: Vec<RunId>,
    },
    /// A name of a run.
    Alias(String),
    /// What is registered under a name.
    Dataset(String),
    /// Pages of the file, in which redb keeps its tables.
    Pages,
}

/// Where some rows of a table are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockPlace {
    /// The table.
    pub table: Table,
    /// The run.
    pub run: RunId,
    /// The part (class).
    pub part: u32,
    /// The index of the first row.
    pub index: u64,
    /// How many rows, where that is known.
    pub rows: Option<u32>,
    /// The name of the class, where that is known.
    pub class_name: Option<String>,
}

words! {
    /// What can be wrong with a part of a store.
    #[derive(PartialOrd, Ord)]
    pub enum ProblemKind {
        /// Its bytes are not what was written.
        Damaged = "damaged",
        /// It is named and not there.
        Missing = "missing",
        /// It is there and nothing names it.
        Stray = "stray",
        /// Its rows are not those that it was finished with.
        Digest = "digest",
        /// It reads from a run that is missing or has other rows now.
        Input = "input",
    }
}

impl Problem {
    /// Returns the run that it belongs to, if it belongs to one.
    pub fn run(&self) -> Option<RunId> {
        match &self.place {
            Place::Block(block) => Some(block.run),
            Place::Run(run) => Some(*run),
            Place::Blob { runs, .. } => runs.first().copied(),
            Place::Alias(_) | Place::Dataset(_) | Place::Pages => None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.name();
        match &self.place {
            Place::Block(place) => write!(f, "{kind} block: {place}")?,
            Place::Run(run) => write!(f, "run {run}")?,
            Place::Blob { hash, runs } => {
                write!(f, "{kind} blob: {hash}")?;
                for (i, run) in runs.iter().enumerate() {
                    write!(f, "{} {run}", if i == 0 { " of run" } else { "," })?;
                }
            }
            Place::Alias(name) => write!(f, "alias `{name}`")?,
            Place::Dataset(name) => write!(f, "data set `{name}`")?,
            Place::Pages => write!(f, "{kind} pages")?,
        }
        write!(f, ": {}", self.reason)
    }
}

impl fmt::Display for BlockPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            table,
            run,
            part,
            index,
            ..
        } = self;
        write!(f, "table {table}, run {run}, part {part}, index {index}")?;
        match (self.rows, &self.class_name) {
            (None, None) => Ok(()),
            (Some(rows), None) => write!(f, " ({rows} rows)"),
            (None, Some(class)) => write!(f, " (class {class})"),
            (Some(rows), Some(class)) => write!(f, " ({rows} rows of class {class})"),
        }
    }
}
