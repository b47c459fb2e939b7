//! The text encoder's configuration.

use std::path::Path;

use serde::Deserialize;

use super::{epsilon_5, positive, unsupported, wrong};
use crate::diffusion::error::Result;

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

fn quick_gelu() -> String {
    "quick_gelu".into()
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
