//! `dream query TABLE`.

use anyhow::Result;
use dream_ood::ask::{self, Scope};
use dream_ood::query::{Filter, TableName};

use super::{Verdict, ids};
use crate::globals::{Format, Globals};
use crate::output;
use crate::session::Session;

/// Rows that a table for the eye shows where no number is asked for.
const SHOWN: usize = 20;

/// Shows rows of a table, chosen by run, class and condition.
#[derive(Debug, clap::Args)]
pub struct Query {
    /// A table: `dream sql --help` lists them
    table: String,
    #[command(flatten)]
    choice: Choice,
    /// An SQL condition on the columns, such as "knn_distance > 1.5"
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,
    /// At most so many rows; without it, all as JSON and CSV, and 20 as a table
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

/// Which runs and which class.
#[derive(Debug, clap::Args)]
pub struct Choice {
    /// Only these runs: id, prefix or alias
    #[arg(long, value_name = "RUN")]
    pub run: Vec<String>,
    /// Only this class: name or number
    #[arg(long)]
    pub class: Option<String>,
}

impl Choice {
    /// Returns the filter of a table for them.
    pub fn filter(&self, session: &Session<'_>, table: TableName) -> Result<Filter> {
        let runs = self
            .run
            .iter()
            .map(|name| session.resolve(name))
            .collect::<Result<Vec<_>>>()?;
        if let TableName::Artifacts(table) = table {
            runs.iter()
                .try_for_each(|run| session.require_rows(*run, table))?;
        }
        let class = self
            .class
            .as_deref()
            .map(|word| ask::class(&session.store, Scope::Runs(&runs), word))
            .transpose()?;
        Ok(Filter {
            runs,
            class,
            options: session.query_options(),
            ..Filter::all(table)
        })
    }
}

impl Query {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        let table = self.table.parse()?;
        let session = Session::reading(globals)?;
        let shown = match (self.limit, globals.format) {
            (Some(limit), _) => Some(limit),
            (None, Format::Table) => Some(SHOWN),
            (None, Format::Json | Format::Csv) => None,
        };
        let filter = Filter {
            condition: self.condition.clone(),
            // One more tells whether there are more.
            limit: shown.map(|rows| rows.saturating_add(1)),
            ..self.choice.filter(&session, table)?
        };
        let rows = filter.rows(&session.store)?;
        ids::say(&session.bars, Some(&session.store), &rows)?;
        let more = output::first_rows(globals.format, rows, shown)?;
        if more && self.limit.is_none() {
            session.bars.say(&format!(
                "the first {SHOWN} rows of more; --limit N shows N, --format csv or json all of them"
            ));
        }
        session.say_damaged()
    }
}
