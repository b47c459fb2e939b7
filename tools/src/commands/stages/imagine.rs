//! `dream imagine`.

use anyhow::Result;
use dream_ood::stage::imagine;

use super::{Base, json, source_or};
use crate::args::Args;
use crate::commands::Verdict;
use crate::session::Session;

/// Decodes outlier embeddings into pictures.
#[derive(Debug, clap::Args)]
pub struct Imagine {
    /// The vectors: a `sample` run, or an `embed` run for the plain class prompts
    #[arg(long, value_name = "RUN")]
    outliers: String,
    /// A registered diffusion model
    #[arg(long)]
    model: Option<String>,
    /// Seed of the initial noise
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Pictures of each class
    #[arg(long)]
    per_class: Option<usize>,
    /// The prompt, with `<class>` where the class word goes
    #[arg(long)]
    prompt: Option<String>,
    /// plms, ddim or dpm-solver
    #[arg(long)]
    scheduler: Option<String>,
    /// Steps of the solver
    #[arg(long)]
    steps: Option<usize>,
    /// Classifier-free guidance
    #[arg(long)]
    guidance: Option<f64>,
    /// What becomes of a class word of several tokens: first (the vector replaces the first token, the others go) or all (it
    /// replaces each of them); without it, such a word is an error
    #[arg(long, value_name = "one|first|all")]
    tokens: Option<String>,
    #[command(flatten)]
    base: Base,
}

impl Imagine {
    pub fn execute(&self, args: &Args) -> Result<Verdict> {
        let preset = self.base.preset()?;
        let options = [
            ("per_class", json(&self.per_class)),
            ("prompt", json(&self.prompt)),
            ("scheduler", json(&self.scheduler)),
            ("steps", json(&self.steps)),
            ("guidance_scale", json(&self.guidance)),
            ("tokens", json(&self.tokens)),
        ];
        let params = self.base.apply(&preset.imagine, &options)?;
        let session = Session::existing(args)?;
        let model = source_or(&session.store, &self.model, || Ok(preset.model(&session.store)?))?;
        let outliers = session.resolve(&self.outliers)?;
        let spec = imagine::spec(&session.store, &params, self.seed, outliers, &model)?;
        let run = session.run(&spec, self.base.alias.as_deref())?;
        println!("{}", run.id);
        Ok(Verdict::Good)
    }
}
