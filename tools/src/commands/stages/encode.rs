//! `dream encode`.

use anyhow::Result;
use dream_ood::stage::encode;

use super::{Base, Weights, json, source_or};
use crate::args::Args;
use crate::commands::Verdict;
use crate::session::Session;

/// Trains the image encoder in the token-embedding space and stores the ID features.
#[derive(Debug, clap::Args)]
pub struct Encode {
    /// The class embeddings: an `embed` run
    #[arg(long, value_name = "RUN")]
    embeddings: String,
    /// A registered image set
    #[arg(long)]
    dataset: Option<String>,
    /// Seed of all random numbers
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Passes over the training split
    #[arg(long)]
    epochs: Option<usize>,
    /// Learning rate of the first step
    #[arg(long)]
    lr: Option<f64>,
    /// The temperature t of the cosine softmax
    #[arg(long)]
    temperature: Option<f64>,
    #[command(flatten)]
    weights: Weights,
    #[command(flatten)]
    base: Base,
}

impl Encode {
    pub fn execute(&self, args: &Args) -> Result<Verdict> {
        let preset = self.base.preset()?;
        let options = [
            ("training.epochs", json(&self.epochs)),
            ("training.lr", json(&self.lr)),
            ("temperature", json(&self.temperature)),
            ("training.new_head", self.weights.new_head()),
        ];
        let params = self.base.apply(&preset.encode, &options)?;
        let session = Session::writing(args)?;
        let images = source_or(&session.store, &self.dataset, || {
            Ok(preset.id_set(&session.store)?)
        })?;
        let embeddings = session.resolve(&self.embeddings)?;
        let initial = self.weights.source(&session.store)?;
        let spec = encode::spec_from(
            &session.store,
            &params,
            self.seed,
            embeddings,
            &images,
            initial.as_ref(),
        )?;
        let run = session.run(&spec, self.base.alias.as_deref())?;
        println!("{}", run.id);
        Ok(Verdict::Good)
    }
}
