//! `dream run FILE.toml`.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::Verdict;
use super::demo::{check, pipeline};
use super::stages::{all_is_well, read_preset};
use crate::globals::Globals;
use crate::session::{Session, Usage};
use crate::table;

/// Runs the whole pipeline from one preset file: what the store has already is not done again.
#[derive(Debug, clap::Args)]
pub struct RunFile {
    /// The preset: a .toml file, or the name of one that ships
    preset: String,
    /// Runs it with so many seeds: 0, 1, ...
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Writes the report; one that is there from before is replaced
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Says what is refused, or that all is well, and stops: nothing is read whole, registered or run
    #[arg(long)]
    check: bool,
}

impl RunFile {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        let preset = read_preset(globals, &self.preset)?;
        let Some(last) = self.seed.checked_add(self.seeds - 1) else {
            let (seed, seeds) = (self.seed, self.seeds);
            bail!(Usage(format!(
                "--seed {seed} --seeds {seeds}: the last seed would be above {}",
                u64::MAX
            )));
        };
        check(globals, &preset, last, self.report.as_deref())?;
        if self.check {
            return all_is_well(globals);
        }
        let session = Session::writing(globals)?;
        let evaluations = pipeline(&session, &preset, self.seed..=last)?;
        table::print(&session, &evaluations)?;
        if let Some(file) = &self.report {
            super::report::write(&session, &evaluations, file)?;
        }
        Ok(Verdict::Good)
    }
}
