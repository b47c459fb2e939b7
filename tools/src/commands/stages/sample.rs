//! `dream sample`.

use anyhow::{Result, bail};
use dream_ood::stage::sample::{self, Method};
use serde_json::Value;

use super::{Base, json};
use crate::args::Args;
use crate::commands::Verdict;
use crate::session::{Session, Usage};

/// Samples outlier embeddings at the low-likelihood edge of each class, or inliers, or by a method to compare with.
#[derive(Debug, clap::Args)]
pub struct Sample {
    /// The ID features: an `encode` run, or imported ones
    #[arg(long, value_name = "RUN")]
    features: String,
    /// Seed of all random numbers
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// knn, as DREAM-OOD; gaussian, noise around the class embedding; beyond, features moved out of the class in a random
    /// direction; or boundary, features moved across the classifier's decision boundary (BOOD)
    #[arg(long)]
    method: Option<String>,
    /// knn: outlier or inlier
    #[arg(long)]
    kind: Option<String>,
    /// Neighbours: the distance to the k-th is the density
    #[arg(short, long)]
    k: Option<usize>,
    /// knn: size of the boundary set
    #[arg(long)]
    select: Option<usize>,
    /// knn: rounds of noise
    #[arg(long)]
    rounds: Option<usize>,
    /// knn: noise vectors of a round, shared by its boundary features
    #[arg(long, value_name = "N")]
    noise_per_round: Option<usize>,
    /// knn: boundary features of a round, drawn from the boundary set
    #[arg(long, value_name = "N")]
    anchors_per_round: Option<usize>,
    /// knn: candidates kept of each boundary feature in a round
    #[arg(long)]
    keep: Option<usize>,
    /// knn, gaussian: standard deviation of the noise in every coordinate
    #[arg(long, allow_negative_numbers = true)]
    sigma: Option<f64>,
    /// beyond: distance from the class, as a multiple of that of its outermost feature
    #[arg(long, allow_negative_numbers = true)]
    overshoot: Option<f64>,
    /// boundary: change of every coordinate in a step
    #[arg(long, allow_negative_numbers = true)]
    step: Option<f64>,
    /// boundary: steps after the boundary is crossed
    #[arg(long, value_name = "N")]
    extra_steps: Option<usize>,
    /// boundary: steps within which a feature must cross
    #[arg(long, value_name = "N")]
    max_steps: Option<usize>,
    /// Vectors of each class; knn without it: all that the rounds give
    #[arg(long)]
    per_class: Option<usize>,
    /// knn: `paper`, or `upstream` for the public code's indexing
    #[arg(long)]
    knn: Option<String>,
    #[command(flatten)]
    base: Base,
}

/// An option: its name, its key in the section of each method that has it, its value.
struct Choice {
    name: &'static str,
    keys: &'static [(Method, &'static str)],
    given: Option<Value>,
}

impl Sample {
    pub fn execute(&self, args: &Args) -> Result<Verdict> {
        let preset = self.base.preset()?.sample;
        let method = match &self.method {
            Some(name) => Method::from_name(name).ok_or_else(|| {
                let names = Method::ALL.map(Method::name).join(", ");
                Usage(format!("there is no method `{name}`; there are {names}"))
            })?,
            None => preset.method,
        };
        let options = self.options(method)?;
        let params = self.base.apply(&preset.with_method(method), &options)?;
        let session = Session::existing(args)?;
        let features = session.resolve(&self.features)?;
        let spec = sample::spec(&session.store, &params, self.seed, features)?;
        let run = session.run(&spec, self.base.alias.as_deref())?;
        println!("{}", run.id);
        Ok(Verdict::Good)
    }

    /// Returns the options as keys of the method's section.
    fn options(&self, method: Method) -> Result<Vec<(&'static str, Option<Value>)>> {
        use Method::{Beyond, Boundary, Gaussian, Knn};
        let choice = |name, keys, given| Choice { name, keys, given };
        let choices = [
            choice("--kind", &[(Knn, "sampling.kind")], json(&self.kind)),
            choice(
                "--k",
                &[
                    (Knn, "sampling.k"),
                    (Gaussian, "gaussian.k"),
                    (Beyond, "beyond.k"),
                    (Boundary, "boundary.k"),
                ],
                json(&self.k),
            ),
            choice("--select", &[(Knn, "sampling.select")], json(&self.select)),
            choice("--rounds", &[(Knn, "sampling.rounds")], json(&self.rounds)),
            choice(
                "--noise-per-round",
                &[(Knn, "sampling.noise_per_round")],
                json(&self.noise_per_round),
            ),
            choice(
                "--anchors-per-round",
                &[(Knn, "sampling.anchors_per_round")],
                json(&self.anchors_per_round),
            ),
            choice("--keep", &[(Knn, "sampling.keep")], json(&self.keep)),
            choice(
                "--sigma",
                &[(Knn, "sampling.sigma"), (Gaussian, "gaussian.sigma")],
                json(&self.sigma),
            ),
            choice(
                "--overshoot",
                &[(Beyond, "beyond.overshoot")],
                json(&self.overshoot),
            ),
            choice("--step", &[(Boundary, "boundary.step")], json(&self.step)),
            choice(
                "--extra-steps",
                &[(Boundary, "boundary.extra_steps")],
                json(&self.extra_steps),
            ),
            choice(
                "--max-steps",
                &[(Boundary, "boundary.max_steps")],
                json(&self.max_steps),
            ),
            choice(
                "--per-class",
                &[
                    (Knn, "sampling.per_class"),
                    (Gaussian, "gaussian.count"),
                    (Beyond, "beyond.count"),
                    (Boundary, "boundary.count"),
                ],
                json(&self.per_class),
            ),
            choice("--knn", &[(Knn, "sampling.knn")], json(&self.knn)),
        ];
        let mut options = Vec::new();
        for Choice { name, keys, given } in choices {
            if given.is_none() {
                continue;
            }
            let Some((_, key)) = keys.iter().find(|(m, _)| *m == method) else {
                bail!(Usage(format!(
                    "{name} does not belong to --method {}; it is for {}",
                    method.name(),
                    keys.iter().map(|(m, _)| m.name()).collect::<Vec<_>>().join(", ")
                )));
            };
            options.push((*key, given));
        }
        for pair in &self.base.set {
            let section = pair.split(['.', '=']).next().unwrap_or_default();
            if section != method.section() {
                bail!(Usage(format!(
                    "--set {pair}: the parameters of --method {} are {}.KEY",
                    method.name(),
                    method.section()
                )));
            }
        }
        Ok(options)
    }
}
