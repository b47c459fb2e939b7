//! `dream evaluate`.

use anyhow::Result;
use dream_ood::stage::{Source, evaluate};

use super::{Base, json, source_or};
use crate::args::Args;
use crate::commands::Verdict;
use crate::session::Session;
use crate::table;

/// Scores the test sets with trained classifiers and prints the detection table.
#[derive(Debug, clap::Args)]
pub struct Evaluate {
    /// The classifiers: `detect` runs
    #[arg(required = true, value_name = "RUN")]
    detectors: Vec<String>,
    /// The registered in-distribution set
    #[arg(long)]
    dataset: Option<String>,
    /// Registered out-of-distribution sets
    #[arg(long, value_name = "NAME", num_args = 1..)]
    ood: Vec<String>,
    /// Whose definition of the metrics: dream-ood, openood or pytorch-ood
    #[arg(long)]
    convention: Option<String>,
    #[command(flatten)]
    base: Base,
}

impl Evaluate {
    pub fn execute(&self, args: &Args) -> Result<Verdict> {
        let preset = self.base.preset()?;
        let params = self
            .base
            .apply(&preset.evaluate, &[("convention", json(&self.convention))])?;
        let session = Session::existing(args)?;
        let store = &session.store;
        let id = source_or(store, &self.dataset, || Ok(preset.id_set(store)?))?;
        let ood = if self.ood.is_empty() {
            preset.ood_sets(store)?
        } else {
            self.ood
                .iter()
                .map(|name| Source::named(store, name))
                .collect::<Result<Vec<_>, _>>()?
        };
        let mut runs = Vec::new();
        for name in &self.detectors {
            let spec = evaluate::spec(store, &params, session.resolve(name)?, &id, &ood)?;
            let alias = self.base.alias.as_deref().filter(|_| self.detectors.len() == 1);
            runs.push(session.run(&spec, alias)?.id);
        }
        table::print(&session, &runs)?;
        Ok(Verdict::Good)
    }
}
