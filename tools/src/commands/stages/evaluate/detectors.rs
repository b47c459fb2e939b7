//! Classifiers evaluated: what they show of the images is observed first.

use std::time::Instant;

use anyhow::{Result, bail};
use dream_ood::stage::detect::OwnScore;
use dream_ood::stage::evaluate::{self, Settings};
use dream_ood::stage::pipeline::{Evaluation, Preset, Reach};
use dream_ood::stage::{How, ImageSource, Refusals, Source as _};
use dream_ood::store::Store;
use dream_schema::{Run, RunId};

use super::{Evaluate, tell_left_out};
use crate::commands::stages::{images_or, refuse_alias};
use crate::memory;
use crate::session::{Failed, Session, Usage};

impl Evaluate {
    /// Refuses scores that are named and that come with a method of training by which none of the classifiers
    /// was trained. Which of the classifiers go without is told, and what `all` leaves out.
    fn check_own_scores(
        &self,
        session: &Session<'_>,
        detectors: &[RunId],
        refusals: &mut Refusals,
    ) -> Result<()> {
        let named = |score: &OwnScore| self.scores.iter().any(|spec| spec.name() == score.name());
        let is_needed = |score: &&OwnScore| self.asks_for_all() || named(score);
        let needed: Vec<OwnScore> = OwnScore::ALL.iter().filter(is_needed).copied().collect();
        if needed.is_empty() {
            return Ok(());
        }
        let own = |run: &RunId| evaluate::own_score(&session.store, &(*run).into());
        let own = detectors.iter().map(own).collect::<Result<Vec<_>, _>>()?;
        for score in needed {
            let without = detectors.iter().zip(&own).filter(|(_, own)| **own != Some(score));
            let without: Vec<RunId> = without.map(|(run, _)| *run).collect();
            if without.len() == detectors.len() {
                match self.asks_for_all() {
                    true => tell_left_out(session, score),
                    false => refusals.refuse("scores", score.needs()),
                }
                continue;
            }
            for run in without {
                let name = score.name();
                session.bars.say(&format!(
                    "run {run} is evaluated without `{name}`, which it does not have"
                ));
            }
        }
        Ok(())
    }

    /// Evaluates classifiers; none if `--check` ends here.
    pub(super) fn of_detectors(
        &self,
        session: &Session<'_>,
        preset: &Preset,
        settings: &Settings,
    ) -> Result<Option<Vec<RunId>>> {
        let store = &session.store;
        let detectors = self.detectors.iter().map(|name| session.resolve(name));
        let detectors = detectors.collect::<Result<Vec<RunId>>>()?;
        for (n, detector) in detectors.iter().enumerate() {
            if detectors[..n].contains(detector) {
                bail!(Usage(format!("the classifier {detector} is named twice")));
            }
        }
        let validation = |reach: Reach| -> Result<Option<ImageSource>> {
            match &self.ood_validation {
                Some(set) => Ok(Some(ImageSource::named(store, &set.name)?)),
                // What the preset names for its own sets says nothing of these.
                None if !self.ood.is_empty() => Ok(None),
                None => Ok(preset.ood_validation_set(store, reach)?),
            }
        };
        let sets = |reach: Reach| -> Result<(ImageSource, Vec<ImageSource>)> {
            let id = images_or(store, &self.dataset, detectors.first().copied(), reach, preset)?;
            if self.ood.is_empty() {
                return Ok((id, preset.ood_sets(store, reach)?));
            }
            let ood = self.ood.iter().map(|set| ImageSource::named(store, &set.name));
            Ok((id, ood.collect::<Result<_, _>>()?))
        };
        let mut refusals = Refusals::of(evaluate::NAME).within(memory::room(session.globals));
        self.check_own_scores(session, &detectors, &mut refusals)?;
        let (id, ood) = sets(Reach::Glance)?;
        let (id, ood, ood_validation) = (&id, ood.as_slice(), validation(Reach::Glance)?);
        let ood_validation = ood_validation.as_ref();
        for detector in &detectors {
            let evaluation = Evaluation {
                settings,
                id,
                ood,
                ood_validation,
            };
            if let Some(planned) = evaluation.check(store, (*detector).into(), &mut refusals)? {
                refuse_alias(session, self.base.alias.as_deref(), &planned, &mut refusals)?;
            }
        }
        refusals.finish()?;
        let evaluation = Evaluation {
            settings,
            id,
            ood,
            ood_validation,
        };
        for detector in &detectors {
            if !evaluation.is_answered(store, (*detector).into())? {
                Store::check_writable(&session.globals.store)?;
            }
        }
        if self.base.check {
            return Ok(None);
        }
        let (id, ood) = sets(Reach::Register)?;
        let (id, ood, ood_validation) = (&id, ood.as_slice(), validation(Reach::Register)?);
        let ood_validation = ood_validation.as_ref();
        let mut runs = Vec::new();
        for detector in &detectors {
            let mut started = Instant::now();
            let mut told = |_: &str, run: &Run, how: How| {
                session.say(run, how, started);
                started = Instant::now();
                Ok(())
            };
            let evaluation = Evaluation {
                settings,
                id,
                ood,
                ood_validation,
            };
            let run = evaluation
                .run(&session.context(), (*detector).into(), &mut told)
                .map_err(Failed::of)?;
            if let Some(alias) = &self.base.alias {
                store.set_alias(alias, run.id)?;
            }
            runs.push(run.id);
        }
        Ok(Some(runs))
    }
}
