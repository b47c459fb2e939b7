//! The diffusers layout: a folder for each part, each with its `config.json`.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Configs, Plan, PlannedWeights, read_tokenizer, variants};
use crate::diffusion::PartKind;
use crate::diffusion::error::{DiffusionError, Result};
use crate::diffusion::folder::Folder;
use crate::diffusion::scheduler::SchedulerConfig;
use crate::diffusion::weights;

/// Files that a part of a model, or a LoRA, has in its folder.
const PART_FILES: [&str; 7] = [
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.fp16.safetensors",
    "diffusion_pytorch_model.bin",
    "pytorch_lora_weights.safetensors",
    "adapter_model.safetensors",
    "model.safetensors",
    "pytorch_model.bin",
];

/// `model_index.json`: each part's library and class.
#[derive(Deserialize)]
struct ModelIndex {
    text_encoder: (String, String),
    unet: (String, String),
    vae: (String, String),
}

pub(super) fn plan(root: &Path, tokenizer: Option<PathBuf>) -> Result<Plan> {
    let mut folder = Folder::new(root, tokenizer);
    if let Some(kind) = part(&folder) {
        let path = root.to_path_buf();
        return Err(DiffusionError::Part { path, kind });
    }
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

/// What a folder without `model_index.json` holds, where that is a part of a model.
fn part(folder: &Folder) -> Option<PartKind> {
    if folder.holds_model() {
        return None;
    }
    let file = PART_FILES.into_iter().find(|name| folder.has(name))?;
    let file = weights::open(&folder.path(file)).ok()?;
    PartKind::of(file.names().collect::<Vec<_>>().into_iter())
}

/// Says whether a folder holds weights as a part of a model has them.
pub(crate) fn holds_part(root: &Path) -> bool {
    let folder = Folder::new(root, None);
    !folder.holds_model() && PART_FILES.iter().any(|name| folder.has(name))
}
