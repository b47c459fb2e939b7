//! `dream query TABLE`.

use anyhow::Result;
use dream_ood::query::{Class, Filter, TableName};
use dream_ood::stage::embed;
use dream_ood::store::Readable;
use dream_schema::ClassEmbedding;

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
            .map(|text| class(session, text))
            .transpose()?;
        Ok(Filter {
            runs,
            class,
            ..Filter::all(table.parse::<TableName>()?)
        })
    }
}

/// Returns the class that a text means. A name comes before a number: class 3 may be called `0`.
fn class(session: &Session<'_>, text: &str) -> Result<Class> {
    let Ok(number) = text.parse() else {
        return Ok(Class::Name(text.to_owned()));
    };
    for run in session.store.runs()? {
        let classes: Vec<ClassEmbedding> = match run.spec.stage.as_str() {
            embed::NAME => session.store.rows(run.id, None)?,
            _ => continue,
        };
        if classes.iter().any(|class| class.class_name == text) {
            return Ok(Class::Name(text.to_owned()));
        }
    }
    Ok(Class::Id(number))
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
