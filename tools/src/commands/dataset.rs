//! `dream dataset add|ls|show`.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use dream_ood::dataset::Kind;
use dream_ood::query::datasets_batch;
use dream_ood::stage::{MODEL_KIND, register_images, register_model};

use super::Verdict;
use crate::args::Args;
use crate::output;
use crate::session::{Session, Usage};

/// Registers image sets and diffusion models, and lists them.
#[derive(Debug, Subcommand)]
pub enum Dataset {
    /// Registers the image set (or, with `--kind diffusers`, the diffusion model) at PATH under NAME
    Add {
        /// The name that runs and commands will use
        name: String,
        /// The file or folder
        path: PathBuf,
        /// The reader: idx, cifar, folder, parquet or diffusers; guessed without it
        #[arg(long)]
        kind: Option<String>,
    },
    /// Lists what is registered
    Ls,
    /// Shows one entry
    Show {
        /// Its name
        name: String,
    },
}

impl Dataset {
    pub fn execute(&self, args: &Args) -> Result<Verdict> {
        match self {
            Dataset::Add { name, path, kind } => add(args, name, path, kind.as_deref())?,
            Dataset::Ls => list(args, None)?,
            Dataset::Show { name } => list(args, Some(name))?,
        }
        Ok(Verdict::Good)
    }
}

fn add(args: &Args, name: &str, path: &std::path::Path, kind: Option<&str>) -> Result<()> {
    let path = path
        .canonicalize()
        .with_context(|| format!("{}", path.display()))?;
    let looks_like_model = path.join("model_index.json").is_file();
    let session = Session::writing(args)?;
    let source = match kind {
        Some(MODEL_KIND) => register_model(&session.store, name, &path)?,
        None if looks_like_model => register_model(&session.store, name, &path)?,
        Some(kind) => {
            let Some(kind) = Kind::from_name(kind) else {
                bail!(Usage(format!(
                    "--kind {kind}: expected idx, cifar, folder, parquet or {MODEL_KIND}"
                )));
            };
            register_images(&session.store, name, &path, Some(kind))?
        }
        None => register_images(&session.store, name, &path, None)?,
    };
    session.bars.say(&format!(
        "registered {} with the digest {:.12}",
        source.name(),
        source.digest()
    ));
    Ok(())
}

fn list(args: &Args, name: Option<&str>) -> Result<()> {
    let session = Session::reading(args)?;
    let sets = match name {
        Some(name) => vec![session.store.dataset(name)?],
        None => session.store.datasets()?,
    };
    output::batch(args.format, datasets_batch(&sets)?)
}
