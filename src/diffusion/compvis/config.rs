//! The configuration of a single-file checkpoint. It has none; widths, levels and layers are read off the
//! shapes of its tensors. What shapes do not tell is as in Stable Diffusion 1's own `v1-inference.yaml`: 8
//! heads in the UNet, 64 channels a head in the text encoder, groups of normalisation 32, pictures of
//! 512x512, the scaled-linear schedule.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::names::{TEXT, UNET, VAE};
use crate::diffusion::config::{TextConfig, UnetConfig, VaeConfig};
use crate::diffusion::error::{DiffusionError, Result};
use crate::diffusion::scheduler::SchedulerConfig;

/// The shape of a tensor by its name in the file, if it is there.
pub(crate) type Shapes<'a> = &'a dyn Fn(&str) -> Option<Vec<usize>>;

/// Pixels of the pictures that Stable Diffusion 1 was trained on, each way.
const IMAGE: usize = 512;

struct Reader<'a> {
    path: &'a Path,
    shapes: Shapes<'a>,
    prefix: &'static str,
}

impl Reader<'_> {
    fn has(&self, name: &str) -> bool {
        (self.shapes)(&format!("{}{name}", self.prefix)).is_some()
    }

    /// The size of a tensor in one dimension.
    fn size(&self, name: &str, dimension: usize) -> Result<usize> {
        let name = format!("{}{name}", self.prefix);
        let Some(shape) = (self.shapes)(&name) else {
            return Err(self.wrong(format!(
                "there is no tensor `{name}`: this is no whole checkpoint of Stable Diffusion 1.x"
            )));
        };
        shape
            .get(dimension)
            .copied()
            .ok_or_else(|| DiffusionError::Config {
                path: self.path.to_path_buf(),
                message: format!("tensor `{name}` of shape {shape:?} has no dimension {dimension}"),
            })
    }

    fn wrong(&self, message: String) -> DiffusionError {
        DiffusionError::Config {
            path: self.path.to_path_buf(),
            message,
        }
    }

    fn parse<T: DeserializeOwned>(&self, config: Value) -> Result<T> {
        serde_json::from_value(config).map_err(|e| self.wrong(e.to_string()))
    }
}

/// Reads the UNet's configuration off its tensors.
pub(crate) fn unet(path: &Path, shapes: Shapes) -> Result<UnetConfig> {
    let reader = Reader {
        path,
        shapes,
        prefix: UNET,
    };
    // For each level: channels, residual blocks, whether they attend.
    let mut levels: Vec<(usize, usize, bool)> = Vec::new();
    let mut starts = true;
    let mut context = None;
    for block in 1.. {
        let block = format!("input_blocks.{block}");
        if reader.has(&format!("{block}.0.op.weight")) {
            starts = true;
            continue;
        }
        let conv = format!("{block}.0.in_layers.2.weight");
        if !reader.has(&conv) {
            break;
        }
        let channels = reader.size(&conv, 0)?;
        let key = format!("{block}.1.transformer_blocks.0.attn2.to_k.weight");
        let attends = reader.has(&key);
        if attends {
            context = Some(reader.size(&key, 1)?);
        }
        match levels.last_mut() {
            Some((_, layers, _)) if !starts => *layers += 1,
            _ => levels.push((channels, 1, attends)),
        }
        starts = false;
    }
    let layers = levels.first().map_or(0, |l| l.1);
    let (Some(context), true) = (context, layers > 0 && levels.iter().all(|l| l.1 == layers)) else {
        return Err(reader.wrong(format!(
            "the UNet's tensors are not those of Stable Diffusion 1: its levels (channels, layers, \
             attention) are {levels:?}"
        )));
    };
    let kinds = |way: &str| -> Vec<String> {
        let kind = |l: &(usize, usize, bool)| format!("{}{way}Block2D", if l.2 { "CrossAttn" } else { "" });
        levels.iter().map(kind).collect()
    };
    let up: Vec<String> = kinds("Up").into_iter().rev().collect();
    let scale = 1 << (IMAGE.ilog2() - 6); // latents of 64x64
    reader.parse(json!({
        "sample_size": IMAGE / scale,
        "in_channels": reader.size("input_blocks.0.0.weight", 1)?,
        "out_channels": reader.size("out.2.weight", 0)?,
        "down_block_types": kinds("Down"),
        "up_block_types": up,
        "block_out_channels": levels.iter().map(|l| l.0).collect::<Vec<_>>(),
        "layers_per_block": layers,
        "norm_num_groups": 32,
        "cross_attention_dim": context,
        "attention_head_dim": 8,
    }))
}

/// Reads the autoencoder's configuration off its tensors.
pub(crate) fn vae(path: &Path, shapes: Shapes) -> Result<VaeConfig> {
    let reader = Reader {
        path,
        shapes,
        prefix: VAE,
    };
    let conv = |level: usize, block: usize| format!("encoder.down.{level}.block.{block}.conv1.weight");
    let levels = (0..).take_while(|level| reader.has(&conv(*level, 0))).count();
    let layers = (0..).take_while(|block| reader.has(&conv(0, *block))).count();
    let channels = (0..levels)
        .map(|level| reader.size(&conv(level, 0), 0))
        .collect::<Result<Vec<_>>>()?;
    reader.parse(json!({
        "in_channels": reader.size("encoder.conv_in.weight", 1)?,
        "out_channels": reader.size("decoder.conv_out.weight", 0)?,
        "latent_channels": reader.size("post_quant_conv.weight", 0)?,
        "block_out_channels": channels,
        "layers_per_block": layers,
        "norm_num_groups": 32,
        "scaling_factor": 0.18215,
        "mid_block_add_attention": reader.has("encoder.mid.attn_1.q.weight"),
        "sample_size": IMAGE,
    }))
}

/// Reads the text encoder's configuration off its tensors.
pub(crate) fn text(path: &Path, shapes: Shapes) -> Result<TextConfig> {
    let mut reader = Reader {
        path,
        shapes,
        prefix: TEXT,
    };
    let token = "embeddings.token_embedding.weight";
    if !reader.has(token) {
        reader.prefix = "cond_stage_model.transformer.text_model.";
    }
    let other = |prefix: &str| {
        let has = |name: &str| shapes(&format!("{prefix}{name}")).is_some();
        has("token_embedding.weight") || has("0.transformer.text_model.embeddings.token_embedding.weight")
    };
    if !reader.has(token) && (other("cond_stage_model.model.") || other("conditioner.embedders.")) {
        return Err(DiffusionError::Unsupported {
            path: path.to_path_buf(),
            key: "text encoder".into(),
            found: "that of Stable Diffusion 2 or XL".into(),
            supported: "Stable Diffusion 1.x (CLIP ViT-L/14)",
        });
    }
    let width = reader.size(token, 1)?;
    let up = |layer: usize| format!("encoder.layers.{layer}.mlp.fc1.weight");
    let layers = (0..).take_while(|layer| reader.has(&up(*layer))).count();
    reader.parse(json!({
        "vocab_size": reader.size(token, 0)?,
        "hidden_size": width,
        "intermediate_size": reader.size(&up(0), 0)?,
        "num_hidden_layers": layers,
        "num_attention_heads": (width / 64).max(1),
        "max_position_embeddings": reader.size("embeddings.position_embedding.weight", 0)?,
    }))
}

/// Returns the noise schedule of Stable Diffusion 1.
pub(crate) fn scheduler(path: &Path) -> Result<SchedulerConfig> {
    let reader = Reader {
        path,
        shapes: &|_| None,
        prefix: "",
    };
    reader.parse(json!({
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "set_alpha_to_one": false,
        "skip_prk_steps": true,
        "steps_offset": 1,
        "clip_sample": false,
    }))
}
