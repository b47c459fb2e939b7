//! `dream sample`.

use anyhow::{Result, bail};
use dream_ood::outlier::{Knn, Side};
use dream_ood::stage::sample::{self, Method};
use serde_json::Value;

use super::{Base, finite, json};
use crate::choices::Choices;
use crate::commands::Verdict;
use crate::globals::Globals;
use crate::session::Usage;

/// Stage 3: samples outlier embeddings at the low-likelihood edge of each class, or inliers, or by a method
/// to compare with.
#[derive(Debug, clap::Args)]
pub struct Sample {
    /// The ID features: an `encode` run, or imported ones
    #[arg(long, value_name = "RUN")]
    features: String,
    /// Seed of all random numbers
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// knn, as DREAM-OOD; gaussian, noise around the class embedding; beyond, features moved out of the class
    /// in a random direction; or boundary, features moved across the classifier's decision boundary (BOOD)
    #[arg(long, value_parser = Choices(Method::NAMES))]
    method: Option<&'static str>,
    /// knn: outlier or inlier
    #[arg(long, value_parser = Choices(&Side::ALL))]
    kind: Option<Side>,
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
    #[arg(long, allow_negative_numbers = true, value_parser = finite)]
    sigma: Option<f64>,
    /// beyond: distance from the class, as a multiple of that of its outermost feature
    #[arg(long, allow_negative_numbers = true, value_parser = finite)]
    overshoot: Option<f64>,
    /// boundary: change of every coordinate in a step
    #[arg(long, allow_negative_numbers = true, value_parser = finite)]
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
    #[arg(long, value_parser = Choices(&Knn::ALL))]
    knn: Option<Knn>,
    #[command(flatten)]
    base: Base,
}

/// An option: its name, the keys that it may have in the section of a method, and its value.
struct Choice {
    name: &'static str,
    keys: &'static [&'static str],
    given: Option<Value>,
}

impl Choice {
    /// Returns its key in the section of a method; none if the method has no such parameter.
    fn key(&self, method: &Method) -> Option<String> {
        let json = serde_json::json!(method);
        let section = json.get(method.section())?.as_object()?;
        let key = self.keys.iter().find(|key| section.contains_key(**key))?;
        Some(format!("{}.{key}", method.section()))
    }
}

impl Sample {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        let preset = self.base.preset(globals)?.sample;
        let of = |name: &str| preset.with_method(name);
        let method = self.method.and_then(of).unwrap_or_else(|| preset.clone());
        let options = self.options(&method)?;
        let options: Vec<(&str, Option<Value>)> =
            options.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
        let params = self.base.apply(&method, &options)?;
        let session = self.base.existing(globals)?;
        let features = session.resolve(&self.features)?;
        self.base
            .run(&session, |_| Ok(sample::ask(&params, self.seed, features)))
    }

    fn choices(&self) -> [Choice; 14] {
        let choice = |name, keys, given| Choice { name, keys, given };
        [
            choice("--kind", &["kind"], json(&self.kind)),
            choice("--k", &["k"], json(&self.k)),
            choice("--select", &["select"], json(&self.select)),
            choice("--rounds", &["rounds"], json(&self.rounds)),
            choice(
                "--noise-per-round",
                &["noise_per_round"],
                json(&self.noise_per_round),
            ),
            choice(
                "--anchors-per-round",
                &["anchors_per_round"],
                json(&self.anchors_per_round),
            ),
            choice("--keep", &["keep"], json(&self.keep)),
            choice("--sigma", &["sigma"], json(&self.sigma)),
            choice("--overshoot", &["overshoot"], json(&self.overshoot)),
            choice("--step", &["step"], json(&self.step)),
            choice("--extra-steps", &["extra_steps"], json(&self.extra_steps)),
            choice("--max-steps", &["max_steps"], json(&self.max_steps)),
            choice("--per-class", &["per_class", "count"], json(&self.per_class)),
            choice("--knn", &["knn"], json(&self.knn)),
        ]
    }

    /// Returns the options as keys of the method's section.
    fn options(&self, method: &Method) -> Result<Vec<(String, Option<Value>)>> {
        let mut options = Vec::new();
        for choice in self.choices() {
            if choice.given.is_none() {
                continue;
            }
            let Some(key) = choice.key(method) else {
                let has = |name: &&str| {
                    method
                        .with_method(name)
                        .is_some_and(|other| choice.key(&other).is_some())
                };
                let others: Vec<&str> = Method::NAMES.iter().copied().filter(has).collect();
                bail!(Usage(format!(
                    "{} does not belong to --method {}; it is for {}",
                    choice.name,
                    method.name(),
                    others.join(", ")
                )));
            };
            options.push((key, choice.given));
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
