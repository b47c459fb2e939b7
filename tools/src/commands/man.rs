//! `dream man DIR`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use dream_ood::exchange::{ExchangeError, Target, write_file};

use super::{Cli, Verdict};
use crate::globals::Globals;
use crate::output;

/// Writes a man page for every command into a folder: `man -l DIR/dream.1` shows one, `man dream` if the
/// folder is `share/man/man1` below a folder whose `bin` is on the path.
#[derive(Debug, clap::Args)]
pub struct Man {
    /// The folder, made if it is not there
    folder: PathBuf,
    /// Replaces pages that are there
    #[arg(long)]
    force: bool,
}

impl Man {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        let mut program = Cli::grammar();
        program.build();
        let mut pages = Vec::new();
        gather(&program, "dream", &self.folder, &mut pages)?;
        let taken = pages.iter().find(|(path, _)| path.exists());
        if let Some((path, _)) = taken.filter(|_| !self.force) {
            return Err(ExchangeError::Exists { path: path.clone() }.into());
        }
        std::fs::create_dir_all(&self.folder).with_context(|| self.folder.display().to_string())?;
        for (path, page) in &pages {
            write_file(&Target::new(path).overwrite(self.force), page)?;
        }
        if !globals.quiet {
            output::aside(format_args!("{} pages in {}", pages.len(), self.folder.display()));
        }
        Ok(Verdict::Good)
    }
}

/// Adds the pages of a command, `name` with hyphens, and of those below it.
fn gather(
    command: &clap::Command,
    name: &str,
    folder: &Path,
    pages: &mut Vec<(PathBuf, Vec<u8>)>,
) -> Result<()> {
    let mut page = Vec::new();
    let title = command.clone().display_name(name.to_owned());
    clap_mangen::Man::new(title).render(&mut page)?;
    pages.push((folder.join(format!("{name}.1")), page));
    let below = command
        .get_subcommands()
        .filter(|below| below.get_name() != "help");
    below
        .into_iter()
        .try_for_each(|below| gather(below, &format!("{name}-{}", below.get_name()), folder, pages))
}
