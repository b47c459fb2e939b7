//! `dream verify`, `gc`, `du` and `merge`: care of the store.

use std::path::PathBuf;

use anyhow::Result;
use dream_ood::stage::Progress as _;
use dream_ood::store::Store;

use super::Verdict;
use crate::args::Args;
use crate::output;
use crate::session::Session;

/// Checks every stored byte and every digest. Exit code 1 if something is wrong.
#[derive(Debug, clap::Args)]
pub struct Verify {}

/// Removes blobs and rows that no run needs. Shows them first; removes only with --yes.
#[derive(Debug, clap::Args)]
pub struct Gc {
    /// Removes what is shown
    #[arg(long)]
    yes: bool,
}

/// Shows what takes how much room.
#[derive(Debug, clap::Args)]
pub struct Du {}

/// Takes in the runs of other stores: shards of one run become one, runs that are there already are compared.
#[derive(Debug, clap::Args)]
pub struct Merge {
    /// The other stores
    #[arg(required = true)]
    files: Vec<PathBuf>,
}
