//! What can go wrong with a question.

use std::path::PathBuf;

use dream_schema::{RunId, SchemaError};

use crate::error::{HasKind, Kind};
use crate::exchange::ExchangeError;
use crate::store::StoreError;
use crate::words::near_names;

/// A question that cannot be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// There is no table of that name.
    #[error("there is no table `{table}`{}", among_names("tables", table, tables))]
    UnknownTable {
        /// The name.
        table: String,
        /// The names that there are.
        tables: Vec<String>,
    },
    /// There is no column of that name.
    #[error("there is no column `{column}`{}", among_names("columns", column, columns))]
    UnknownColumn {
        /// The name.
        column: String,
        /// The names that there are.
        columns: Vec<String>,
    },
    /// It is no class of the runs asked about.
    #[error(
        "there is no class `{class}` among {count}{}",
        among("classes", class, classes)
    )]
    UnknownClass {
        /// Its name or number.
        class: String,
        /// How many classes there are.
        count: usize,
        /// The names that there are.
        classes: Vec<String>,
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
    /// A folder without any table.
    #[error("there is no Parquet file in {}", folder.display())]
    NoParquet {
        /// The folder.
        folder: PathBuf,
    },
    /// Files of one table have rows in common.
    #[error(
        "{}: {rows} rows of the table {table} are in {}, too, and would count twice; leave one of the files \
         out of the folder",
        file.display(),
        other.display()
    )]
    Doubled {
        /// The table.
        table: String,
        /// The file.
        file: PathBuf,
        /// The one before it.
        other: PathBuf,
        /// How many rows are in both.
        rows: usize,
    },
    /// The folder cannot be read.
    #[error("{}: {source}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The record of an exported run that is none, or of a newer program.
    #[error("{}: {reason}", path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Files of one table differ in the type of a column.
    #[error("{}: the column `{column}` holds {found}, in the files before it {expected}", file.display())]
    ColumnTypes {
        /// The file.
        file: PathBuf,
        /// The column.
        column: String,
        /// The type in the file.
        found: String,
        /// The type in those before it.
        expected: String,
    },
    /// The query's expressions are nested too deep to be planned.
    #[error(
        "the query nests some {depth} operators and brackets in each other, and {deepest} at most are \
         planned; write a long chain of comparisons as `IN (..)` or as a join with `(VALUES ..)`"
    )]
    Depth {
        /// How deep it can be by its words.
        depth: usize,
        /// How deep a query may be.
        deepest: usize,
    },
    /// The plan of the query would not fit into memory.
    #[error(
        "the query stands for some {size:.0e} expressions once its sub-queries, `coalesce` and BETWEEN are \
         written out, and {largest:.0} at most are planned; nest them less, or write `coalesce(a, b, c)` \
         for `coalesce(coalesce(a, b), c)`"
    )]
    Size {
        /// What it stands for.
        size: f64,
        /// What it may stand for beyond what is written.
        largest: f64,
    },
    /// The query's expressions would take long to plan.
    #[error(
        "the query nests its operators and calls {depth} deep in each other, and to plan that would take \
         {times:.1} times as long as a query may; write a long chain of comparisons as `IN (..)` or as a \
         join with `(VALUES ..)`, a sum as `sum(..)` over rows, and steps as sub-queries in WITH"
    )]
    Effort {
        /// How deep they are nested.
        depth: usize,
        /// What planning would take, in times of what it may.
        times: f64,
    },
    /// A condition that is not one expression.
    #[error("the condition must be one expression, and {reason}")]
    Condition {
        /// What is wrong.
        reason: String,
    },
    /// What the query must hold at once is more than it may take.
    #[error("the query needs more memory than it may take: {reason}")]
    Memory {
        /// The query engine's words.
        reason: String,
    },
    /// The caller asked to stop.
    #[error("stopped before the answer was complete")]
    Interrupted,
    /// No thread could be had to execute the query.
    #[error("no thread for the query: {source}")]
    Thread {
        /// What the system said.
        source: std::io::Error,
    },
    /// A fault of the query engine.
    #[error("the query engine failed without saying why")]
    Engine,
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

/// The most names that an error lists.
const LISTED: usize = 30;

/// Returns which names there are, those like `name` first.
fn among(what: &str, name: &str, names: &[String]) -> String {
    let near = near_names(&name.to_lowercase(), names.iter().cloned());
    let mut listed: Vec<&str> = names.iter().take(LISTED).map(String::as_str).collect();
    if listed.len() < names.len() {
        listed.push("...");
    }
    match (near.is_empty(), listed.join(", ")) {
        (true, all) if all.is_empty() => format!("; there are no {what}"),
        (true, all) => format!("; the {what} are {all}"),
        (false, all) => format!("; did you mean {}? The {what} are {all}", near.join(" or ")),
    }
}

/// As [`among`], of names as SQL has them.
fn among_names(what: &str, name: &str, names: &[String]) -> String {
    let plain = |name: &&String| {
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        name.chars().all(word) && !name.starts_with(|c: char| c.is_ascii_digit())
    };
    let near = near_names(&name.to_lowercase(), names.iter().cloned());
    let quoted = near.iter().find(|name| !plain(name));
    let hint = quoted.map_or_else(String::new, |name| {
        format!("; in SQL such a name stands in double quotes: \"{name}\"")
    });
    among(what, name, names) + &hint
}

/// The result of a question.
pub type Result<T> = std::result::Result<T, QueryError>;

impl HasKind for QueryError {
    fn kind(&self) -> Kind {
        match self {
            Self::UnknownTable { .. }
            | Self::UnknownColumn { .. }
            | Self::UnknownClass { .. }
            | Self::NoParquet { .. } => Kind::Missing,
            Self::NotInTable { .. }
            | Self::ColumnTypes { .. }
            | Self::Doubled { .. }
            | Self::Width { .. }
            | Self::Vector { .. }
            | Self::Depth { .. }
            | Self::Size { .. }
            | Self::Effort { .. }
            | Self::Condition { .. }
            | Self::ReadOnly { .. }
            | Self::Sql { .. } => Kind::Refused,
            Self::Memory { .. } => Kind::Resource,
            Self::Interrupted => Kind::Interrupted,
            Self::Thread { source } | Self::Folder { source, .. } => HasKind::kind(source),
            Self::Engine => Kind::Internal,
            Self::Record { .. } => Kind::Corrupt,
            Self::NoSql => Kind::Unsupported,
            Self::Store(error) => error.kind(),
            Self::Schema(error) => error.kind(),
            Self::Exchange(error) => error.kind(),
            Self::Arrow(error) => error.kind(),
        }
    }
}
