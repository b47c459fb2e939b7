//! `dream observe`.

use anyhow::{Result, bail};
use dream_ood::engine::Precision;
use dream_ood::stage::observe::{self, Classifier, Dtype, Network, Params};
use dream_ood::stage::pipeline::Reach;
use dream_ood::stage::{ImageSource, Refusals, Role, Source as _};
use dream_schema::RunSpec;
use serde_json::json;

use super::{Base, all_is_well, images_or, print_runs, refuse_alias};
use crate::choices::Choices;
use crate::commands::Verdict;
use crate::globals::Globals;
use crate::memory;
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
    #[arg(long, value_name = "NAME", requires = "weights", conflicts_with = "detector")]
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
    /// The labels of sets with some of the classifier's classes, or with all in another order, are matched by
    /// the names of the classes
    #[arg(long, conflicts_with = "numbered")]
    matched: bool,
    /// As what logits and features are stored: f32, or f16 in half the room; they are read as f32
    #[arg(long, value_parser = Choices(&Dtype::ALL))]
    dtype: Option<Dtype>,
    /// How the network is computed: f32, or on a GPU tf32 (usual there) or bf16; without it, what is usual
    /// on the device
    #[arg(long, value_parser = Choices(&Precision::ALL))]
    precision: Option<Precision>,
    #[command(flatten)]
    base: Base,
}

impl Observe {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        if let (Some(alias), true) = (&self.base.alias, self.datasets.len() > 1) {
            let runs = self.datasets.len();
            bail!(Usage(format!(
                "--alias {alias} names one run, and {runs} are asked for: observe one set at a time, or \
                 leave it out"
            )));
        }
        let preset = self.base.preset(globals)?;
        let session = self.base.existing(globals)?;
        let preset = preset.until(session.stop());
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
                    Ok(Classifier::Weights(Box::new(weights)))
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
                matched: self.matched,
                dtype: self.dtype.unwrap_or_default(),
                precision: self.precision.or(preset.evaluate.precision),
                network: network.clone(),
            };
            self.base
                .apply(&params, &[("network", network.as_ref().map(|n| json!(n)))])
        };
        let mut refusals = Refusals::of(observe::NAME).within(memory::room(globals));
        let classes = match &network {
            Some(network) => network.classes.clone(),
            None => id()?.classes().to_vec(),
        };
        let mut asked_for = Vec::new();
        for set in &sets {
            if let Some(note) = self.labels_left_out(set, &classes, &mut refusals) {
                session.bars.say(&note);
            }
            let asked = observe::ask(&params(set)?, &classifier(Reach::Glance)?, set);
            let planned = asked.plan(store, &mut refusals)?;
            refuse_alias(&session, self.base.alias.as_deref(), &planned, &mut refusals)?;
            asked_for.push(planned);
        }
        refusals.finish()?;
        (asked_for.iter()).try_for_each(|planned| session.require_room_for(planned))?;
        if self.base.check {
            return all_is_well(globals);
        }
        let spec = |set| -> Result<RunSpec> {
            Ok(observe::ask(&params(set)?, &classifier(Reach::Register)?, set).spec(store)?)
        };
        let specs = sets.iter().map(spec).collect::<Result<Vec<_>>>()?;
        let alias = self.base.alias.as_deref();
        let runs = specs
            .iter()
            .map(|spec| session.run(spec, alias))
            .collect::<Result<Vec<_>>>()?;
        print_runs(&session, &runs)?;
        Ok(Verdict::Good)
    }

    /// Refuses a set with the classifier's classes in another order, unless it is said what becomes of its
    /// labels; says so where it has some of the classes, or has numbers for them. The labels of a set of
    /// others mean nothing to the classifier.
    fn labels_left_out(
        &self,
        set: &ImageSource,
        classes: &[String],
        refusals: &mut Refusals,
    ) -> Option<String> {
        let own = set.classes();
        if self.matched || self.numbered || own.is_empty() || own == classes {
            return None;
        }
        let (name, shared) = (
            set.name(),
            own.iter().filter(|class| classes.contains(class)).count(),
        );
        if shared == own.len() && own.len() == classes.len() {
            let found = format!(
                "`{name}` has the classifier's classes in another order; `--matched` matches its labels by \
                 the names of the classes"
            );
            refusals.refuse(Role::Images, found);
            return None;
        }
        if shared > 0 {
            let way = match shared == own.len() {
                true => "; `--matched` takes them",
                false => "",
            };
            return Some(format!(
                "`{name}` has {shared} of the classifier's {} classes: its labels are left out{way}",
                classes.len()
            ));
        }
        set.say_numbered(classes).map(|_| {
            format!("`{name}` numbers its classes: its labels are left out; `--numbered` takes them")
        })
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
