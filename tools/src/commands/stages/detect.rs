//! `dream detect`.

use anyhow::{Result, bail};
use dream_ood::stage::detect::{self, Pair, Params, PhiName};
use dream_ood::stage::pipeline::{Preset, Reach};
use dream_ood::stage::{ImageSource, Input, StateSource};
use dream_schema::RunId;

use super::{Base, Weights, all_is_well, images_or, json};
use crate::args::Args;
use crate::commands::Verdict;
use crate::session::{Session, Usage};
use crate::words::Words;

/// Stage 5: trains the classifier twice from one seed, without and with the loss on imagined outliers.
#[derive(Debug, clap::Args)]
pub struct Detect {
    /// The imagined outliers: an `imagine` run; without it, only the plain classifier is trained
    #[arg(long, value_name = "RUN")]
    outliers: Option<String>,
    /// A registered image set; without it, the one that the outliers come from, or the preset's
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
    #[arg(long, value_parser = Words(&PhiName::ALL))]
    phi: Option<PhiName>,
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
        if self.outliers.is_some() && params.outlier.is_none() {
            let why = "--outliers is given, but the preset has no [detect.outlier]";
            bail!(Usage(why.into()));
        }
        let session = self.base.writing(args)?;
        let outliers = self
            .outliers
            .as_deref()
            .map(|name| session.resolve(name))
            .transpose()?;
        self.check(&session, &preset, &params, outliers)?;
        if self.base.check {
            return all_is_well();
        }
        let sources = self.sources(&session, &preset, outliers, Reach::Register)?;
        let pair = self.pair(&params, &sources);
        let mut plain = None;
        if self.trains_plain(&pair) {
            let alias = self.base.alias.as_ref().map(|a| format!("{a}-plain"));
            let run = session.run(&pair.plain().spec(&session.store)?, alias.as_deref())?;
            out!("{}", run.id)?;
            plain = Some(Input::Stored(run.id));
        }
        if let Some(outliers) = outliers {
            let spec = pair.with_outliers(outliers.into(), plain).spec(&session.store)?;
            let run = session.run(&spec, self.base.alias.as_deref())?;
            out!("{}", run.id)?;
        }
        Ok(Verdict::Good)
    }

    fn sources(
        &self,
        session: &Session<'_>,
        preset: &Preset,
        outliers: Option<RunId>,
        reach: Reach,
    ) -> Result<Sources> {
        Ok(Sources {
            images: images_or(&session.store, &self.dataset, outliers, reach, preset)?,
            weights: self.weights.source(&session.store, reach)?,
        })
    }

    /// Refuses what cannot be done of both trainings, before the first of them.
    fn check(
        &self,
        session: &Session<'_>,
        preset: &Preset,
        params: &Params,
        outliers: Option<RunId>,
    ) -> Result<()> {
        let sources = self.sources(session, preset, outliers, Reach::Glance)?;
        let pair = self.pair(params, &sources);
        let mut refusals = self.base.refusals(detect::NAME);
        let mut plain = None;
        if self.trains_plain(&pair) {
            plain = Some(pair.plain().plan(&session.store, &mut refusals)?);
        }
        if let Some(outliers) = outliers {
            let asked = pair.with_outliers(outliers.into(), plain);
            asked.plan(&session.store, &mut refusals)?;
        }
        Ok(refusals.finish()?)
    }

    fn pair<'a>(&self, params: &'a Params, sources: &'a Sources) -> Pair<'a> {
        Pair {
            params,
            seed: self.seed,
            images: &sources.images,
            weights: sources.weights.as_ref(),
        }
    }

    fn trains_plain(&self, pair: &Pair<'_>) -> bool {
        !self.only_outliers || pair.fine_tunes()
    }
}

/// What both trainings read.
struct Sources {
    images: ImageSource,
    weights: Option<StateSource>,
}
