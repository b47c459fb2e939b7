//! The autoencoder's configuration.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::{Sides, groups_divide, positive, refuse, thirty_two, unsupported, wrong, yes};
use crate::diffusion::error::Result;
use crate::engine::Policy;

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

fn default_scaling() -> f64 {
    0.18215
}
fn one() -> usize {
    1
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

    /// Bytes of all that is alive at once where the decoder is widest, at the picture's full size of `height`
    /// x `width`: two tensors of each of the last two widths, at most, and what a convolution unfolds.
    pub(crate) fn active_bytes(&self, [height, width]: [usize; 2], policy: Policy) -> u64 {
        let widths: usize = self.block_out_channels.iter().take(2).sum();
        let unfolded = if policy.unfolds { 9 * self.wider() } else { 0 };
        policy.number * (2 * widths + unfolded) as u64 * (height * width) as u64
    }

    /// The wider of the channels that the decoder has at the picture's full size.
    pub(crate) fn wider(&self) -> usize {
        self.block_out_channels.iter().take(2).copied().max().unwrap_or(0)
    }
}
