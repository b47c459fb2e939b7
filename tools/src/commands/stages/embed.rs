//! `dream embed`.

use std::path::PathBuf;

use anyhow::Result;
use dream_ood::stage::classes::read_classes;
use dream_ood::stage::embed::{self, ClassWord, Params, Tokens};

use super::{Base, json, model_or};
use crate::choices::Choices;
use crate::commands::Verdict;
use crate::globals::Globals;
use crate::session::Usage;

/// Stage 1: reads the class embeddings T(y) off the text encoder's token table.
#[derive(Debug, clap::Args)]
pub struct Embed {
    /// A diffusion model: its registered name, or its folder or checkpoint file, which is then registered
    #[arg(long, value_name = "NAME|PATH")]
    model: Option<String>,
    /// Class table: tab-separated, with the columns name and token_word
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,
    /// Classes by their words alone
    #[arg(long, value_name = "WORD", num_args = 1.., conflicts_with = "classes")]
    words: Vec<String>,
    /// What T(y) is for a word of several tokens: first (the first token's row) or mean (the mean of their
    /// rows); without it, such a word is an error
    #[arg(long, value_name = "RULE", value_parser = Choices(&Tokens::ALL))]
    tokens: Option<Tokens>,
    #[command(flatten)]
    base: Base,
}

impl Embed {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        let preset = self.base.preset(globals)?;
        let params = if !self.words.is_empty() {
            let word = |w: &String| ClassWord {
                name: w.clone(),
                word: w.clone(),
            };
            Params {
                classes: self.words.iter().map(word).collect(),
                tokens: preset.class_tokens,
            }
        } else if let Some(path) = &self.classes {
            let rows = read_classes(path)
                .map_err(|error| Usage(error.to_string()))?
                .into_iter();
            Params {
                classes: rows
                    .map(|c| ClassWord {
                        name: c.name,
                        word: c.word,
                    })
                    .collect(),
                tokens: preset.class_tokens,
            }
        } else {
            preset.embed()?
        };
        let params = self.base.apply(&params, &[("tokens", json(&self.tokens))])?;
        let session = self.base.writing(globals)?;
        self.base.run(&session, |reach| {
            Ok(embed::ask(
                &params,
                &model_or(&session, &self.model, None, reach, &preset)?,
            ))
        })
    }
}
