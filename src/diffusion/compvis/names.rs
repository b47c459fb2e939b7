//! Tensor names: from those that the networks ask for, which are diffusers', to those in the files.

/// Where the UNet's tensors are in a single-file checkpoint.
pub(crate) const UNET: &str = "model.diffusion_model.";
/// Where the autoencoder's are.
pub(crate) const VAE: &str = "first_stage_model.";
/// Where the text encoder's are.
pub(crate) const TEXT: &str = "cond_stage_model.transformer.";
/// All of them.
pub(crate) const PREFIXES: [&str; 3] = [UNET, VAE, TEXT];

/// How the names that a network asks for become those of its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// The diffusers layout: as they are.
    Same,
    /// The text encoder of the diffusers layout: as they are, or below `text_model.`.
    TextModel,
    /// The UNet of a single file; `layers`: residual blocks a level on the way down.
    CompvisUnet {
        /// `layers_per_block`
        layers: usize,
    },
    /// The autoencoder of a single file.
    CompvisVae {
        /// Number of resolutions.
        levels: usize,
    },
    /// The text encoder of a single file.
    CompvisText,
}

impl Names {
    /// Returns the names in the file that the tensor `name` may have, the usual one first; none where it has
    /// no counterpart.
    pub(crate) fn candidates(self, name: &str) -> Vec<String> {
        match self {
            Self::Same => vec![name.to_owned()],
            Self::TextModel => vec![name.to_owned(), format!("text_model.{name}")],
            Self::CompvisText => vec![format!("{TEXT}text_model.{name}"), format!("{TEXT}{name}")],
            Self::CompvisUnet { layers } => {
                let names = unet(name, layers).into_iter();
                names.map(|name| format!("{UNET}{name}")).collect()
            }
            Self::CompvisVae { levels } => vae(name, levels)
                .map(|name| format!("{VAE}{name}"))
                .into_iter()
                .collect(),
        }
    }

    /// Whether a tensor of that name in the file belongs to this network's part of it.
    pub(crate) fn owns(self, name: &str) -> bool {
        match self {
            Self::Same | Self::TextModel => true,
            Self::CompvisUnet { .. } => name.starts_with(UNET),
            Self::CompvisVae { .. } => name.starts_with(VAE),
            Self::CompvisText => name.starts_with(TEXT),
        }
    }

    /// Whether a tensor in the file of that name, which no network asked for, can be left aside: buffers that
    /// are computed anyway, and parts of a model around the one that is used.
    pub(crate) fn is_harmless(self, name: &str) -> bool {
        match self {
            Self::TextModel => {
                let bare = name.strip_prefix("text_model.").unwrap_or(name);
                matches!(
                    bare,
                    "embeddings.position_ids" | "text_projection.weight" | "logit_scale"
                ) || ["vision_model.", "visual_projection."]
                    .iter()
                    .any(|p| name.starts_with(p))
            }
            Self::Same => false,
            _ => is_harmless(name),
        }
    }
}

/// Whether a tensor of a single-file checkpoint can be left aside: the averaged copy of the weights, the
/// noise schedule's tables, the autoencoder's training losses, what belongs to the other half of CLIP, and
/// what DreamBooth's code and k-diffusion's wrapper leave in their files.
pub(crate) fn is_harmless(name: &str) -> bool {
    const TABLES: [&str; 14] = [
        "betas",
        "alphas_cumprod",
        "alphas_cumprod_prev",
        "sqrt_alphas_cumprod",
        "sqrt_one_minus_alphas_cumprod",
        "log_one_minus_alphas_cumprod",
        "sqrt_recip_alphas_cumprod",
        "sqrt_recipm1_alphas_cumprod",
        "posterior_variance",
        "posterior_log_variance_clipped",
        "posterior_mean_coef1",
        "posterior_mean_coef2",
        "logvar",
        "lvlb_weights",
    ];
    let text = name.strip_prefix(TEXT);
    TABLES.contains(&name)
        || [
            "model_ema.",
            "first_stage_model.loss.",
            "cond_stage_model.transformer.vision_model.",
            "embedding_manager.",
            "denoiser.",
        ]
        .iter()
        .any(|p| name.starts_with(p))
        || name == "cond_stage_model.logit_scale"
        || text.is_some_and(|name| Names::TextModel.is_harmless(name))
}

/// A residual block of the UNet.
fn resnet(rest: &[&str]) -> Option<String> {
    let (part, rest) = rest.split_first()?;
    let part = match *part {
        "norm1" => "in_layers.0",
        "conv1" => "in_layers.2",
        "time_emb_proj" => "emb_layers.1",
        "norm2" => "out_layers.0",
        "conv2" => "out_layers.3",
        "conv_shortcut" => "skip_connection",
        _ => return None,
    };
    Some(format!("{part}.{}", rest.join(".")))
}

/// A tensor of the UNet. Blocks are counted through: one for the first convolution, then for each level its
/// residual blocks and, but for the last, a downsampling.
fn unet(name: &str, layers: usize) -> Vec<String> {
    let parts: Vec<&str> = name.split('.').collect();
    let number = |text: &str| text.parse::<usize>().ok();
    let single = || -> Option<String> {
        Some(match parts.as_slice() {
            ["conv_in", last] => format!("input_blocks.0.0.{last}"),
            ["time_embedding", "linear_1", last] => format!("time_embed.0.{last}"),
            ["time_embedding", "linear_2", last] => format!("time_embed.2.{last}"),
            ["conv_norm_out", last] => format!("out.0.{last}"),
            ["conv_out", last] => format!("out.2.{last}"),
            ["mid_block", "resnets", i, rest @ ..] => {
                format!("middle_block.{}.{}", 2 * number(i)?, resnet(rest)?)
            }
            ["mid_block", "attentions", "0", rest @ ..] => format!("middle_block.1.{}", rest.join(".")),
            ["down_blocks", level, "downsamplers", "0", "conv", last] => {
                format!("input_blocks.{}.0.op.{last}", (number(level)? + 1) * (layers + 1))
            }
            ["down_blocks", level, kind, i, rest @ ..] => {
                let block = 1 + number(level)? * (layers + 1) + number(i)?;
                format!("input_blocks.{block}.{}", layer(kind, rest)?)
            }
            [
                "up_blocks",
                level,
                kind @ ("resnets" | "attentions"),
                i,
                rest @ ..,
            ] => {
                let block = number(level)? * (layers + 1) + number(i)?;
                format!("output_blocks.{block}.{}", layer(kind, rest)?)
            }
            _ => return None,
        })
    };
    if let ["up_blocks", level, "upsamplers", "0", "conv", last] = parts.as_slice()
        && let Some(level) = number(level)
    {
        // Behind the attention where there is one, and in its place where there is none.
        let block = level * (layers + 1) + layers;
        return [2, 1]
            .map(|i| format!("output_blocks.{block}.{i}.conv.{last}"))
            .into();
    }
    single().into_iter().collect()
}

fn layer(kind: &str, rest: &[&str]) -> Option<String> {
    match kind {
        "resnets" => Some(format!("0.{}", resnet(rest)?)),
        "attentions" => Some(format!("1.{}", rest.join("."))),
        _ => None,
    }
}

/// A tensor of the autoencoder, whose decoder counts its levels from the finest.
fn vae(name: &str, levels: usize) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    Some(match parts.as_slice() {
        [side, "conv_norm_out", last] => format!("{side}.norm_out.{last}"),
        [side, "mid_block", "resnets", i, rest @ ..] => {
            let block = i.parse::<usize>().ok()? + 1;
            format!("{side}.mid.block_{block}.{}", rest.join("."))
        }
        [side, "mid_block", "attentions", "0", rest @ ..] => {
            let (part, last) = match rest {
                ["group_norm", last] => ("norm", last),
                ["to_q", last] => ("q", last),
                ["to_k", last] => ("k", last),
                ["to_v", last] => ("v", last),
                ["to_out", "0", last] => ("proj_out", last),
                _ => return None,
            };
            format!("{side}.mid.attn_1.{part}.{last}")
        }
        [
            side,
            blocks @ ("down_blocks" | "up_blocks"),
            level,
            kind,
            i,
            rest @ ..,
        ] => {
            let level = level.parse::<usize>().ok()?;
            let (way, level) = match *blocks {
                "down_blocks" => ("down", level),
                _ => ("up", levels.checked_sub(level + 1)?),
            };
            let block = match *kind {
                "resnets" => format!("block.{i}"),
                "downsamplers" => "downsample".to_owned(),
                "upsamplers" => "upsample".to_owned(),
                _ => return None,
            };
            let rest = rest.join(".").replace("conv_shortcut.", "nin_shortcut.");
            format!("{side}.{way}.{level}.{block}.{rest}")
        }
        [_, _, _] | [_, _] => name.to_owned(), // conv_in, conv_out, quant_conv, post_quant_conv
        _ => return None,
    })
}
