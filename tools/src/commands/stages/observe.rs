//! `dream observe`.

use anyhow::{Result, bail};
use dream_ood::stage::observe::{self, Classifier, Network, Params};
use dream_ood::stage::pipeline::Reach;
use dream_ood::stage::{ImageSource, Source as _};
use serde_json::json;

use super::{Base, all_is_well, images_or};
use crate::args::Args;
use crate::commands::Verdict;
use crate::session::Usage;

/// Passes images through a classifier once and stores its logits and features of each (table `activations`);
/// prints a run for every set.
#[derive(Debug, clap::Args)]
pub struct Observe {
    /// The classifier: a `detect` run
    #[arg(
        value_name = "RUN",
        required_unless_present = "weights",
        conflicts_with = "weights"
    )]
    detector: Option<String>,
    /// The classifier: weights of a ResNet (safetensors or a PyTorch file), or their registered name; the
    /// preset's `detect.training` says the network and how images are brought to its input
    #[arg(long, value_name = "FILE|NAME", requires = "id")]
    weights: Option<String>,
    /// With --weights: the registered image set whose classes are those of the classifier, in its order
    #[arg(long, value_name = "NAME", requires = "weights")]
    id: Option<String>,
    /// Registered image sets to look at; without them, the in-distribution set
    #[arg(long = "dataset", value_name = "NAME", num_args = 1..)]
    datasets: Vec<String>,
    /// Their split; without it `test`, or the only one that a set has
    #[arg(long)]
    split: Option<String>,
    /// The labels of sets that number their classes, and do not name them, are the classifier's
    #[arg(long)]
    numbered: bool,
    #[command(flatten)]
    base: Base,
}

impl Observe {
    pub fn execute(&self, args: &Args) -> Result<Verdict> {
        let preset = self.base.preset()?;
        let session = self.base.existing(args)?;
        let store = &session.store;
        let detector = self
            .detector
            .as_ref()
            .map(|name| session.resolve(name))
            .transpose()?;
        let id = || images_or(store, &self.id, detector, Reach::Glance, &preset);
        let sets = match self.datasets.is_empty() {
            true => vec![id()?],
            false => (self.datasets.iter())
                .map(|name| Ok(ImageSource::named(store, name)?))
                .collect::<Result<_>>()?,
        };
        let network = match &self.weights {
            Some(_) => Some(Network::of(&preset.detect.training, id()?.classes())),
            None => None,
        };
        let classifier = |reach: Reach| -> Result<Classifier> {
            match (&self.weights, detector) {
                (Some(name), _) => {
                    let weights = super::weights(store, "--weights", name, reach)?;
                    Ok(Classifier::Weights(weights))
                }
                (None, Some(run)) => Ok(Classifier::Run(run.into())),
                (None, None) => bail!(Usage("name a `detect` run, or --weights".to_owned())),
            }
        };
        let params = |set: &ImageSource| {
            let split = self.split.clone().unwrap_or_else(|| default_split(set));
            let params = Params {
                split,
                numbered: self.numbered,
                network: network.clone(),
            };
            self.base
                .apply(&params, &[("network", network.as_ref().map(|n| json!(n)))])
        };
        let mut refusals = self.base.refusals(observe::NAME);
        if self.base.alias.is_some() && sets.len() > 1 {
            refusals.refuse(
                "alias",
                format!("one name for the {} runs of {0} sets", sets.len()),
            );
        }
        for set in &sets {
            let asked = observe::ask(&params(set)?, &classifier(Reach::Glance)?, set);
            asked.plan(store, &mut refusals)?;
        }
        refusals.finish()?;
        if self.base.check {
            return all_is_well();
        }
        for set in &sets {
            let asked = observe::ask(&params(set)?, &classifier(Reach::Register)?, set);
            let run = session.run(&asked.spec(store)?, self.base.alias.as_deref())?;
            out!("{}", run.id)?;
        }
        Ok(Verdict::Good)
    }
}

/// Returns the only split of a set, or else `test`.
fn default_split(set: &ImageSource) -> String {
    let mut splits = set.splits();
    match (splits.next(), splits.next()) {
        (Some(only), None) => only.to_owned(),
        _ => "test".to_owned(),
    }
}
