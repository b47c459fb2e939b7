//! `dream detect`.

use anyhow::{Result, bail};
use dream_ood::stage::detect::{self, Pair, Params, PhiName};
use dream_ood::stage::pipeline::{Preset, Reach};
use dream_ood::stage::{ImageSource, Input, Refusals, StateSource};
use dream_schema::RunId;

use super::{Base, Weights, all_is_well, finite, images_or, json, print_runs, refuse_alias};
use crate::commands::Verdict;
use crate::globals::Globals;
use crate::memory;
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
    #[arg(long, requires = "outliers", allow_negative_numbers = true, value_parser = finite)]
    beta: Option<f64>,
    /// linear (slope held positive), linear-free or two-layer
    #[arg(long, requires = "outliers", value_parser = Words(&PhiName::ALL))]
    phi: Option<PhiName>,
    /// Leaves the plain classifier out: not where the one with outliers starts from it
    #[arg(long, requires = "outliers")]
    only_outliers: bool,
    #[command(flatten)]
    weights: Weights,
    #[command(flatten)]
    base: Base,
}

impl Detect {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
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
        let of_loss = |pair: &&String| pair.starts_with("outlier.") || pair.starts_with("outlier=");
        if let (None, Some(pair)) = (&self.outliers, self.base.set.iter().find(of_loss)) {
            bail!(Usage(format!(
                "--set {pair}: without --outliers there is no loss on outliers"
            )));
        }
        let fine_tunes = params
            .outlier
            .as_ref()
            .is_some_and(|loss| loss.fine_tune.is_some());
        if self.only_outliers && fine_tunes && !self.weights.are_given() {
            let why = "--only-outliers: with outlier.fine_tune the training starts from the plain classifier";
            bail!(Usage(why.into()));
        }
        let session = match self.outliers {
            Some(_) => self.base.existing(globals)?,
            None => self.base.writing(globals)?,
        };
        let outliers = self
            .outliers
            .as_deref()
            .map(|name| session.resolve(name))
            .transpose()?;
        let sources = self.sources(&session, &preset, outliers, Reach::Glance)?;
        self.check(&session, &params, &sources, outliers)?;
        if self.base.check {
            return all_is_well(globals);
        }
        let sources = self.sources(&session, &preset, outliers, Reach::Register)?;
        // More is known of what is registered; after the first training it would be late.
        self.check(&session, &params, &sources, outliers)?;
        let pair = self.pair(&params, &sources);
        let mut runs = Vec::new();
        let mut plain = None;
        if !self.only_outliers {
            let run = session.run(&pair.plain().spec(&session.store)?, self.plain_alias().as_deref())?;
            plain = Some(Input::Stored(run.id));
            runs.push(run);
        }
        if let Some(outliers) = outliers {
            let spec = pair.with_outliers(outliers.into(), plain).spec(&session.store)?;
            runs.push(session.run(&spec, self.base.alias.as_deref())?);
        }
        print_runs(&session, &runs)?;
        Ok(Verdict::Good)
    }

    /// Returns the alias of the plain classifier: where both are trained, the one given is that of the other.
    fn plain_alias(&self) -> Option<String> {
        let alias = self.base.alias.as_ref()?;
        Some(match self.outliers {
            Some(_) => format!("{alias}-plain"),
            None => alias.clone(),
        })
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
        params: &Params,
        sources: &Sources,
        outliers: Option<RunId>,
    ) -> Result<()> {
        let pair = self.pair(params, sources);
        let mut refusals = Refusals::of(detect::NAME).within(memory::room(session.globals));
        let mut plain = None;
        if !self.only_outliers {
            let planned = pair.plain().plan(&session.store, &mut refusals)?;
            refuse_alias(session, self.plain_alias().as_deref(), &planned, &mut refusals)?;
            plain = Some(planned);
        }
        if let Some(outliers) = outliers {
            let asked = pair.with_outliers(outliers.into(), plain);
            let planned = asked.plan(&session.store, &mut refusals)?;
            refuse_alias(session, self.base.alias.as_deref(), &planned, &mut refusals)?;
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
}

/// What both trainings read.
struct Sources {
    images: ImageSource,
    weights: Option<StateSource>,
}
