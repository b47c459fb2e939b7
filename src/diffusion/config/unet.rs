//! The UNet's configuration.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::{
    OneOrMany, Sides, epsilon_5, groups_divide, positive, refuse, same, thirty_two, unsupported, wrong, yes,
};
use crate::diffusion::error::Result;

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

fn eight() -> OneOrMany {
    OneOrMany::One(8)
}
fn two() -> usize {
    2
}

/// Whether a version of diffusers, such as "0.6.0.dev0", comes before 0.9.
fn before_0_9(version: &str) -> bool {
    let mut parts = version.split('.').map(str::parse::<u32>);
    matches!((parts.next(), parts.next()), (Some(Ok(0)), Some(Ok(minor))) if minor < 9)
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

    /// Whether there is a block between the way down and the way up. Its type is null in small models without
    /// one, and left out in old files of models with one.
    pub(crate) fn has_middle(&self) -> bool {
        self.rest.get("mid_block_type") != Some(&Value::Null)
    }

    /// Height and width of the latents that the model was trained on. As in diffusers, files from before its
    /// version 0.9 are not believed: they have the size of an earlier stage of the training.
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
