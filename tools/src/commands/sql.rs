//! `dream sql "SELECT ..."`.

use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use clap::ArgMatches;
use dream_ood::query::{FUNCTIONS, QueryOptions, Sql as Engine, TableName};
use dream_ood::store::Readable as _;

use super::{Verdict, ids};
use crate::bars::Bars;
use crate::globals::{self, Format, Globals, Shared};
use crate::output;
use crate::session::{self, Session, Usage};

/// Answers an SQL query over the tables of the store, or over exported Parquet files.
///
/// EXPLAIN before a query shows which runs, classes, blocks and bytes it would read; EXPLAIN ANALYZE what it
/// did read.
#[derive(Debug, clap::Args)]
#[command(after_help = FUNCTIONS_ARE_BELOW, after_long_help = tables_and_functions())]
pub struct Sql {
    /// The query; `-` reads it from standard input
    query: String,
    /// Asks the Parquet files in this folder instead of the store: each is a table, by the name that `dream
    /// export` wrote into it or else by its file name
    #[arg(long, value_name = "DIR")]
    parquet: Option<PathBuf>,
    /// The folder for what does not fit into --memory while the query runs; without it, the system's folder
    /// of temporary files
    #[arg(long, value_name = "DIR")]
    spill: Option<PathBuf>,
}

/// Bytes of a query on standard input at most, which may have no end.
const LONGEST: u64 = 16 << 20;

/// The stored metrics once more, of the scores. Sets that count as in-distribution have no AUROC of their
/// own.
const METRICS_OF_SCORES: &str = "\
SELECT m.run, m.score, m.dataset, auroc(s.value, s.dataset = m.dataset) FROM metrics m
JOIN scores s ON s.run = m.run AND s.score = m.score
LEFT JOIN metrics o ON o.run = s.run AND o.score = s.score AND o.dataset = s.dataset AND o.name = 'auroc'
WHERE m.name = 'auroc' AND m.dataset IS NOT NULL AND (s.dataset = m.dataset OR o.run IS NULL)
GROUP BY 1, 2, 3";

/// What the short help says of the rest.
const FUNCTIONS_ARE_BELOW: &str = "Vectors have dot, norm, l2_distance and cosine_similarity, detection \
                                   scores the aggregates auroc, fpr95, aupr_in and aupr_out; --help lists \
                                   them and the tables.";

impl Sql {
    /// Refuses a store beside a folder of files.
    pub fn check(&self, given: &ArgMatches) -> Result<(), Usage> {
        match self.parquet.is_some() && globals::is_given(given, Shared::Store) {
            true => Err(Usage(
                "--store is of no use beside --parquet: what is asked are the files of a folder".into(),
            )),
            false => Ok(()),
        }
    }

    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        let query = match self.query.as_str() {
            "-" => {
                let mut text = String::new();
                let mut input = io::stdin().lock().take(LONGEST + 1);
                input.read_to_string(&mut text).context("standard input")?;
                if text.len() as u64 > LONGEST {
                    bail!(Usage(format!(
                        "standard input: a query has {LONGEST} bytes at most"
                    )));
                }
                text
            }
            query => query.to_owned(),
        };
        if let Some(folder) = self.spill.as_ref().filter(|folder| !folder.is_dir()) {
            bail!(Usage(format!(
                "--spill {}: there is no such folder",
                folder.display()
            )));
        }
        let with_spill = |options: QueryOptions| QueryOptions {
            spill: self.spill.clone(),
            ..options
        };
        let mut verdict = Verdict::Good;
        let rows = match &self.parquet {
            Some(folder) => {
                let bars = Arc::new(Bars::reading(globals.quiet));
                let options = with_spill(session::query_options(globals, &bars));
                let rows = Engine::parquet(folder)?.with_options(options).query(&query)?;
                ids::say(&bars, None, &rows)?;
                rows
            }
            None => {
                let session = Session::reading(globals)?;
                verdict = session.say_damaged()?;
                say_joined(&session, &query)?;
                let options = with_spill(session.query_options());
                let engine = Engine::new(&session.store).with_options(options);
                let rows = engine.query(&query)?;
                ids::say(&session.bars, Some(&session.store), &rows)?;
                rows
            }
        };
        let schema = rows.schema();
        let columns: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        match (columns.as_slice(), globals.format) {
            (["plan_type", "plan"], Format::Table) => output::texts(rows)?,
            _ => output::rows(globals.format, rows)?,
        }
        Ok(verdict)
    }
}

/// Says that `runs.alias` is none of the names of a run that has several, where a query reads it.
fn say_joined(session: &Session<'_>, query: &str) -> Result<()> {
    let query = query.to_lowercase();
    if !query.contains("alias") || query.contains(TableName::RunAliases.name()) {
        return Ok(());
    }
    let aliases = session.store.aliases()?;
    let of_run = |run| aliases.iter().filter(move |(_, named)| *named == run);
    let several = aliases.iter().find(|(_, run)| of_run(*run).count() > 1);
    if let Some((_, run)) = several {
        let names: Vec<&str> = of_run(*run).map(|(name, _)| name.as_str()).collect();
        session.bars.say(&format!(
            "run {run} has several names, and its `runs.alias` is '{}'; the table `{}` has each in a row",
            names.join(","),
            TableName::RunAliases
        ));
    }
    Ok(())
}

/// Returns the tables with their columns, and the functions.
fn tables_and_functions() -> String {
    let mut text = "Tables:\n".to_owned();
    for table in TableName::all() {
        let schema = table.schema(0);
        let columns = schema.fields().iter().map(|field| field.name().as_str());
        let columns = columns.collect::<Vec<_>>().join(", ");
        text += &format!("  {table}: {}\n      {columns}\n", table.sentence());
    }
    text += "\nThe status of a run is what is on record. Whether the process of a run that is `running` is \
             still alive is seen by `dream ls` alone, on the machine where it runs.\n";
    text += "\nColumns of runs (`run`, `input`) hold whole ids, 32 digits, of which `dream ls` shows the \
             first 12; the names of runs are in the table `run_aliases`.\n";
    text += "\nFunctions, beside those of DataFusion:\n";
    for (name, sentence) in FUNCTIONS {
        text += &format!("  {name}\n      {sentence}\n");
    }
    text += "\nThe convention of fpr95, aupr_in and aupr_out is DREAM-OOD's; 'openood' or 'pytorch-ood' as a \
             third argument names another. Of score and is_ood, rows with a null are left out; a group \
             without ID or without OOD samples has null.\n";
    text += "\nIn `scores`, `predicted` is -1 where it is not known what the network predicts: of features \
             without logits, and of imported scores without classes. A label does not say whether an image \
             counts as in-distribution, for sets under a covariate shift have labels too: `metrics` has an \
             `auroc` of each set beside those that do.\n";
    text += "\nAn example, the stored numbers of every run, score and set (of all images, where they were \
             measured on draws):\n";
    for line in METRICS_OF_SCORES.lines() {
        text += &format!("  {line}\n");
    }
    text
}
