//! `dream dataset add|ls|show`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use dream_ood::ask;
use dream_ood::dataset::{Kind, Reading};
use dream_ood::diffusion;
use dream_ood::query::datasets_batch;
use dream_ood::stage::classes::{ClassRow, read_classes};
use dream_ood::stage::{
    ImageSource, MODEL_KIND, STATE_KIND, Source as _, register_images, register_model, register_state,
};
use dream_ood::store::Readable;

use super::Verdict;
use crate::args::Args;
use crate::output;
use crate::session::{Session, Usage};

/// Registers image sets, diffusion models and weights, and lists them.
#[derive(Debug, clap::Args)]
pub struct Dataset {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Registers the image set, the diffusion model or the weights of a network at PATH under NAME. A
    /// diffusion model is a folder in the diffusers layout, or one checkpoint file of Stable Diffusion 1.x
    /// (.safetensors, .ckpt)
    Add(Add),
    /// Lists what is registered
    Ls,
    /// Shows one entry
    Show {
        /// Its name
        name: String,
    },
}

/// The options of `dataset add`.
#[derive(Debug, clap::Args)]
pub struct Add {
    /// The name that runs and commands will use
    name: String,
    /// The file or folder
    path: PathBuf,
    /// The reader: idx, cifar-binary, cifar-python, image-folder, parquet, diffusers or state-dict; guessed
    /// without it
    #[arg(long)]
    kind: Option<String>,
    /// Of an image folder: takes the classes of this table only, from the directories that its column `wnid`
    /// names
    #[arg(long, value_name = "FILE.tsv")]
    classes: Option<PathBuf>,
    /// Leaves out images that cannot be decoded, and says which; without it, such an image is an error
    #[arg(long)]
    skip_bad: bool,
    /// The folder of a diffusion model's tokenizer, where it is neither in the model's folder nor beside its
    /// checkpoint file
    #[arg(long, value_name = "DIR")]
    tokenizer: Option<PathBuf>,
}

impl Dataset {
    pub fn execute(&self, args: &Args) -> Result<Verdict> {
        match &self.action {
            Action::Add(options) => add(args, options)?,
            Action::Ls => list(args, None)?,
            Action::Show { name } => list(args, Some(name))?,
        }
        Ok(Verdict::Good)
    }
}

fn add(args: &Args, options: &Add) -> Result<()> {
    let Add { name, path, .. } = options;
    let absolute = |path: &Path| path.canonicalize().with_context(|| path.display().to_string());
    let path = absolute(path)?;
    let tokenizer = options.tokenizer.as_deref().map(absolute).transpose()?;
    let kind = options.kind.as_deref().or(ask::guess_kind(&path));
    if tokenizer.is_some() && kind != Some(MODEL_KIND) {
        bail!(Usage("--tokenizer: only a diffusion model has one".into()));
    }
    let of_images = options.classes.is_some() || options.skip_bad;
    let session = Session::writing(args)?;
    let entry = match kind {
        Some(MODEL_KIND | STATE_KIND) if of_images => {
            bail!(Usage(format!(
                "--classes and --skip-bad are for image sets; {} is none",
                path.display()
            )));
        }
        Some(MODEL_KIND) => register_model(&session.store, name, &path, tokenizer.as_deref())?
            .entry()
            .clone(),
        Some(STATE_KIND) => register_state(&session.store, Some(name), &path)?.entry().clone(),
        kind => {
            let reading = Reading {
                kind: kind.map(image_kind).transpose()?,
                classes: match &options.classes {
                    Some(table) => read_classes(table)?.iter().map(ClassRow::class_folder).collect(),
                    None => Vec::new(),
                },
                skip_bad: options.skip_bad,
            };
            register_images(&session.store, name, &path, &reading)?
                .entry()
                .clone()
        }
    };
    if kind == Some(MODEL_KIND) {
        let files: Vec<String> = diffusion::weight_files(&path)
            .iter()
            .map(|f| name_in(f, &path))
            .collect();
        session.bars.say(&format!("weights: {}", files.join(", ")));
    }
    session.bars.say(&format!(
        "registered {} with the digest {:.12}",
        entry.name, entry.digest
    ));
    let Ok(source) = ImageSource::of(entry) else {
        return Ok(());
    };
    for split in source.splits() {
        for bad in source.left_out(split) {
            session
                .bars
                .say(&format!("  left out of {split}: {} ({})", bad.name, bad.reason));
        }
        if !source.left_out(split).is_empty() {
            session.bars.say(&source.say_left_out(split));
        }
    }
    Ok(())
}

/// A model's file, below the model's folder.
fn name_in(file: &Path, folder: &Path) -> String {
    let below = file
        .strip_prefix(folder)
        .ok()
        .filter(|below| !below.as_os_str().is_empty());
    below.unwrap_or(file).display().to_string()
}

fn image_kind(name: &str) -> Result<Kind> {
    let names = || Kind::ALL.map(Kind::name).join(", ");
    let unknown = || {
        Usage(format!(
            "--kind {name}: expected {}, {MODEL_KIND} or {STATE_KIND}",
            names()
        ))
    };
    Ok(Kind::from_name(name).ok_or_else(unknown)?)
}

fn list(args: &Args, name: Option<&str>) -> Result<()> {
    let session = Session::reading(args)?;
    let sets = match name {
        Some(name) => vec![session.store.dataset(name)?],
        None => session.store.datasets()?,
    };
    if name.is_some() {
        for (split, bad) in sets.iter().flat_map(|set| &set.skipped).flatten() {
            for image in bad {
                session
                    .bars
                    .say(&format!("left out of {split}: {} ({})", image.name, image.reason));
            }
        }
    }
    output::batch(args.format, datasets_batch(&sets)?)
}
