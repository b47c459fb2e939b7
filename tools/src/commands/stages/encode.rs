//! `dream encode`.

use anyhow::Result;
use dream_ood::engine::Precision;
use dream_ood::stage::encode;

use super::{Base, Weights, finite, images_or, json};
use crate::choices::Choices;
use crate::commands::Verdict;
use crate::globals::Globals;

/// Stage 2: trains the image encoder in the token-embedding space and stores the ID features.
#[derive(Debug, clap::Args)]
pub struct Encode {
    /// The class embeddings: an `embed` run
    #[arg(long, value_name = "RUN")]
    embeddings: String,
    /// A registered image set; without it, the preset's
    #[arg(long)]
    dataset: Option<String>,
    /// Seed of all random numbers
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Passes over the training split
    #[arg(long)]
    epochs: Option<usize>,
    /// Learning rate of the first step
    #[arg(long, allow_negative_numbers = true, value_parser = finite)]
    lr: Option<f64>,
    /// The temperature t of the cosine softmax
    #[arg(long, allow_negative_numbers = true, value_parser = finite)]
    temperature: Option<f64>,
    /// How the network is computed: f32, or on a GPU tf32 (usual there) or bf16; without it, what is usual
    /// on the device
    #[arg(long, value_parser = Choices(&Precision::ALL))]
    precision: Option<Precision>,
    #[command(flatten)]
    weights: Weights,
    #[command(flatten)]
    base: Base,
}

impl Encode {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        let preset = self.base.preset(globals)?;
        let options = [
            ("training.epochs", json(&self.epochs)),
            ("training.lr", json(&self.lr)),
            ("temperature", json(&self.temperature)),
            ("training.precision", json(&self.precision)),
            ("training.new_head", self.weights.new_head()),
        ];
        let params = self.base.apply(&preset.encode, &options)?;
        let session = self.base.existing(globals)?;
        let preset = preset.until(session.stop());
        let store = &session.store;
        let embeddings = session.resolve(&self.embeddings)?;
        self.base.run(&session, |reach| {
            let images = images_or(store, &self.dataset, None, reach, &preset)?;
            let weights = self.weights.source(store, reach)?;
            Ok(encode::ask(
                &params,
                self.seed,
                embeddings,
                &images,
                weights.as_ref(),
            ))
        })
    }
}
