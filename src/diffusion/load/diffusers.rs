//! The diffusers layout: a folder for each part, each with its `config.json`.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Configs, Plan, PlannedWeights, read_tokenizer, variants};
use crate::diffusion::error::{DiffusionError, Result};
use crate::diffusion::folder::Folder;
use crate::diffusion::scheduler::SchedulerConfig;

/// `model_index.json`: each part's library and class.
#[derive(Deserialize)]
struct ModelIndex {
    text_encoder: (String, String),
    unet: (String, String),
    vae: (String, String),
}

pub(super) fn plan(root: &Path, tokenizer: Option<PathBuf>) -> Result<Plan> {
    let mut folder = Folder::new(root, tokenizer);
    let index: ModelIndex = folder.json("model_index.json")?;
    for (key, (_, found), supported) in [
        ("text_encoder", index.text_encoder, "CLIPTextModel"),
        ("unet", index.unet, "UNet2DConditionModel"),
        ("vae", index.vae, "AutoencoderKL"),
    ] {
        if found != supported {
            return Err(DiffusionError::Unsupported {
                path: folder.path("model_index.json"),
                key: key.into(),
                found,
                supported,
            });
        }
    }
    let names = ["text_encoder/config.json", "unet/config.json", "vae/config.json"];
    let configs = Configs {
        text: folder.json(names[0])?,
        unet: folder.json(names[1])?,
        vae: folder.json(names[2])?,
    };
    let paths = names.map(|name| folder.path(name));
    configs.check([&paths[0], &paths[1], &paths[2]])?;
    let scheduler: SchedulerConfig = folder.json("scheduler/scheduler_config.json")?;
    let schedule = scheduler
        .for_latents()
        .schedule(&folder.path("scheduler/scheduler_config.json"))?;
    let tokenizer = read_tokenizer(&mut folder, &configs.text)?;
    let weights = PlannedWeights::Apart([
        variants::open(&mut folder, variants::TEXT)?,
        variants::open(&mut folder, variants::UNET)?,
        variants::open(&mut folder, variants::VAE)?,
    ]);
    Ok(Plan {
        folder,
        configs,
        tokenizer,
        schedule,
        weights,
    })
}
