//! `dream evaluate`.

use anyhow::{Result, bail};
use dream_ood::ood::Convention;
use dream_ood::stage::pipeline::Reach;
use dream_ood::stage::{ImageSource, Refusals, Source as _, evaluate};
use dream_schema::{RunId, RunSpec};

use super::{Base, all_is_well, images_or, json, refuse_alias};
use crate::args::Args;
use crate::commands::Verdict;
use crate::memory;
use crate::session::Usage;
use crate::table;
use crate::words::Words;

/// Stage 6: scores the test sets with trained classifiers and prints the detection table.
#[derive(Debug, clap::Args)]
pub struct Evaluate {
    /// The classifiers: `detect` runs
    #[arg(required = true, value_name = "RUN")]
    detectors: Vec<String>,
    /// The registered in-distribution set; without it, the one that the first classifier was trained on
    #[arg(long)]
    dataset: Option<String>,
    /// Registered out-of-distribution sets
    #[arg(long, value_name = "NAME", num_args = 1..)]
    ood: Vec<String>,
    /// Whose definition of the metrics: dream-ood, openood or pytorch-ood
    #[arg(long, value_parser = Words(&Convention::ALL))]
    convention: Option<Convention>,
    #[command(flatten)]
    base: Base,
}

impl Evaluate {
    pub fn execute(&self, args: &Args) -> Result<Verdict> {
        if let (Some(alias), true) = (&self.base.alias, self.detectors.len() > 1) {
            let runs = self.detectors.len();
            bail!(Usage(format!(
                "--alias {alias} names one run, and {runs} are asked for: evaluate one classifier at a time, \
                 or leave it out"
            )));
        }
        let preset = self.base.preset()?;
        let params = self
            .base
            .apply(&preset.evaluate, &[("convention", json(&self.convention))])?;
        let session = self.base.existing(args)?;
        let store = &session.store;
        let detectors = self.detectors.iter().map(|name| session.resolve(name));
        let detectors = detectors.collect::<Result<Vec<RunId>>>()?;
        let sets = |reach: Reach| -> Result<(ImageSource, Vec<ImageSource>)> {
            let id = images_or(store, &self.dataset, detectors.first().copied(), reach, &preset)?;
            if self.ood.is_empty() {
                return Ok((id, preset.ood_sets(store, reach)?));
            }
            let ood = self.ood.iter().map(|name| ImageSource::named(store, name));
            Ok((id, ood.collect::<Result<_, _>>()?))
        };
        let mut refusals = Refusals::of(evaluate::NAME).within(memory::room(session.args));
        let (id, ood) = sets(Reach::Glance)?;
        for detector in &detectors {
            let planned = evaluate::ask(&params, *detector, &id, &ood).plan(store, &mut refusals)?;
            refuse_alias(&session, self.base.alias.as_deref(), &planned, &mut refusals)?;
        }
        refusals.finish()?;
        if self.base.check {
            return all_is_well(args);
        }
        let (id, ood) = sets(Reach::Register)?;
        let spec = |detector: &RunId| evaluate::ask(&params, *detector, &id, &ood).spec(store);
        let specs = detectors.iter().map(spec).collect::<Result<Vec<_>, _>>()?;
        let alias = self.base.alias.as_deref();
        let run = |spec: &RunSpec| Ok(session.run(spec, alias)?.id);
        let runs = specs.iter().map(run).collect::<Result<Vec<_>>>()?;
        table::print(&session, &runs)?;
        Ok(Verdict::Good)
    }
}
