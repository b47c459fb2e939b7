//! `dream detect`.

use anyhow::{Result, bail};
use dream_ood::stage::detect::{self, Inputs, Params};

use super::{Base, Weights, json, source_or};
use crate::args::Args;
use crate::commands::Verdict;
use crate::session::{Session, Usage};

/// Trains the classifier twice from one seed, without and with the loss on imagined outliers.
#[derive(Debug, clap::Args)]
pub struct Detect {
    /// The imagined outliers: an `imagine` run; without it, only the plain classifier is trained
    #[arg(long, value_name = "RUN")]
    outliers: Option<String>,
    /// A registered image set
    #[arg(long)]
    dataset: Option<String>,
    /// Seed of all random numbers
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Passes over the training split
    #[arg(long)]
    epochs: Option<usize>,
    /// Weight of the loss on outliers
    #[arg(long)]
    beta: Option<f64>,
    /// linear (slope held positive), linear-free or two-layer
    #[arg(long)]
    phi: Option<String>,
    /// Leaves the plain classifier out
    #[arg(long, requires = "outliers")]
    only_outliers: bool,
    #[command(flatten)]
    weights: Weights,
    #[command(flatten)]
    base: Base,
}

impl Detect {
    pub fn execute(&self, args: &Args) -> Result<Verdict> {
        let preset = self.base.preset()?;
        let options = [
            ("training.epochs", json(&self.epochs)),
            ("outlier.beta", json(&self.beta)),
            ("outlier.phi", json(&self.phi)),
            ("training.new_head", self.weights.new_head()),
        ];
        let params = self.base.apply(&preset.detect, &options)?;
        let session = Session::writing(args)?;
        let images = source_or(&session.store, &self.dataset, || {
            Ok(preset.id_set(&session.store)?)
        })?;
        let weights = self.weights.source(&session.store)?;
        let fine_tunes = params.outlier.as_ref().is_some_and(|o| o.fine_tune.is_some()) && weights.is_none();
        let mut initial = None;
        if !self.only_outliers || fine_tunes {
            let plain = Params {
                outlier: None,
                ..params.clone()
            };
            let none = Inputs::default();
            let spec = detect::spec_from(&session.store, &plain, self.seed, none, &images, weights.as_ref())?;
            let alias = self.base.alias.as_ref().map(|a| format!("{a}-plain"));
            let run = session.run(&spec, alias.as_deref())?;
            println!("{}", run.id);
            initial = fine_tunes.then_some(run.id);
        }
        if let Some(outliers) = &self.outliers {
            if params.outlier.is_none() {
                bail!(Usage(
                    "--outliers is given, but the preset has no [detect.outlier]".into()
                ));
            }
            let from = Inputs {
                outliers: Some(session.resolve(outliers)?),
                initial,
            };
            let spec = detect::spec_from(
                &session.store,
                &params,
                self.seed,
                from,
                &images,
                weights.as_ref(),
            )?;
            let run = session.run(&spec, self.base.alias.as_deref())?;
            println!("{}", run.id);
        }
        Ok(Verdict::Good)
    }
}
