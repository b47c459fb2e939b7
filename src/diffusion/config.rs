//! The `config.json` files of the diffusers layout. Keys that change the arithmetic in a way that is not done here are
//! refused by name; all others are ignored.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::error::{DiffusionError, Result};

/// `text_encoder/config.json` (transformers' `CLIPTextConfig`).
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct TextConfig {
    pub(crate) vocab_size: usize,
    pub(crate) hidden_size: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) num_hidden_layers: usize,
    pub(crate) num_attention_heads: usize,
    pub(crate) max_position_embeddings: usize,
    #[serde(default = "quick_gelu")]
    pub(crate) hidden_act: String,
    #[serde(default = "epsilon_5")]
    pub(crate) layer_norm_eps: f64,
}

/// `unet/config.json` (diffusers' `UNet2DConditionModel`).
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct UnetConfig {
    #[serde(default)]
    pub(crate) sample_size: Option<usize>,
    pub(crate) in_channels: usize,
    pub(crate) out_channels: usize,
    pub(crate) down_block_types: Vec<String>,
    pub(crate) up_block_types: Vec<String>,
    pub(crate) block_out_channels: Vec<usize>,
    #[serde(default = "two")]
    pub(crate) layers_per_block: usize,
    #[serde(default = "thirty_two")]
    pub(crate) norm_num_groups: usize,
    #[serde(default = "epsilon_5")]
    pub(crate) norm_eps: f64,
    pub(crate) cross_attention_dim: usize,
    /// In Stable Diffusion 1.x this is, against its name, the *number* of heads.
    #[serde(default = "eight")]
    attention_head_dim: OneOrMany,
    #[serde(default)]
    num_attention_heads: Option<OneOrMany>,
    #[serde(default = "yes")]
    pub(crate) flip_sin_to_cos: bool,
    #[serde(default)]
    pub(crate) freq_shift: f64,
    #[serde(flatten)]
    rest: serde_json::Map<String, Value>,
}

/// `vae/config.json` (diffusers' `AutoencoderKL`).
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct VaeConfig {
    pub(crate) in_channels: usize,
    pub(crate) out_channels: usize,
    pub(crate) latent_channels: usize,
    pub(crate) block_out_channels: Vec<usize>,
    #[serde(default = "one")]
    pub(crate) layers_per_block: usize,
    #[serde(default = "thirty_two")]
    pub(crate) norm_num_groups: usize,
    #[serde(default = "default_scaling")]
    pub(crate) scaling_factor: f64,
    #[serde(default = "yes")]
    pub(crate) mid_block_add_attention: bool,
    #[serde(default)]
    pub(crate) sample_size: Option<usize>,
    #[serde(flatten)]
    rest: serde_json::Map<String, Value>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(usize),
    Many(Vec<usize>),
}

fn quick_gelu() -> String {
    "quick_gelu".into()
}
fn epsilon_5() -> f64 {
    1e-5
}
fn default_scaling() -> f64 {
    0.18215
}
fn eight() -> OneOrMany {
    OneOrMany::One(8)
}
fn one() -> usize {
    1
}
fn two() -> usize {
    2
}
fn thirty_two() -> usize {
    32
}
fn yes() -> bool {
    true
}

fn unsupported(path: &Path, key: &str, found: impl ToString, supported: &'static str) -> DiffusionError {
    DiffusionError::Unsupported {
        path: path.to_path_buf(),
        key: key.into(),
        found: found.to_string(),
        supported,
    }
}

fn wrong(path: &Path, message: String) -> DiffusionError {
    DiffusionError::Config {
        path: path.to_path_buf(),
        message,
    }
}

/// Refuses every key of `rules` that is present with a value other than null or those listed.
fn refuse(
    path: &Path,
    rest: &serde_json::Map<String, Value>,
    rules: &[(&'static str, &[Value], &'static str)],
) -> Result<()> {
    for (key, allowed, supported) in rules {
        if let Some(value) = rest.get(*key)
            && !value.is_null()
            && !allowed.contains(value)
        {
            return Err(unsupported(path, key, value, supported));
        }
    }
    Ok(())
}

fn positive(path: &Path, fields: &[(&str, usize)]) -> Result<()> {
    match fields.iter().find(|(_, value)| *value == 0) {
        Some((key, _)) => Err(wrong(path, format!("{key} is 0"))),
        None => Ok(()),
    }
}

fn groups_divide(path: &Path, channels: &[usize], groups: usize) -> Result<()> {
    match channels.iter().find(|c| **c == 0 || *c % groups != 0) {
        Some(c) => Err(wrong(
            path,
            format!("norm_num_groups = {groups} does not divide block_out_channels' {c}"),
        )),
        None => Ok(()),
    }
}

impl TextConfig {
    pub(crate) fn check(&self, path: &Path) -> Result<()> {
        positive(
            path,
            &[
                ("vocab_size", self.vocab_size),
                ("hidden_size", self.hidden_size),
                ("intermediate_size", self.intermediate_size),
                ("num_attention_heads", self.num_attention_heads),
                ("max_position_embeddings", self.max_position_embeddings),
            ],
        )?;
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let message = format!(
                "{} heads do not divide hidden_size {}",
                self.num_attention_heads, self.hidden_size
            );
            return Err(wrong(path, message));
        }
        match self.hidden_act.as_str() {
            "quick_gelu" | "gelu" => Ok(()),
            other => Err(unsupported(path, "hidden_act", other, "quick_gelu, gelu")),
        }
    }
}

impl UnetConfig {
    pub(crate) fn check(&self, path: &Path) -> Result<()> {
        let no = Value::Bool(false);
        let text = |s: &str| Value::String(s.into());
        refuse(
            path,
            &self.rest,
            &[
                ("act_fn", &[text("silu"), text("swish")], "silu"),
                (
                    "mid_block_type",
                    &[text("UNetMidBlock2DCrossAttn")],
                    "UNetMidBlock2DCrossAttn",
                ),
                ("center_input_sample", std::slice::from_ref(&no), "false"),
                ("dual_cross_attention", std::slice::from_ref(&no), "false"),
                ("only_cross_attention", std::slice::from_ref(&no), "false"),
                ("class_embed_type", &[], "null"),
                ("num_class_embeds", &[], "null"),
                ("addition_embed_type", &[], "null"),
                ("encoder_hid_dim", &[], "null"),
                ("encoder_hid_dim_type", &[], "null"),
                ("time_embedding_type", &[text("positional")], "positional"),
                ("time_embedding_dim", &[], "null"),
                ("time_embedding_act_fn", &[], "null"),
                ("timestep_post_act", &[], "null"),
                ("time_cond_proj_dim", &[], "null"),
                ("cross_attention_norm", &[], "null"),
                ("resnet_time_scale_shift", &[text("default")], "default"),
                ("resnet_skip_time_act", std::slice::from_ref(&no), "false"),
                ("resnet_out_scale_factor", &[1.into(), 1.0.into()], "1.0"),
                ("transformer_layers_per_block", &[1.into()], "1"),
                ("reverse_transformer_layers_per_block", &[], "null"),
                ("downsample_padding", &[1.into()], "1"),
                ("mid_block_scale_factor", &[1.into(), 1.0.into()], "1"),
                ("conv_in_kernel", &[3.into()], "3"),
                ("conv_out_kernel", &[3.into()], "3"),
                ("attention_type", &[text("default")], "default"),
                (
                    "upcast_attention",
                    &[no.clone(), Value::Bool(true)],
                    "any: the arithmetic is f32",
                ),
            ],
        )?;
        positive(
            path,
            &[
                ("in_channels", self.in_channels),
                ("out_channels", self.out_channels),
                ("layers_per_block", self.layers_per_block),
                ("norm_num_groups", self.norm_num_groups),
                ("cross_attention_dim", self.cross_attention_dim),
                ("block_out_channels' length", self.block_out_channels.len()),
            ],
        )?;
        let levels = self.block_out_channels.len();
        if self.down_block_types.len() != levels || self.up_block_types.len() != levels {
            let message = format!(
                "{} down_block_types and {} up_block_types for {levels} block_out_channels",
                self.down_block_types.len(),
                self.up_block_types.len()
            );
            return Err(wrong(path, message));
        }
        for kind in &self.down_block_types {
            if !["DownBlock2D", "CrossAttnDownBlock2D"].contains(&kind.as_str()) {
                return Err(unsupported(
                    path,
                    "down_block_types",
                    kind,
                    "DownBlock2D, CrossAttnDownBlock2D",
                ));
            }
        }
        for kind in &self.up_block_types {
            if !["UpBlock2D", "CrossAttnUpBlock2D"].contains(&kind.as_str()) {
                return Err(unsupported(
                    path,
                    "up_block_types",
                    kind,
                    "UpBlock2D, CrossAttnUpBlock2D",
                ));
            }
        }
        groups_divide(path, &self.block_out_channels, self.norm_num_groups)?;
        for (level, channels) in self.block_out_channels.iter().enumerate() {
            let heads = self.heads(level);
            if heads == 0 || channels % heads != 0 {
                return Err(wrong(
                    path,
                    format!("{heads} heads do not divide the {channels} channels of level {level}"),
                ));
            }
        }
        Ok(())
    }

    /// Heads at a level, counted from the finest; 0 where the list is too short.
    pub(crate) fn heads(&self, level: usize) -> usize {
        match self
            .num_attention_heads
            .as_ref()
            .unwrap_or(&self.attention_head_dim)
        {
            OneOrMany::One(n) => *n,
            OneOrMany::Many(list) => list.get(level).copied().unwrap_or(0),
        }
    }
}

impl VaeConfig {
    pub(crate) fn check(&self, path: &Path) -> Result<()> {
        let text = |s: &str| Value::String(s.into());
        refuse(
            path,
            &self.rest,
            &[
                ("act_fn", &[text("silu"), text("swish")], "silu"),
                ("shift_factor", &[0.into(), 0.0.into()], "null"),
                ("latents_mean", &[], "null"),
                ("latents_std", &[], "null"),
                ("use_quant_conv", &[Value::Bool(true)], "true"),
                ("use_post_quant_conv", &[Value::Bool(true)], "true"),
            ],
        )?;
        for (key, supported) in [
            ("down_block_types", "DownEncoderBlock2D"),
            ("up_block_types", "UpDecoderBlock2D"),
        ] {
            let Some(Value::Array(kinds)) = self.rest.get(key) else {
                continue;
            };
            if let Some(kind) = kinds.iter().find(|k| k.as_str() != Some(supported)) {
                return Err(unsupported(path, key, kind, supported));
            }
            if kinds.len() != self.block_out_channels.len() {
                let message = format!(
                    "{} {key} for {} block_out_channels",
                    kinds.len(),
                    self.block_out_channels.len()
                );
                return Err(wrong(path, message));
            }
        }
        positive(
            path,
            &[
                ("in_channels", self.in_channels),
                ("latent_channels", self.latent_channels),
                ("layers_per_block", self.layers_per_block),
                ("norm_num_groups", self.norm_num_groups),
                ("block_out_channels' length", self.block_out_channels.len()),
            ],
        )?;
        if self.out_channels != 3 {
            return Err(unsupported(path, "out_channels", self.out_channels, "3 (RGB)"));
        }
        groups_divide(path, &self.block_out_channels, self.norm_num_groups)
    }

    /// Pixels a latent pixel stands for, each way.
    pub(crate) fn scale(&self) -> usize {
        1 << (self.block_out_channels.len().saturating_sub(1))
    }

    /// Bytes of all that is alive at once where the decoder is widest, at the picture's full size of `height` x `width`: two
    /// tensors of each of the last two widths, at most.
    pub(crate) fn active_bytes(&self, [height, width]: [usize; 2]) -> u64 {
        let widths: usize = self.block_out_channels.iter().take(2).sum();
        2 * (size_of::<f32>() * widths) as u64 * (height * width) as u64
    }
}
