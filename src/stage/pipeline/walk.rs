//! The parts of the pipeline in order, for whoever checks or runs them.

use dream_schema::Run;

use super::sources::Sources;
use super::{Preset, Step, Told};
use crate::stage::observe::{self, Classifier};
use crate::stage::{
    Asked, Context, ImageSource, Input, Refusals, Stage, StageError, detect, embed, encode, imagine, run,
    sample, select,
};
use crate::store::{Store, check_alias};

impl Preset {
    /// Goes through the parts of the pipeline in order; each reads from those before.
    pub(super) fn walk(
        &self,
        store: &Store,
        sources: &Sources,
        seed: u64,
        walker: &mut impl Walker,
    ) -> Result<(), StageError> {
        let Sources { id, model, .. } = sources;
        walker.step(Step::Embed);
        let embeddings = walker.part("embed", embed::ask(&self.embed()?, model))?;
        walker.step(Step::Encode);
        let encoder = encode::ask(&self.encode, seed, embeddings.clone(), id, None);
        let encoder = walker.part("encode", encoder)?;
        walker.step(Step::Sample);
        let outliers = walker.part("sample", sample::ask(&self.sample, seed, encoder))?;
        walker.step(Step::Imagine);
        let imagined = imagine::ask(store, &self.imagine, seed, outliers, model)?;
        let imagined = walker.part("imagine", imagined)?;
        let plain = imagine::Params {
            per_class: self.plain_per_class,
            ..self.imagine.clone()
        };
        walker.step(Step::ImaginePlain);
        walker.part(
            "imagine-plain",
            imagine::ask(store, &plain, seed, embeddings, model)?,
        )?;
        let pair = detect::Pair {
            params: &self.detect,
            seed,
            images: id,
            weights: None,
        };
        walker.step(Step::DetectPlain);
        let plain = walker.part("detect-plain", pair.plain())?;
        let pictures = match &self.select {
            Some(bounds) => {
                let chosen = self.selected(bounds, id, imagined.clone(), plain.clone(), walker)?;
                // Pictures that are rated alone make the classifier that they make without.
                match bounds.chooses_all() {
                    true => imagined,
                    false => chosen,
                }
            }
            None => imagined,
        };
        walker.step(Step::Detect);
        let dream = walker.part("detect", pair.with_method(Some(pictures), Some(plain.clone())))?;
        let evaluation = self.evaluation(sources);
        walker.step(Step::EvaluatePlain);
        evaluation.walk(store, "-plain", plain, walker)?;
        walker.step(Step::Evaluate);
        evaluation.walk(store, "", dream, walker)?;
        Ok(())
    }

    /// Takes up the choice among pictures, and what it reads: the training images as the plain classifier
    /// sees them.
    fn selected(
        &self,
        bounds: &select::Params,
        id: &ImageSource,
        pictures: Input,
        plain: Input,
        walker: &mut impl Walker,
    ) -> Result<Input, StageError> {
        walker.step(Step::Select);
        let training = &self.detect.training;
        let seen = observe::Params {
            dtype: observe::Dtype::default(),
            precision: training.precision,
            split: training.split.clone(),
            numbered: false,
            matched: false,
            network: None,
        };
        let seen = walker.part("select-train", observe::ask(&seen, &Classifier::Run(plain), id))?;
        walker.part("select", select::ask(bounds, pictures, seen))
    }
}

/// What is done with the parts of a pipeline.
pub(super) trait Walker {
    /// Told that the parts that come are of a step.
    fn step(&mut self, _step: Step) {}

    /// Takes up a part, and returns what later parts read from.
    fn part<S: Stage>(&mut self, name: &str, asked: Asked<S>) -> Result<Input, StageError>;
}

/// Checks every part.
pub(super) struct Check<'a> {
    pub store: &'a Store,
    pub refusals: &'a mut Refusals,
    /// Where runs are given names: the preset and the seed of the names. The first is told that cannot be
    /// one.
    pub named: Option<(&'a Preset, u64)>,
}

impl Walker for Check<'_> {
    fn part<S: Stage>(&mut self, name: &str, asked: Asked<S>) -> Result<Input, StageError> {
        if let Some((preset, seed)) = self.named
            && let Err(error) = check_alias(&preset.alias(seed, name))
        {
            self.refusals.begin("preset");
            self.refusals
                .refuse("name", format!("the aliases of its runs begin with it: {error}"));
            self.named = None;
        }
        self.refusals.begin(name);
        asked.plan(self.store, self.refusals)
    }
}

/// Looks whether the store has every part.
pub(super) struct Stored<'a> {
    pub store: &'a Store,
    /// How many it does not have.
    pub missing: usize,
}

impl Walker for Stored<'_> {
    fn part<S: Stage>(&mut self, _: &str, asked: Asked<S>) -> Result<Input, StageError> {
        let settled = asked
            .plan(self.store, &mut Refusals::default())?
            .settled(self.store);
        if let Input::Planned(_) = &settled {
            self.missing += 1;
        }
        Ok(settled)
    }
}

/// Runs every part.
pub(super) struct Work<'a, 'b> {
    pub ctx: &'a Context<'a>,
    pub each: Told<'b>,
    /// The runs by the names of their parts.
    pub done: Vec<(String, Run)>,
}

impl Walker for Work<'_, '_> {
    fn part<S: Stage>(&mut self, name: &str, asked: Asked<S>) -> Result<Input, StageError> {
        let (run, how) = run(self.ctx, &asked.spec(self.ctx.store)?)?;
        (self.each)(name, &run, how)?;
        let id = run.id;
        self.done.push((name.to_owned(), run));
        Ok(Input::Stored(id))
    }
}
