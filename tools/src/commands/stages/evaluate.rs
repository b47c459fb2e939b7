//! `dream evaluate`.

mod activations;
mod detectors;
mod imported;
mod words;

use anyhow::{Result, bail};
use dream_ood::ood::Convention;
use dream_ood::stage::Refusals;
use dream_ood::stage::detect::OwnScore;
use dream_ood::stage::evaluate::{
    self, Draws, EXTRA_METRICS, MOST_DRAWS, Observations, Params, ScoreSpec, Settings, There,
};
use dream_ood::stage::pipeline::Preset;
use dream_schema::RunId;

use self::activations::Stored;
use self::imported::Imported;
use self::words::{ExtraMetrics, TestSet, extra_metric};
use super::{Base, all_is_well, json, refuse_alias};
use crate::choices::Choices;
use crate::commands::Verdict;
use crate::globals::Globals;
use crate::memory;
use crate::session::{Session, Usage};
use crate::table;

/// Stage 6: takes detection scores of the test sets and prints the detection table. What classifiers show of
/// the images is observed first, once for all scores.
#[derive(Debug, clap::Args)]
pub struct Evaluate {
    /// The classifiers: `detect` runs
    #[arg(
        required_unless_present_any = ["activations", "id_scores"],
        conflicts_with_all = ["activations", "id_scores"],
        value_name = "RUN"
    )]
    detectors: Vec<String>,
    /// The registered in-distribution set; without it, the one that the first classifier was trained on
    #[arg(long)]
    dataset: Option<String>,
    /// Registered out-of-distribution sets, each with the split to look at where it has several and none is
    /// `test`, and with its group where averages of groups are wanted: near, far, or shifted for a set of the
    /// in-distribution classes under a covariate shift
    #[arg(long, value_name = "[GROUP=]NAME[:SPLIT]", num_args = 1..)]
    ood: Vec<TestSet>,
    /// Counts the images of shifted sets as in-distribution (full-spectrum detection)
    #[arg(long)]
    full_spectrum: bool,
    /// The scores, as in `msp,knn:k=10`, or `all`, without those that cannot be had from what is there (no
    /// validation images, features too narrow, no network behind imported activations, for `dream` and
    /// `extra-class` a classifier that was trained otherwise); `dream scores` lists them, and which of them
    /// run the network
    #[arg(long, value_name = "NAME[:KEY=NUMBER],...|all", value_delimiter = ',')]
    scores: Vec<ScoreSpec>,
    /// Measures so many random subsets of each OOD set, each a fifth as large as the in-distribution set, and
    /// takes the mean, as the public code of DREAM-OOD; `--set draws.seed=N` draws others
    #[arg(long, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_DRAWS)))]
    draws: Option<u32>,
    /// Searches the values of hyperparameters that are not given: the highest AUROC of the images of the
    /// validation split against these, a registered set that is no test set; each setting tried is stored
    #[arg(
        long,
        value_name = "NAME[:SPLIT]",
        requires = "validation_split",
        conflicts_with = "activations"
    )]
    ood_validation: Option<TestSet>,
    /// Metrics beside FPR95, AUROC and AUPR, or `all` of these that can be had from what is there
    #[arg(long, value_name = "NAME,...|all", value_delimiter = ',', value_parser = extra_metric)]
    metrics: Vec<ExtraMetrics>,
    /// Split of the in-distribution set that scores learn from beside the training images, for those that do
    #[arg(long, value_name = "SPLIT", conflicts_with = "activations")]
    validation_split: Option<String>,
    /// Whose definition of the metrics: dream-ood, openood or pytorch-ood
    #[arg(long, value_parser = Choices(&Convention::ALL))]
    convention: Option<Convention>,
    #[command(flatten)]
    stored: Stored,
    #[command(flatten)]
    imported: Imported,
    #[command(flatten)]
    base: Base,
}

impl Evaluate {
    pub fn execute(&self, globals: &Globals) -> Result<Verdict> {
        if let (Some(alias), true) = (&self.base.alias, self.detectors.len() > 1) {
            let runs = self.detectors.len();
            bail!(Usage(format!(
                "--alias {alias} names one run, and {runs} are asked for: evaluate one classifier at a time, \
                 or leave it out"
            )));
        }
        let preset = self.base.preset(globals)?;
        let mut settings = self.settings(&preset)?;
        let session = self.base.existing(globals)?;
        let preset = preset.until(session.stop());
        if self.asks_for_all() && self.stored.activations.is_none() {
            let there = There::of_classifier(settings.validation_split.is_some());
            settings.scores = all_scores(&session, there);
        } else if !self.scores.is_empty() {
            settings.scores = self.scores.clone();
        }
        // What the preset says is for its own scores and sets.
        if self.validation_split.is_none() && !self.base.sets("validation_split") {
            let [_, validates] = settings.params(None).learns();
            let own = self.ood.is_empty() && preset.data.ood_validation.is_some();
            if !(validates || own || self.ood_validation.is_some()) {
                settings.validation_split = None;
            }
        }
        let runs = match (&self.stored.activations, &self.imported.id_scores) {
            (Some(id), _) => self.of_activations(&session, &settings, id)?,
            (None, Some(id)) => self.of_scores(&session, &settings, id)?,
            (None, None) => self.of_detectors(&session, &preset, &settings)?,
        };
        match runs {
            Some(runs) => {
                table::print(&session, &runs)?;
                Ok(Verdict::Good)
            }
            None => all_is_well(globals),
        }
    }

    /// Returns what the preset and the options ask for; `all` stands among the scores as it was given.
    fn settings(&self, preset: &Preset) -> Result<Settings> {
        let (id_per_ood, seed) =
            (preset.evaluate.draws).map_or((5, 0), |draws| (draws.id_per_ood, draws.seed));
        let draws = self.draws.map(|repeats| Draws {
            repeats,
            id_per_ood,
            seed,
        });
        let options = [
            ("draws", json(&draws)),
            ("convention", json(&self.convention)),
            ("validation_split", json(&self.validation_split)),
            ("full_spectrum", self.full_spectrum.then_some(true.into())),
        ];
        let activations = self.stored.activations.is_some();
        if activations || self.imported.id_scores.is_some() {
            self.refuse_unused_settings(activations)?;
        }
        let is_part = |pair: &&String| pair.starts_with("draws.");
        if let (Some(pair), None, None) = (self.base.set.iter().find(is_part), draws, preset.evaluate.draws)
            && !self
                .base
                .set
                .iter()
                .any(|pair| pair.starts_with("draws.repeats="))
        {
            bail!(Usage(format!(
                "--set {pair}: no subsets are drawn; `--draws N` asks for so many"
            )));
        }
        let mut settings = self.base.apply(&preset.evaluate, &options)?;
        if !self.ood.is_empty() {
            // What the preset says of its own sets says nothing of these.
            if settings.ood_split == preset.evaluate.ood_split {
                settings.ood_split = None;
            }
            if settings.ood_splits == preset.evaluate.ood_splits {
                settings.ood_splits.clear();
            }
            let own = self.ood.iter();
            let own = own.filter_map(|set| Some((set.name.clone(), set.split.clone()?)));
            settings.ood_splits.extend(own);
            let own = self.ood.iter();
            let own = own.filter_map(|set| Some((set.name.clone(), set.group?)));
            if settings.groups == preset.evaluate.groups {
                settings.groups.clear();
            }
            settings.groups.extend(own);
        }
        if !self.scores.is_empty() {
            settings.where_possible = self.asks_for_all();
        }
        if self.asks_for_all() && self.scores.len() > 1 {
            bail!(Usage("--scores: `all` stands alone".to_owned()));
        }
        if let Some(TestSet { group, name, split }) = &self.ood_validation {
            if group.is_some() {
                bail!(Usage(format!(
                    "--ood-validation {name}: the set has no group: no mean is taken over it"
                )));
            }
            settings.ood_validation_split.clone_from(split);
        } else if !self.ood.is_empty()
            && settings.ood_validation_split == preset.evaluate.ood_validation_split
        {
            settings.ood_validation_split = None;
        }
        if !self.metrics.is_empty() {
            settings.metrics = self
                .metrics
                .iter()
                .flat_map(|extra| extra.0.iter().copied())
                .collect();
        }
        Ok(settings)
    }

    /// Refuses what is set of images that are looked at: what is stored of them is taken as it is.
    fn refuse_unused_settings(&self, activations: bool) -> Result<()> {
        let looks = [
            "split",
            "ood_split",
            "ood_splits",
            "validation_split",
            "ood_validation_split",
            "precision",
        ];
        let is_set = |key: &&str| self.base.sets(key);
        if let Some(key) = looks.into_iter().find(is_set) {
            let option = if activations {
                "--activations"
            } else {
                "--id-scores"
            };
            bail!(Usage(format!(
                "--set {key}=...: it says how images are looked at, and {option} names what was seen of them"
            )));
        }
        match ["scores", "where_possible"]
            .into_iter()
            .find(is_set)
            .filter(|_| !activations)
        {
            Some(key) => bail!(Usage(format!(
                "--set {key}=...: no score is taken where --id-scores names scores that were imported"
            ))),
            None => Ok(()),
        }
    }

    fn asks_for_all(&self) -> bool {
        self.scores.iter().any(|score| score.name() == evaluate::ALL)
    }

    /// Says whether scores are named one by one.
    fn names_scores(&self) -> bool {
        !self.scores.is_empty() && !self.asks_for_all()
    }

    /// Evaluates what is stored; none if `--check` ends here.
    fn of_stored(
        &self,
        session: &Session<'_>,
        mut params: Params,
        observations: &Observations,
    ) -> Result<Option<Vec<RunId>>> {
        if self.metrics.iter().any(ExtraMetrics::is_all) {
            params.metrics = evaluate::all_metrics(&session.store, &params, observations)?;
            let left = EXTRA_METRICS.iter().filter(|name| !params.metrics.contains(name));
            let left: Vec<&str> = left.map(|name| name.name()).collect();
            tell_left_out_for_lack(session, &left);
        }
        let asked = evaluate::ask(&params, observations);
        let mut refusals = Refusals::of(evaluate::NAME).within(memory::room(session.globals));
        let planned = asked.clone().plan(&session.store, &mut refusals)?;
        refuse_alias(session, self.base.alias.as_deref(), &planned, &mut refusals)?;
        refusals.finish()?;
        session.require_room_for(&planned)?;
        if self.base.check {
            return Ok(None);
        }
        let spec = asked.spec(&session.store)?;
        Ok(Some(vec![session.run(&spec, self.base.alias.as_deref())?.id]))
    }
}

/// Every score that can be had from what is there; the user is told of the others.
fn all_scores(session: &Session<'_>, there: There) -> Vec<ScoreSpec> {
    let (chosen, left) = evaluate::all(there);
    tell_left_out_for_lack(session, &left);
    chosen
}

/// Tells what `all` leaves out of scores or metrics, if anything.
fn tell_left_out_for_lack(session: &Session<'_>, left: &[&str]) {
    if !left.is_empty() {
        let left = left.join(", ");
        session
            .bars
            .say(&format!("left out, for what they need is not there: {left}"));
    }
}

/// Tells of a score that `all` leaves out, for the classifier was trained by another method.
fn tell_left_out(session: &Session<'_>, score: OwnScore) {
    session.bars.say(&format!("left out: {}", score.needs()));
}
