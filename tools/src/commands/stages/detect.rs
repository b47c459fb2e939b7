//! `dream detect`.

use anyhow::{Result, bail};
use dream_ood::engine::Precision;
use dream_ood::nn::augment::Policy;
use dream_ood::stage::detect::{self, Method, Pair, Params, PhiName, Recipe, owners};
use dream_ood::stage::pipeline::{Preset, Reach};
use dream_ood::stage::training::{Backbone, Mix, MixImages};
use dream_ood::stage::{ImageSource, Input, Refusals, Role, StateSource};
use dream_schema::RunId;

use super::{Base, Weights, all_is_well, finite, images_or, json, print_runs, refuse_alias};
use crate::choices::Choices;
use crate::commands::Verdict;
use crate::globals::Globals;
use crate::memory;
use crate::session::{Session, Usage};

/// Stage 5: trains the classifier twice from one seed, plain and by a method: DREAM-OOD's loss on imagined
/// outliers, or one to compare with.
///
/// Parameters of the method are `--set outlier.KEY=VALUE`.
#[derive(Debug, clap::Args)]
pub struct Detect {
    /// The imagined outliers: an `imagine` run, or a `select` run of chosen ones; without it, only the plain
    /// classifier is trained, unless the method takes no pictures
    #[arg(long, value_name = "RUN")]
    outliers: Option<String>,
    /// Imagined pictures of the classes, an `imagine` run of inliers or plain prompts: for --method dream-id,
    /// which is then the default
    #[arg(long, value_name = "RUN", conflicts_with = "outliers")]
    inliers: Option<String>,
    /// The method: phi (DREAM-OOD); on the same outliers outlier-exposure, energy-margins, extra-class or
    /// mixoe; dream-id (DREAM-ID), on inliers; without pictures logitnorm, vos or npos
    #[arg(long, value_parser = Choices(Method::NAMES))]
    method: Option<&'static str>,
    /// A registered image set; without it, the one that the outliers come from, or the preset's
    #[arg(long)]
    dataset: Option<String>,
    /// Seed of all random numbers
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Passes over the training split
    #[arg(long)]
    epochs: Option<usize>,
    /// The network, as wide as in the literature; without it, the preset's
    #[arg(long, value_name = "NAME", value_parser = Choices(&Backbone::ALL))]
    backbone: Option<Backbone>,
    /// Varies training images as torchvision's RandAugment, AutoAugment (the policy for CIFAR-10) or
    /// AugMix, with its defaults: `--set training.augment.KEY=VALUE` changes them
    #[arg(long, value_name = "NAME", value_parser = Choices(&Policy::NAMES))]
    augment: Option<&'static str>,
    /// Mixes training images in pairs, and their labels: cutmix or mixup
    #[arg(long, value_name = "NAME", value_parser = Choices(&Mix::ALL))]
    mix: Option<Mix>,
    /// Weight of the method's loss
    #[arg(long, allow_negative_numbers = true, value_parser = finite)]
    beta: Option<f64>,
    /// linear (slope held positive), linear-free, linear-two (the public code's for CIFAR-100) or two-layer
    #[arg(long, value_parser = Choices(&PhiName::ALL))]
    phi: Option<PhiName>,
    /// Leaves the plain classifier out: not where the other one starts from it
    #[arg(long)]
    only_outliers: bool,
    /// How the network is computed: f32, or on a GPU tf32 (usual there) or bf16; without it, what is usual
    /// on the device
    #[arg(long, value_parser = Choices(&Precision::ALL))]
    precision: Option<Precision>,
    #[command(flatten)]
    weights: Weights,
    #[command(flatten)]
    base: Base,
}

impl Detect {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        let preset = self.base.preset(globals)?;
        let params = self.params(&preset)?;
        let by_method = self.check_method(&params)?;
        let fine_tunes = params
            .outlier
            .as_ref()
            .is_some_and(|recipe| recipe.fine_tune.is_some());
        if self.only_outliers && fine_tunes && !self.weights.are_given() {
            let why = "--only-outliers: with outlier.fine_tune the training starts from the plain classifier";
            bail!(Usage(why.into()));
        }
        let session = match self.pictures() {
            Some(_) => self.base.existing(globals)?,
            None => self.base.writing(globals)?,
        };
        let preset = preset.until(session.stop());
        let pictures = self.pictures().map(|(_, name)| session.resolve(name));
        let pictures = pictures.transpose()?;
        let wanted = Wanted { by_method, pictures };
        let sources = self.sources(&session, &preset, pictures, Reach::Glance)?;
        self.check(&session, &params, &sources, wanted)?;
        if self.base.check {
            return all_is_well(globals);
        }
        let sources = self.sources(&session, &preset, pictures, Reach::Register)?;
        // More is known of what is registered; after the first training it would be late.
        self.check(&session, &params, &sources, wanted)?;
        let pair = self.pair(&params, &sources);
        let mut runs = Vec::new();
        let mut plain = None;
        if !self.only_outliers {
            let alias = self.plain_alias(wanted);
            let run = session.run(&pair.plain().spec(&session.store)?, alias.as_deref())?;
            plain = Some(Input::Stored(run.id));
            runs.push(run);
        }
        if by_method {
            let asked = pair.with_method(pictures.map(Input::Stored), plain);
            runs.push(session.run(&asked.spec(&session.store)?, self.base.alias.as_deref())?);
        }
        print_runs(&session, &runs)?;
        Ok(Verdict::Good)
    }

    /// Returns the run of pictures that is given, and what it is given as.
    fn pictures(&self) -> Option<(Role, &str)> {
        let outliers = self.outliers.as_deref().map(|run| (Role::Outliers, run));
        outliers.or(self.inliers.as_deref().map(|run| (Role::Inliers, run)))
    }

    /// Returns the parameters: the preset's, with the method and the options laid over them.
    fn params(&self, preset: &Preset) -> Result<Params> {
        let mut params = preset.detect.clone();
        let of_inliers = self.inliers.as_ref().map(|_| Method::INLIERS);
        if let Some(name) = self.method.or(of_inliers) {
            let recipe = params.outlier.take();
            let method = match &recipe {
                Some(recipe) => recipe.method.with_method(name),
                None => Method::of_name(name),
            };
            let fine_tune = recipe.and_then(|recipe| recipe.fine_tune);
            params.outlier = method.map(|method| Recipe { method, fine_tune });
        }
        if let Some(recipe) = &params.outlier {
            for (option, key, given) in [
                ("--beta", "beta", self.beta.is_some()),
                ("--phi", "phi", self.phi.is_some()),
            ] {
                if given && !recipe.method.has(key) {
                    bail!(Usage(format!(
                        "{option} does not belong to --method {}; it is for {}",
                        recipe.method.name(),
                        owners(key).join(", ")
                    )));
                }
            }
        }
        if let Some(backbone) = self.backbone {
            backbone.put_into(&mut params.training);
        }
        // What a network consists of is given by its name.
        let network = self.backbone.map(|_| &params.training);
        let options = [
            ("training.depth", json(&network.map(|of| of.depth))),
            ("training.width", json(&network.map(|of| of.width))),
            ("training.form", json(&network.map(|of| of.form))),
            ("training.stem", json(&network.map(|of| of.stem))),
            ("training.epochs", json(&self.epochs)),
            ("training.augment", json(&self.augment.and_then(Policy::of_name))),
            ("training.mix", json(&self.mix.map(MixImages::new))),
            ("outlier.beta", json(&self.beta)),
            ("outlier.phi", json(&self.phi)),
            ("training.precision", json(&self.precision)),
            ("training.new_head", self.weights.new_head()),
        ];
        self.base.apply(&params, &options)
    }

    /// Says whether a classifier is trained by the method, beside the plain one or alone; refuses pictures
    /// that are missing or that nothing is done with, and options of a method that is not used.
    fn check_method(&self, params: &Params) -> Result<bool> {
        let recipe = params.outlier.as_ref();
        let pictures = self.pictures();
        let (Some(recipe), true) = (recipe, pictures.is_some() || self.method.is_some()) else {
            if self.outliers.is_some() {
                let why = "--outliers is given, but the preset has no [detect.outlier]";
                bail!(Usage(why.into()));
            }
            let of_loss = |pair: &&String| pair.starts_with("outlier.") || pair.starts_with("outlier=");
            let set = self
                .base
                .set
                .iter()
                .find(of_loss)
                .map(|pair| format!("--set {pair}"));
            let options = [
                ("--beta", self.beta.is_some()),
                ("--phi", self.phi.is_some()),
                ("--only-outliers", self.only_outliers),
            ];
            let given = options.iter().find(|(_, given)| *given);
            if let Some(option) = given.map(|(name, _)| (*name).to_owned()).or(set) {
                bail!(Usage(format!(
                    "{option}: without --outliers or --method only the plain classifier is trained"
                )));
            }
            return Ok(false);
        };
        let name = recipe.method.name();
        match (recipe.method.beside().map(|beside| beside.role), pictures) {
            (None, None) => Ok(true),
            (Some(role), Some((given, _))) if role == given => Ok(true),
            (Some(role), _) => bail!(Usage(format!(
                "the method `{name}` takes imagined pictures: give --{role} RUN, an `imagine` run"
            ))),
            (None, Some((given, _))) => bail!(Usage(format!(
                "--{given} is given, but the method `{name}` takes no pictures"
            ))),
        }
    }

    /// Returns the alias of the plain classifier: where both are trained, the one given is that of the other.
    fn plain_alias(&self, wanted: Wanted) -> Option<String> {
        let alias = self.base.alias.as_ref()?;
        Some(match wanted.by_method {
            true => format!("{alias}-plain"),
            false => alias.clone(),
        })
    }

    fn sources(
        &self,
        session: &Session<'_>,
        preset: &Preset,
        pictures: Option<RunId>,
        reach: Reach,
    ) -> Result<Sources> {
        Ok(Sources {
            images: images_or(&session.store, &self.dataset, pictures, reach, preset)?,
            weights: self.weights.source(&session.store, reach)?,
        })
    }

    /// Refuses what cannot be done of both trainings, before the first of them.
    fn check(&self, session: &Session<'_>, params: &Params, sources: &Sources, wanted: Wanted) -> Result<()> {
        let pair = self.pair(params, sources);
        let mut refusals = Refusals::of(detect::NAME).within(memory::room(session.globals));
        let (mut plain, mut asked_for) = (None, Vec::new());
        if !self.only_outliers {
            let planned = pair.plain().plan(&session.store, &mut refusals)?;
            refuse_alias(
                session,
                self.plain_alias(wanted).as_deref(),
                &planned,
                &mut refusals,
            )?;
            plain = Some(planned.clone().settled(&session.store));
            asked_for.push(planned);
        }
        if wanted.by_method {
            let asked = pair.with_method(wanted.pictures.map(Input::Stored), plain);
            let planned = asked.plan(&session.store, &mut refusals)?;
            refuse_alias(session, self.base.alias.as_deref(), &planned, &mut refusals)?;
            asked_for.push(planned);
        }
        refusals.finish()?;
        asked_for
            .iter()
            .try_for_each(|planned| session.require_room_for(planned))
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

/// Whether a classifier is trained by the method, and the pictures for it.
#[derive(Clone, Copy)]
struct Wanted {
    by_method: bool,
    pictures: Option<RunId>,
}

/// What both trainings read.
struct Sources {
    images: ImageSource,
    weights: Option<StateSource>,
}
