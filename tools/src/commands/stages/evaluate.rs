//! `dream evaluate`.

use anyhow::Result;
use dream_ood::ood::Convention;
use dream_ood::stage::pipeline::Reach;
use dream_ood::stage::{ImageSource, Source as _, evaluate};
use dream_schema::RunId;

use super::{Base, all_is_well, images_or, json};
use crate::args::Args;
use crate::commands::Verdict;
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
        let mut refusals = self.base.refusals(evaluate::NAME);
        let (id, ood) = sets(Reach::Glance)?;
        for detector in &detectors {
            evaluate::ask(&params, *detector, &id, &ood).plan(store, &mut refusals)?;
        }
        refusals.finish()?;
        if self.base.check {
            return all_is_well();
        }
        let (id, ood) = sets(Reach::Register)?;
        let mut runs = Vec::new();
        for detector in &detectors {
            let spec = evaluate::ask(&params, *detector, &id, &ood).spec(store)?;
            let alias = self.base.alias.as_deref().filter(|_| detectors.len() == 1);
            runs.push(session.run(&spec, alias)?.id);
        }
        table::print(&session, &runs)?;
        Ok(Verdict::Good)
    }
}
