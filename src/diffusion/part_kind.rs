//! What a file of weights from the world of diffusion models is where it is no whole model, by the names of
//! its tensors.

use std::fmt;

/// A part of a diffusion model, or something that goes with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    /// Low-rank changes of weights.
    Lora,
    /// Added words.
    TextualInversion,
    /// A hypernetwork.
    Hypernetwork,
    /// A network that guides the UNet by another picture.
    ControlNet,
    /// Layers that take a picture as the prompt.
    IpAdapter,
    /// The UNet alone.
    Unet,
    /// The autoencoder alone.
    Vae,
    /// The text encoder alone, or the whole of CLIP.
    TextEncoder,
    /// A transformer in the place of the UNet: Stable Diffusion 3, FLUX, PixArt.
    Transformer,
}

/// What is added to models: parts of names, of which one is enough.
const ADDED: [(PartKind, &[&str]); 5] = [
    (
        PartKind::Lora,
        &[
            "lora_up.",
            "lora_down.",
            "lora_A.",
            "lora_B.",
            "lora.up.",
            "lora.down.",
            "_lora.",
            "hada_w1_",
            "lokr_w1",
            "oft_blocks",
        ],
    ),
    (PartKind::IpAdapter, &["image_proj.", "ip_adapter."]),
    (
        PartKind::ControlNet,
        &[
            "control_model.",
            "controlnet_",
            "input_hint_block.",
            "zero_convs.",
        ],
    ),
    (
        PartKind::TextualInversion,
        &["emb_params", "string_to_param", "<", "clip_g"],
    ),
    (PartKind::Hypernetwork, &["optional_info", "layer_structure"]),
];

/// What stands alone, under the names of diffusers or those of the original code. The VAE has blocks of the
/// UNet's names further down, so it comes first.
const ALONE: [(PartKind, &[&str]); 4] = [
    (
        PartKind::Transformer,
        &["double_blocks.", "joint_blocks.", "joint_transformer_blocks."],
    ),
    (
        PartKind::Vae,
        &[
            "encoder.down_blocks.0.",
            "decoder.up_blocks.0.",
            "encoder.down.0.block.",
            "decoder.up.0.block.",
        ],
    ),
    (
        PartKind::Unet,
        &[
            "down_blocks.0.resnets.",
            "down_blocks.0.attentions.",
            "input_blocks.0.0.",
            "time_embedding.",
        ],
    ),
    (
        PartKind::TextEncoder,
        &[
            "text_model.",
            "token_embedding.weight",
            "transformer.resblocks.",
            "text_projection",
        ],
    ),
];

/// Where a whole checkpoint has its UNet, its VAE and its text encoder, which later versions have elsewhere.
const WHOLE: [&str; 4] = [
    "model.diffusion_model.",
    "first_stage_model.",
    "cond_stage_model.",
    "conditioner.",
];

impl PartKind {
    /// Returns what it is that has tensors of these names; none if they are those of a whole model, or of
    /// nothing that is known.
    pub fn of<'n>(names: impl Iterator<Item = &'n str> + Clone) -> Option<Self> {
        let any = |part: &str| names.clone().any(|name| name.contains(part));
        let first = |kinds: &[(Self, &[&str])]| {
            let found = kinds.iter().find(|(_, parts)| parts.iter().any(|part| any(part)));
            found.map(|(kind, _)| *kind)
        };
        // What changes a model names the layers that it changes.
        let whole = WHOLE.map(any);
        let is_whole = matches!(whole, [true, true, true, _]);
        first(&ADDED).filter(|_| !is_whole).or_else(|| match whole {
            [true, false, false, false] => Some(Self::Unet),
            [false, true, false, false] => Some(Self::Vae),
            [false, false, true, false] => Some(Self::TextEncoder),
            [false, false, false, false] => first(&ALONE),
            _ => None,
        })
    }
}

impl fmt::Display for PartKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lora => {
                "it is a LoRA, changes of a model's weights and no model: merge it into the model first"
            }
            Self::TextualInversion => {
                "it is a textual inversion, words that are added to a model, and no model"
            }
            Self::Hypernetwork => "it is a hypernetwork, layers that are added to a model, and no model",
            Self::ControlNet => "it is a ControlNet, which guides a model, and no model",
            Self::IpAdapter => "it is an IP-Adapter, which is added to a model, and no model",
            Self::Unet => "it is the UNet of a diffusion model, without text encoder and VAE",
            Self::Vae => "it is the VAE of a diffusion model, without UNet and text encoder",
            Self::TextEncoder => "it is a text encoder (CLIP), without UNet and VAE",
            Self::Transformer => "it is a diffusion transformer (Stable Diffusion 3, FLUX), no UNet",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_known_by_the_names_of_their_tensors() {
        let of = |names: &[&str]| PartKind::of(names.iter().copied());
        let lora = Some(PartKind::Lora);
        assert_eq!(
            of(&["lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight"]),
            lora
        );
        assert_eq!(of(&["unet.down_blocks.0.attentions.0.to_q.lora_A.weight"]), lora);
        assert_eq!(
            of(&["base_model.model.text_model.encoder.layers.0.q_proj.lora_B.weight"]),
            lora
        );
        assert_eq!(of(&["down_blocks.0.attentions.0.to_q_lora.down.weight"]), lora);
        let (unet, vae, text) = (
            Some(PartKind::Unet),
            Some(PartKind::Vae),
            Some(PartKind::TextEncoder),
        );
        assert_eq!(
            of(&["conv_in.weight", "down_blocks.0.resnets.0.conv1.weight"]),
            unet
        );
        assert_eq!(of(&["model.diffusion_model.input_blocks.0.0.weight"]), unet);
        assert_eq!(
            of(&[
                "encoder.down_blocks.0.resnets.0.conv1.weight",
                "quant_conv.weight"
            ]),
            vae
        );
        assert_eq!(of(&["encoder.down.0.block.0.conv1.weight"]), vae);
        assert_eq!(of(&["first_stage_model.encoder.conv_in.weight"]), vae);
        assert_eq!(of(&["text_model.embeddings.token_embedding.weight"]), text);
        assert_eq!(
            of(&["cond_stage_model.transformer.text_model.final_layer_norm.bias"]),
            text
        );
        assert_eq!(
            of(&[
                "controlnet_cond_embedding.conv_in.weight",
                "time_embedding.linear_1.bias"
            ]),
            Some(PartKind::ControlNet)
        );
        assert_eq!(
            of(&["control_model.zero_convs.0.0.weight"]),
            Some(PartKind::ControlNet)
        );
        assert_eq!(of(&["string_to_param.*"]), Some(PartKind::TextualInversion));
        assert_eq!(of(&["<cat-toy>"]), Some(PartKind::TextualInversion));
        let whole = [
            "model.diffusion_model.out.2.bias",
            "first_stage_model.a",
            "cond_stage_model.b",
        ];
        assert_eq!(of(&whole), None);
        assert_eq!(
            of(&["layer1.0.conv1.weight", "encoder.layer1.0.conv1.weight"]),
            None
        );
    }
}
