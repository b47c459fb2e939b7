//! `dream nearest TABLE --to TABLE:RUN:CLASS:INDEX`.

use anyhow::{Result, bail};
use dream_ood::query::{Distance, Selection, nearest, neighbours_batch};
use dream_ood::store::Readable;
use dream_schema::Table;
use dream_schema::columns::Columns;

use super::Verdict;
use crate::globals::Globals;
use crate::output;
use crate::session::{Session, Usage};

/// Finds the exact nearest neighbours of a stored vector.
#[derive(Debug, clap::Args)]
pub struct Nearest {
    /// The table to search: features, outliers or class_embeddings
    table: String,
    /// The vector: TABLE:RUN:CLASS:INDEX
    #[arg(long, value_name = "TABLE:RUN:CLASS:INDEX")]
    to: String,
    /// So many neighbours
    #[arg(short, value_name = "K", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    k: u64,
    /// Only in this run
    #[arg(long)]
    run: Option<String>,
    /// Measures |a - b| instead of 1 - cos(a, b)
    #[arg(long)]
    l2: bool,
}

impl Nearest {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        let session = Session::reading(globals)?;
        let vector = self.vector(&session)?;
        let selection = match &self.run {
            Some(run) => {
                let run = session.resolve(run)?;
                session.require_rows(run, table(&self.table)?)?;
                Selection::run(run)
            }
            None => Selection::default(),
        };
        let distance = if self.l2 { Distance::L2 } else { Distance::Cosine };
        let snapshot = session.store.snapshot()?;
        let found = nearest(
            &snapshot,
            table(&self.table)?,
            &selection,
            &vector,
            usize::try_from(self.k).unwrap_or(usize::MAX),
            distance,
        )?;
        output::batch(globals.format, neighbours_batch(&found)?)?;
        Ok(Verdict::Good)
    }

    fn vector(&self, session: &Session<'_>) -> Result<Vec<f32>> {
        let parts: Vec<&str> = self.to.split(':').collect();
        let [name, run, class, index] = parts.as_slice() else {
            bail!(Usage(format!("--to {}: expected TABLE:RUN:CLASS:INDEX", self.to)));
        };
        let run = session.resolve(run)?;
        let class = session.class(run, class)?;
        let index = index
            .parse()
            .map_err(|_| Usage(format!("--to {}: {index} is no index", self.to)))?;
        let table = table(name)?;
        let row = session.store.row_batch(table, run, class, index)?;
        let row = row.ok_or_else(|| Usage(format!("--to {}: there is no such row", self.to)))?;
        let (vector, _) = Columns::new(table, &row).flat_vectors("vector")?;
        Ok(vector.to_vec())
    }
}

/// Returns the table of that name, if it has vectors.
fn table(name: &str) -> Result<Table> {
    match Table::from_name(name).filter(|t| t.has_vectors()) {
        Some(table) => Ok(table),
        None => bail!(Usage(format!(
            "`{name}` is no table with vectors; there are {}",
            Table::names_with_vectors()
        ))),
    }
}
