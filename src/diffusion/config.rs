//! The `config.json` files of the diffusers layout. Keys that change the arithmetic in a way that is not done here are
//! refused by name; all others are ignored.

use std::path::Path;

use serde::{Deserialize, Deserializer};
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
    /// Whether padding is kept out of the attention: the pipeline then masks it, which is not done here.
    use_attention_mask: Option<bool>,
}

/// `unet/config.json` (diffusers' `UNet2DConditionModel`).
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct UnetConfig {
    #[serde(default)]
    sample_size: Option<Sides>,
    pub(crate) in_channels: usize,
    pub(crate) out_channels: usize,
    pub(crate) down_block_types: Vec<String>,
    pub(crate) up_block_types: Vec<String>,
    pub(crate) block_out_channels: Vec<usize>,
    #[serde(default = "two", deserialize_with = "same")]
    pub(crate) layers_per_block: usize,
    #[serde(default = "thirty_two")]
    pub(crate) norm_num_groups: usize,
    #[serde(default = "epsilon_5")]
    pub(crate) norm_eps: f64,
    #[serde(deserialize_with = "same")]
    pub(crate) cross_attention_dim: usize,
    /// In Stable Diffusion 1.x this is, against its name, the *number* of heads.
    #[serde(default = "eight")]
    attention_head_dim: OneOrMany,
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
    sample_size: Option<Sides>,
    #[serde(flatten)]
    rest: serde_json::Map<String, Value>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(usize),
    Many(Vec<usize>),
}

/// Height and width, or one number for both.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
enum Sides {
    Square(usize),
    Both([usize; 2]),
}

impl From<Sides> for [usize; 2] {
    fn from(sides: Sides) -> Self {
        match sides {
            Sides::Square(n) => [n, n],
            Sides::Both(sides) => sides,
        }
    }
}

/// A number, or a list that repeats it for every level.
fn same<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<usize, D::Error> {
    match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(n) => Ok(n),
        OneOrMany::Many(list) => match list[..] {
            [n, ref rest @ ..] if rest.iter().all(|other| *other == n) => Ok(n),
            _ => Err(serde::de::Error::custom(format!(
                "{list:?}, where one number for all levels is supported"
            ))),
        },
    }
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

/// Whether a version of diffusers, such as "0.6.0.dev0", comes before 0.9.
fn before_0_9(version: &str) -> bool {
    let mut parts = version.split('.').map(str::parse::<u32>);
    matches!((parts.next(), parts.next()), (Some(Ok(0)), Some(Ok(minor))) if minor < 9)
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
        if self.use_attention_mask == Some(true) {
            return Err(unsupported(path, "use_attention_mask", true, "false"));
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
                    "UNetMidBlock2DCrossAttn, or null for none",
                ),
                ("center_input_sample", std::slice::from_ref(&no), "false"),
                ("dual_cross_attention", std::slice::from_ref(&no), "false"),
                ("only_cross_attention", std::slice::from_ref(&no), "false"),
                (
                    "num_attention_heads",
                    &[],
                    "null: attention_head_dim is the number of heads, against its name",
                ),
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

    /// Whether there is a block between the way down and the way up. Its type is null in small models without one, and left
    /// out in old files of models with one.
    pub(crate) fn has_middle(&self) -> bool {
        self.rest.get("mid_block_type") != Some(&Value::Null)
    }

    /// Height and width of the latents that the model was trained on. As in diffusers, files from before its version 0.9 are
    /// not believed: they have the size of an earlier stage of the training.
    pub(crate) fn sample_size(&self) -> Option<[usize; 2]> {
        let old = self
            .rest
            .get("_diffusers_version")
            .and_then(Value::as_str)
            .is_some_and(before_0_9);
        let sides: [usize; 2] = self.sample_size?.into();
        let early = matches!(self.sample_size, Some(Sides::Square(n)) if n < 64);
        Some(if old && early { [64, 64] } else { sides })
    }

    /// Heads at a level, counted from the finest; 0 where the list is too short.
    pub(crate) fn heads(&self, level: usize) -> usize {
        match &self.attention_head_dim {
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

    /// Height and width of the pictures that the autoencoder was trained on.
    pub(crate) fn sample_size(&self) -> Option<[usize; 2]> {
        self.sample_size.map(Into::into)
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn unet(change: Value) -> serde_json::Result<UnetConfig> {
        let mut config = json!({"in_channels": 4, "out_channels": 4, "down_block_types": ["DownBlock2D"],
            "up_block_types": ["UpBlock2D"], "block_out_channels": [32], "cross_attention_dim": 8});
        let changes = change.as_object().into_iter().flatten();
        for (key, value) in changes {
            config[key] = value.clone();
        }
        serde_json::from_value(config)
    }

    #[test]
    fn sizes_of_early_files_are_not_believed() {
        let size = |sample: Value, version: Value| {
            let config = unet(json!({"sample_size": sample, "_diffusers_version": version})).unwrap();
            config.sample_size()
        };
        assert_eq!(size(32.into(), "0.8.1".into()), Some([64, 64]));
        assert_eq!(size(32.into(), "0.9.0".into()), Some([32, 32]));
        assert_eq!(size(96.into(), "0.6.0.dev0".into()), Some([96, 96]));
        assert_eq!(size(32.into(), Value::Null), Some([32, 32]));
        assert_eq!(size(json!([32, 48]), "0.42.1".into()), Some([32, 48]));
        assert_eq!(size(Value::Null, "0.8.1".into()), None);
        assert!(!before_0_9("1.0.0") && !before_0_9("new"));
    }

    #[test]
    fn lists_of_one_number_are_that_number() {
        let config = unet(json!({"layers_per_block": [1, 1], "cross_attention_dim": [8, 8]})).unwrap();
        assert_eq!((config.layers_per_block, config.cross_attention_dim), (1, 8));
        assert!(unet(json!({"layers_per_block": [1, 2]})).is_err());
        assert!(unet(json!({"layers_per_block": []})).is_err());
    }
}
