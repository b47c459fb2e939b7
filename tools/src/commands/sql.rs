//! `dream sql "SELECT ..."`.

use anyhow::Result;
use dream_ood::query::{Sql as Engine, TableName};

use super::Verdict;
use crate::args::Args;
use crate::output;
use crate::session::Session;

/// Answers an SQL query over the tables of the store.
///
/// Vectors have the functions cosine_similarity, l2_distance, dot and norm.
#[derive(Debug, clap::Args)]
#[command(after_long_help = tables())]
pub struct Sql {
    /// The query
    query: String,
}

impl Sql {
    pub fn execute(&self, args: &Args) -> Result<Verdict> {
        let session = Session::reading(args)?;
        let rows = Engine::new(&session.store).query(&self.query)?;
        output::rows(args.format, rows)?;
        Ok(Verdict::Good)
    }
}

/// Returns the tables and their columns.
fn tables() -> String {
    let mut text = "Tables:\n".to_owned();
    for table in TableName::all() {
        let schema = table.schema(0);
        let columns = schema.fields().iter().map(|field| field.name().as_str());
        let columns = columns.collect::<Vec<_>>().join(", ");
        text += &format!("  {table}: {}\n      {columns}\n", table.sentence());
    }
    text
}
