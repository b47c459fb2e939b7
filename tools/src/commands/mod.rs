//! The commands, one file each: its options and what it does.

use anyhow::Result;
use clap::Subcommand;

use crate::args::Args;

mod completions;
mod dataset;
mod demo;
mod diff;
mod export;
mod import;
mod lineage;
mod list;
mod nearest;
mod query;
mod regenerate;
mod report;
mod reproduce;
mod run;
mod show;
#[cfg(feature = "sql")]
mod sql;
mod stages;
mod upkeep;

/// What a command found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Done, and nothing is wrong: exit code 0.
    Good,
    /// A check found something: exit code 1.
    Found,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the whole pipeline on the bundled data and model, then writes the report
    Demo(demo::Demo),
    /// Runs the whole pipeline from one file
    Run(run::RunFile),
    /// Registers image sets and diffusion models, and lists them
    #[command(subcommand)]
    Dataset(dataset::Dataset),
    /// Stage 1: reads the class embeddings off the text encoder
    Embed(stages::Embed),
    /// Stage 2: trains the text-conditioned encoder and stores the ID features
    Encode(stages::Encode),
    /// Stage 3: samples outlier embeddings
    Sample(stages::Sample),
    /// Stage 4: decodes outlier embeddings into pictures
    Imagine(stages::Imagine),
    /// Stage 5: trains the classifier, with and without the outlier loss
    Detect(stages::Detect),
    /// Stage 6: scores the test sets and prints the detection table
    Evaluate(stages::Evaluate),
    /// Lists the runs
    Ls(list::Ls),
    /// Shows a run, or finds the run of a generated picture
    Show(show::Show),
    /// Shows what a run came from
    Lineage(lineage::Lineage),
    /// Shows how two runs differ
    Diff(diff::Diff),
    /// Shows rows of a table
    Query(query::Query),
    /// Answers an SQL query
    #[cfg(feature = "sql")]
    Sql(sql::Sql),
    /// Finds the nearest neighbours of a stored vector
    Nearest(nearest::Nearest),
    /// Writes a table, pictures or a checkpoint to files
    Export(export::Export),
    /// Reads rows of a table from a file
    Import(import::Import),
    /// Decodes stored latents again and compares the pictures with the stored ones
    Regenerate(regenerate::Regenerate),
    /// Executes a run again aside and compares the digests
    Reproduce(reproduce::Reproduce),
    /// Writes pictures, plots and numbers of a run and its lineage as one HTML page
    Report(report::Report),
    /// Checks every stored byte and every digest
    Verify(upkeep::Verify),
    /// Removes what no run needs
    Gc(upkeep::Gc),
    /// Shows what takes how much room
    Du(upkeep::Du),
    /// Takes in the runs of other stores
    Merge(upkeep::Merge),
    /// Writes the completions of a shell
    Completions(completions::Completions),
}

/// Executes the command.
pub fn dispatch(args: &Args) -> Result<Verdict> {
    match &args.command {
        Command::Demo(c) => c.execute(args),
        Command::Run(c) => c.execute(args),
        Command::Dataset(c) => c.execute(args),
        Command::Embed(c) => c.execute(args),
        Command::Encode(c) => c.execute(args),
        Command::Sample(c) => c.execute(args),
        Command::Imagine(c) => c.execute(args),
        Command::Detect(c) => c.execute(args),
        Command::Evaluate(c) => c.execute(args),
        Command::Ls(c) => c.execute(args),
        Command::Show(c) => c.execute(args),
        Command::Lineage(c) => c.execute(args),
        Command::Diff(c) => c.execute(args),
        Command::Query(c) => c.execute(args),
        #[cfg(feature = "sql")]
        Command::Sql(c) => c.execute(args),
        Command::Nearest(c) => c.execute(args),
        Command::Export(c) => c.execute(args),
        Command::Import(c) => c.execute(args),
        Command::Regenerate(c) => c.execute(args),
        Command::Reproduce(c) => c.execute(args),
        Command::Report(c) => c.execute(args),
        Command::Verify(c) => c.execute(args),
        Command::Gc(c) => c.execute(args),
        Command::Du(c) => c.execute(args),
        Command::Merge(c) => c.execute(args),
        Command::Completions(c) => c.execute(),
    }
}
