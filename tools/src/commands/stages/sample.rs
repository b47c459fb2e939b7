//! `dream sample`.

use anyhow::Result;
use dream_ood::stage::sample;

use super::{Base, json};
use crate::args::Args;
use crate::commands::Verdict;
use crate::session::Session;

/// Samples outlier embeddings at the low-likelihood edge of each class, or inliers.
#[derive(Debug, clap::Args)]
pub struct Sample {
    /// The ID features: an `encode` run
    #[arg(long, value_name = "RUN")]
    features: String,
    /// Seed of all random numbers
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// outlier or inlier
    #[arg(long)]
    kind: Option<String>,
    /// Neighbours: the distance to the k-th is the density
    #[arg(short, long)]
    k: Option<usize>,
    /// Size of the boundary set
    #[arg(long)]
    select: Option<usize>,
    /// Rounds of noise
    #[arg(long)]
    rounds: Option<usize>,
    /// Standard deviation of the noise in every coordinate
    #[arg(long, allow_negative_numbers = true)]
    sigma: Option<f64>,
    /// Vectors of each class; without it, all that the rounds give
    #[arg(long)]
    per_class: Option<usize>,
    /// `paper`, or `upstream` for the public code's indexing
    #[arg(long)]
    knn: Option<String>,
    #[command(flatten)]
    base: Base,
}

impl Sample {
    pub fn execute(&self, args: &Args) -> Result<Verdict> {
        let options = [
            ("sampling.kind", json(&self.kind)),
            ("sampling.k", json(&self.k)),
            ("sampling.select", json(&self.select)),
            ("sampling.rounds", json(&self.rounds)),
            ("sampling.sigma", json(&self.sigma)),
            ("sampling.per_class", json(&self.per_class)),
            ("sampling.knn", json(&self.knn)),
        ];
        let params = self.base.apply(&self.base.preset()?.sample, &options)?;
        let session = Session::existing(args)?;
        let features = session.resolve(&self.features)?;
        let spec = sample::spec(&session.store, &params, self.seed, features)?;
        let run = session.run(&spec, self.base.alias.as_deref())?;
        println!("{}", run.id);
        Ok(Verdict::Good)
    }
}
