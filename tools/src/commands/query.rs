//! `dream query TABLE`.

use anyhow::Result;
use dream_ood::ask::{self, Scope};
use dream_ood::query::{Filter, TableName};

use super::Verdict;
use crate::args::Args;
use crate::output;
use crate::session::Session;

/// Shows rows of a table, chosen by run, class and condition.
#[derive(Debug, clap::Args)]
pub struct Query {
    /// A table: `dream sql --help` lists them
    table: String,
    #[command(flatten)]
    choice: Choice,
    /// An SQL condition on the columns, such as "knn_distance > 0.5"
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,
    /// At most so many rows
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

/// Which runs and which class.
#[derive(Debug, clap::Args)]
pub struct Choice {
    /// Only these runs: id, prefix or alias
    #[arg(long, value_name = "RUN")]
    run: Vec<String>,
    /// Only this class: name or number
    #[arg(long)]
    class: Option<String>,
}

impl Choice {
    /// Returns the filter of a table for them.
    pub fn filter(&self, session: &Session<'_>, table: &str) -> Result<Filter> {
        let runs = self
            .run
            .iter()
            .map(|name| session.resolve(name))
            .collect::<Result<_>>()?;
        let class = self
            .class
            .as_deref()
            .map(|word| ask::class(&session.store, Scope::Store, word))
            .transpose()?;
        Ok(Filter {
            runs,
            class,
            ..Filter::all(table.parse::<TableName>()?)
        })
    }
}

impl Query {
    pub fn execute(&self, args: &Args) -> Result<Verdict> {
        let session = Session::reading(args)?;
        let condition = self.condition.clone();
        let filter = Filter {
            condition,
            limit: Some(self.limit),
            ..self.choice.filter(&session, &self.table)?
        };
        output::rows(args.format, filter.rows(&session.store)?)?;
        Ok(Verdict::Good)
    }
}
