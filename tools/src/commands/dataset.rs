//! `dream dataset add|ls|show`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use dream_ood::dataset::Kind;
use dream_ood::diffusion::Pipeline;
use dream_ood::query::datasets_batch;
use dream_ood::stage::{MODEL_KIND, register_images, register_model};

use super::Verdict;
use crate::args::Args;
use crate::output;
use crate::session::{Session, Usage};

/// Registers image sets and diffusion models, and lists them.
#[derive(Debug, Subcommand)]
pub enum Dataset {
    /// Registers the image set or diffusion model at PATH under NAME. A model is a folder in the diffusers layout, or one
    /// checkpoint file of Stable Diffusion 1.x (.safetensors, .ckpt)
    Add {
        /// The name that runs and commands will use
        name: String,
        /// The file or folder
        path: PathBuf,
        /// The reader: idx, cifar, folder, parquet or diffusers; guessed without it
        #[arg(long)]
        kind: Option<String>,
        /// The folder of a diffusion model's tokenizer, where it is neither in the model's folder nor beside its checkpoint file
        #[arg(long, value_name = "DIR")]
        tokenizer: Option<PathBuf>,
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
            Dataset::Add {
                name,
                path,
                kind,
                tokenizer,
            } => add(args, name, path, kind.as_deref(), tokenizer.as_deref())?,
            Dataset::Ls => list(args, None)?,
            Dataset::Show { name } => list(args, Some(name))?,
        }
        Ok(Verdict::Good)
    }
}

fn add(args: &Args, name: &str, path: &Path, kind: Option<&str>, tokenizer: Option<&Path>) -> Result<()> {
    let absolute = |path: &Path| path.canonicalize().with_context(|| path.display().to_string());
    let path = absolute(path)?;
    let tokenizer = tokenizer.map(absolute).transpose()?;
    let is_model = kind == Some(MODEL_KIND) || kind.is_none() && looks_like_model(&path);
    if tokenizer.is_some() && !is_model {
        bail!(Usage("--tokenizer: only a diffusion model has one".into()));
    }
    let session = Session::writing(args)?;
    let source = match kind {
        _ if is_model => register_model(&session.store, name, &path, tokenizer.as_deref())?,
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
    if is_model {
        let files: Vec<String> = Pipeline::weight_files(&path)
            .iter()
            .map(|f| name_in(f, &path))
            .collect();
        session.bars.say(&format!("weights: {}", files.join(", ")));
    }
    session.bars.say(&format!(
        "registered {} with the digest {:.12}",
        source.name(),
        source.digest()
    ));
    Ok(())
}

/// A folder in the diffusers layout, or a checkpoint file.
fn looks_like_model(path: &Path) -> bool {
    let checkpoint = ["safetensors", "ckpt"];
    path.join("model_index.json").is_file()
        || path.is_file()
            && path
                .extension()
                .is_some_and(|e| checkpoint.iter().any(|c| e.eq_ignore_ascii_case(c)))
}

/// A model's file, below the model's folder.
fn name_in(file: &Path, folder: &Path) -> String {
    let below = file
        .strip_prefix(folder)
        .ok()
        .filter(|below| !below.as_os_str().is_empty());
    below.unwrap_or(file).display().to_string()
}

fn list(args: &Args, name: Option<&str>) -> Result<()> {
    let session = Session::reading(args)?;
    let sets = match name {
        Some(name) => vec![session.store.dataset(name)?],
        None => session.store.datasets()?,
    };
    output::batch(args.format, datasets_batch(&sets)?)
}
