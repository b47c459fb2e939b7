//! Which of its possible files holds a part's weights.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::diffusion::error::{DiffusionError, Result};
use crate::diffusion::folder::Folder;
use crate::diffusion::weights::{self, PartFiles};

/// A part of the model: its folder, and what its files are called.
#[derive(Clone, Copy)]
pub(super) struct Part {
    folder: &'static str,
    safetensors: &'static str,
    pickle: &'static str,
}

pub(super) const TEXT: Part = Part {
    folder: "text_encoder",
    safetensors: "model",
    pickle: "pytorch_model",
};
pub(super) const UNET: Part = Part {
    folder: "unet",
    safetensors: "diffusion_pytorch_model",
    pickle: "diffusion_pytorch_model",
};
pub(super) const VAE: Part = Part {
    folder: "vae",
    ..UNET
};

/// What diffusers calls a variant. The plain one comes first, in whatever format it is: the others are the
/// same weights rounded, or from before they were averaged.
const VARIANTS: [&str; 4] = ["", ".fp16", ".bf16", ".non_ema"];

/// `*.index.json`: which of several files each tensor is in.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Returns the name of the part's weights file, or of the index of several. The first where there is none.
pub(super) fn choose(folder: &Folder, part: Part) -> String {
    let names = VARIANTS.iter().flat_map(|variant| {
        let Part {
            folder,
            safetensors,
            pickle,
        } = part;
        [
            format!("{folder}/{safetensors}{variant}.safetensors"),
            format!("{folder}/{safetensors}.safetensors.index{variant}.json"),
            format!("{folder}/{pickle}{variant}.bin"),
            format!("{folder}/{pickle}.bin.index{variant}.json"),
        ]
    });
    let names: Vec<String> = names.collect();
    let present = names.iter().find(|name| folder.has(name));
    present.or(names.first()).cloned().unwrap_or_default()
}

/// Opens the part's weights and counts them in the folder's digest.
pub(super) fn open(folder: &mut Folder, part: Part) -> Result<PartFiles> {
    let name = choose(folder, part);
    let label = folder.path(&name);
    if !name.ends_with(".json") {
        folder.count(&name, &label);
        let files = vec![weights::open(&label)?];
        return Ok(PartFiles { label, files });
    }
    let index: Index = folder.json(&name)?;
    let wrong = |message: String| DiffusionError::Config {
        path: label.clone(),
        message,
    };
    let mut files = Vec::new();
    for shard in index.weight_map.values().collect::<BTreeSet<_>>() {
        if shard.contains(['/', '\\']) || shard == ".." {
            return Err(wrong(format!(
                "weight_map names {shard:?}, which is no file beside it"
            )));
        }
        let name = format!("{}/{shard}", part.folder);
        let path = folder.path(&name);
        folder.count(&name, &path);
        let file = weights::open(&path)?;
        let listed = index.weight_map.iter().filter(|(_, s)| *s == shard);
        if let Some((tensor, _)) = listed.into_iter().find(|(t, _)| file.shape(t).is_none()) {
            return Err(wrong(format!(
                "tensor `{tensor}` should be in {shard}, but is not"
            )));
        }
        files.push(file);
    }
    Ok(PartFiles { label, files })
}
