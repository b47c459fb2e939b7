//! The original layout: one file with all weights. Configuration and tokenizer are taken from beside it: a
//! folder `tokenizer` (or its files), and, where the model is not quite Stable Diffusion 1,
//! `unet/config.json`, `vae/config.json`, `text_encoder/config.json` and `scheduler/scheduler_config.json` as
//! in the diffusers layout. What is not there is read off the tensors' shapes.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::{Configs, Plan, PlannedWeights, read_tokenizer};
use crate::diffusion::PartKind;
use crate::diffusion::compvis;
use crate::diffusion::error::{DiffusionError, Result};
use crate::diffusion::folder::Folder;
use crate::diffusion::scheduler::SchedulerConfig;
use crate::diffusion::tokenizer::Tokenizer;
use crate::diffusion::weights::{self, PartFiles, refuse_leftovers};

/// The checkpoint's name in the digest, wherever it lies.
const NAME: &str = "checkpoint";

pub(super) fn plan(path: &Path, tokenizer: Option<PathBuf>) -> Result<Plan> {
    let file = weights::open(path)?;
    if let Some(kind) = PartKind::of(file.names().collect::<Vec<_>>().into_iter()) {
        let path = path.to_path_buf();
        return Err(DiffusionError::Part { path, kind });
    }
    let beside = path.parent().unwrap_or(Path::new(""));
    let tokenizer = match tokenizer {
        Some(folder) => folder,
        None => [beside.join("tokenizer"), beside.to_path_buf()]
            .into_iter()
            .find(|folder| Tokenizer::is_in(folder))
            .ok_or_else(|| DiffusionError::NoTokenizer {
                path: path.to_path_buf(),
                searched: beside.join("tokenizer"),
            })?,
    };
    let mut folder = Folder::new(beside, Some(tokenizer));
    folder.count(NAME, path);
    let shapes = |name: &str| file.shape(name).map(<[usize]>::to_vec);
    let (text_path, text) = config(&mut folder, path, "text_encoder/config.json", || {
        compvis::text(path, &shapes)
    })?;
    let (unet_path, unet) = config(&mut folder, path, "unet/config.json", || {
        compvis::unet(path, &shapes)
    })?;
    let (vae_path, vae) = config(&mut folder, path, "vae/config.json", || {
        compvis::vae(path, &shapes)
    })?;
    let configs = Configs { text, unet, vae };
    configs.check([&text_path, &unet_path, &vae_path])?;
    let (scheduler_path, scheduler): (_, SchedulerConfig) =
        config(&mut folder, path, "scheduler/scheduler_config.json", || {
            compvis::scheduler(path)
        })?;
    let schedule = scheduler.for_latents().schedule(&scheduler_path)?;
    let tokenizer = read_tokenizer(&mut folder, &configs.text)?;
    let files = [file];
    refuse_leftovers(path, &files, |name| {
        compvis::PREFIXES.iter().any(|p| name.starts_with(p)) || compvis::is_harmless(name)
    })?;
    Ok(Plan {
        folder,
        configs,
        tokenizer,
        schedule,
        weights: PlannedWeights::Together(PartFiles {
            label: path.to_path_buf(),
            files: files.into(),
        }),
    })
}

/// The configuration `name` beside the checkpoint or, where there is none, the one `inferred`; and where it
/// comes from.
fn config<T: DeserializeOwned>(
    folder: &mut Folder,
    path: &Path,
    name: &str,
    inferred: impl FnOnce() -> Result<T>,
) -> Result<(PathBuf, T)> {
    Ok(match folder.json_if_present(name)? {
        Some(config) => (folder.path(name), config),
        None => (path.to_path_buf(), inferred()?),
    })
}
