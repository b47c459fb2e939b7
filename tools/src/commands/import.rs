//! `dream import TABLE FILE`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use dream_ood::stage::import::import;
use dream_schema::Table;

use super::Verdict;
use crate::args::Args;
use crate::session::{Session, Usage};

/// Takes in features or outliers that another program made, as a run of their own: Parquet as we export it,
/// or an .npy file of [classes, n, m] or [classes, m].
#[derive(Debug, clap::Args)]
pub struct Import {
    /// features or outliers
    table: String,
    /// The .parquet or .npy file
    file: PathBuf,
    /// The class embeddings whose classes and width the vectors have: an `embed` run
    #[arg(long, value_name = "RUN")]
    embeddings: String,
    /// Names the run
    #[arg(long)]
    alias: Option<String>,
}

impl Import {
    pub fn execute(&self, args: &Args) -> Result<Verdict> {
        let Some(table) = Table::from_name(&self.table) else {
            bail!(Usage(format!(
                "there is no table `{}`; features and outliers can be imported",
                self.table
            )));
        };
        let session = Session::existing(args)?;
        let embeddings = session.resolve(&self.embeddings)?;
        let run = import(&session.context(), table, &self.file, embeddings)?;
        if let Some(alias) = &self.alias {
            session.store.set_alias(alias, run.id)?;
        }
        out!("{}", run.id)?;
        Ok(Verdict::Good)
    }
}
