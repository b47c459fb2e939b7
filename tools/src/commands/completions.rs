//! `dream completions SHELL`.

use anyhow::Result;

use super::{Cli, Verdict};
use crate::globals::Globals;
use crate::output;

/// Writes the completions of a shell to stdout.
#[derive(Debug, clap::Args)]
pub struct Completions {
    /// The shell
    shell: clap_complete::Shell,
}

impl Completions {
    pub fn execute(&self, _: &Globals) -> Result<Verdict> {
        // Into memory first: the generator panics where its output cannot be written.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::grammar(), "dream", &mut script);
        output::bytes(&script)?;
        Ok(Verdict::Good)
    }
}
