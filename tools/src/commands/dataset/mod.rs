//! `dream dataset add|ls|show|rename|rm`.

mod add;
mod change;

use anyhow::Result;
use clap::Subcommand;
use dream_ood::query::datasets_batch;
use dream_ood::store::Readable;

use super::Verdict;
use crate::globals::Globals;
use crate::output;
use crate::session::Session;

/// Registers image sets, diffusion models and weights, and lists, renames and forgets them.
#[derive(Debug, clap::Args)]
pub struct Dataset {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Registers the image set, the diffusion model or the weights of a network at PATH under NAME.
    ///
    /// Image sets are folders of PNG, JPEG, WebP, BMP or PNM files (SPLIT/CLASS/*, CLASS/*, or * without
    /// labels), archives of such folders (.tar, .tar.gz, .zip), shards of WebDataset (one .tar or a folder
    /// of them), Parquet files and repositories of Hugging Face, Arrow files (what its save_to_disk writes,
    /// a set in its cache), IDX (MNIST), CIFAR (binary or Python), NumPy arrays (.npz, or a folder of
    /// .npy), SVHN (.mat), STL-10 (binary), downsampled ImageNet (ImageNet32, pickles or .npz), Tiny
    /// ImageNet as unzipped, or what lists of OpenOOD name (--list). A diffusion model is a folder in the
    /// diffusers layout, or one checkpoint file of Stable Diffusion 1.x (.safetensors, .ckpt). Weights of a
    /// network are a state dict of PyTorch or safetensors
    Add(add::Add),
    /// Lists what is registered
    Ls,
    /// Shows one entry
    Show {
        /// Its name
        name: String,
    },
    /// Gives an entry another name; runs find it by its digest
    Rename {
        /// Its name
        name: String,
        /// The name that it gets
        new: String,
    },
    /// Forgets an entry; the files stay where they are. Without --yes it shows what would be forgotten, and
    /// which runs read from it; the exit code is then 1
    Rm {
        /// Its name
        name: String,
        /// Forgets it
        #[arg(long)]
        yes: bool,
    },
}

impl Dataset {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        match &self.action {
            Action::Add(options) => options.execute(globals)?,
            Action::Ls => list(globals, None)?,
            Action::Show { name } => list(globals, Some(name))?,
            Action::Rename { name, new } => change::rename(globals, name, new)?,
            Action::Rm { name, yes } => return change::remove(globals, name, *yes),
        }
        Ok(Verdict::Good)
    }
}

fn list(globals: &Globals, name: Option<&str>) -> Result<()> {
    let session = Session::reading(globals)?;
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
    output::batch(globals.format, datasets_batch(&sets)?)
}
