//! `dream completions SHELL`.

use anyhow::Result;
use clap::CommandFactory;

use super::Verdict;
use crate::args::Args;

/// Writes the completions of a shell to stdout.
#[derive(Debug, clap::Args)]
pub struct Completions {
    /// The shell
    shell: clap_complete::Shell,
}

impl Completions {
    pub fn execute(&self) -> Result<Verdict> {
        clap_complete::generate(self.shell, &mut Args::command(), "dream", &mut std::io::stdout());
        Ok(Verdict::Good)
    }
}
