//! `dream sql "SELECT ..."`.

use anyhow::Result;
use dream_ood::query::Sql as Engine;

use super::Verdict;
use crate::args::Args;
use crate::output;
use crate::session::Session;

/// Answers an SQL query over the tables of the store. Vectors have the functions cosine_similarity, l2_distance, dot and norm.
#[derive(Debug, clap::Args)]
pub struct Sql {
    /// The query
    query: String,
}

impl Sql {
    pub fn execute(&self, args: &Args) -> Result<Verdict> {
        let session = Session::reading(args)?;
        let batches = Engine::new(&session.store).query(&self.query)?;
        match batches.first().map(|batch| batch.schema()) {
            Some(schema) => output::batches(args.format, &schema, batches.into_iter().map(Ok))?,
            None => session.bars.say("no rows"),
        }
        Ok(Verdict::Good)
    }
}
