//! What of a pipeline a store has, and what is to be made; and making one step of it alone.

use dream_schema::{Run, RunId};

use super::sources::Sources;
use super::walk::Walker;
use super::{Preset, Reach, Step, Told};
use crate::stage::imagine::Shard;
use crate::stage::known::Reference;
use crate::stage::{Asked, Context, Input, Refusals, Source, Stage, StageError, run, run_part};
use crate::store::Store;

/// A part of a pipeline, before it is run.
#[derive(Clone, Debug)]
pub struct Outlook {
    /// The step that it belongs to.
    pub step: Step,
    /// Its name.
    pub part: String,
    /// A hash of all that it is asked, whether its inputs are there or not: parts of several pipelines with
    /// one key are the same run.
    pub key: String,
    /// Its run, if that can be told yet.
    pub run: Option<RunId>,
    /// Whether the store has it.
    pub known: bool,
    /// The steps that it reads from.
    pub after: Vec<Step>,
}

impl Preset {
    /// Returns the parts of the pipeline in order: what the store has of them, and what is to be made.
    ///
    /// # Errors
    /// [`StageError::Refused`] for what cannot be done; also if the store fails.
    pub fn outlook(&self, store: &Store, seed: u64) -> Result<Vec<Outlook>, StageError> {
        self.survey(store, self.looked_at(store, Reach::Glance)?, seed)
    }

    /// The same by what is on record alone, wherever image sets and model are now.
    ///
    /// # Errors
    /// As of [`Self::outlook`].
    pub fn recorded(&self, store: &Store, seed: u64) -> Result<Vec<Outlook>, StageError> {
        self.survey(store, self.looked_at(store, Reach::Recorded)?, seed)
    }

    fn survey(&self, store: &Store, sources: Sources, seed: u64) -> Result<Vec<Outlook>, StageError> {
        let mut survey = Survey {
            store,
            refusals: Refusals::default(),
            step: Step::Embed,
            parts: Vec::new(),
            inputs: Vec::new(),
        };
        self.walk(store, &sources, seed, &mut survey)?;
        survey.refusals.finish()?;
        Ok(survey.parts)
    }

    /// Makes the runs of one step, or with a shard one part of them; those that it reads from must be in the
    /// store. `each` is told of every run as it is done.
    ///
    /// # Errors
    /// [`StageError::Refused`] if something cannot be done, [`StageError::MissingInput`] if a run is missing;
    /// then whatever a stage fails with.
    pub fn run_step(
        &self,
        ctx: &Context<'_>,
        seed: u64,
        step: Step,
        shard: Option<Shard>,
        each: Told<'_>,
    ) -> Result<Vec<Run>, StageError> {
        let sources = self.registered_for(step, ctx.store)?;
        let mut single = Single {
            ctx,
            wanted: step,
            step: Step::Embed,
            shard,
            each,
            done: Vec::new(),
        };
        self.walk(ctx.store, &sources, seed, &mut single)?;
        Ok(single.done)
    }

    pub(super) fn looked_at(&self, store: &Store, reach: Reach) -> Result<Sources, StageError> {
        Ok(Sources {
            id: self.id_set(store, reach)?,
            model: self.model(store, reach)?,
            ood: self.ood_sets(store, reach)?,
            ood_validation: self.ood_validation_set(store, reach)?,
        })
    }

    /// Returns the sources, of which those are registered that a step reads.
    fn registered_for(&self, step: Step, store: &Store) -> Result<Sources, StageError> {
        let mut sources = self.looked_at(store, Reach::Glance)?;
        if step.reads_model() && !sources.model.is_registered() {
            sources.model = self.model(store, Reach::Register)?;
        }
        if step.reads_images() && !sources.id.is_registered() {
            sources.id = self.id_set(store, Reach::Register)?;
        }
        if step.reads_ood() {
            if !sources.ood.iter().all(Source::is_registered) {
                sources.ood = self.ood_sets(store, Reach::Register)?;
            }
            if sources
                .ood_validation
                .as_ref()
                .is_some_and(|set| !set.is_registered())
            {
                sources.ood_validation = self.ood_validation_set(store, Reach::Register)?;
            }
        }
        Ok(sources)
    }
}

/// Looks at every part.
struct Survey<'a> {
    store: &'a Store,
    refusals: Refusals,
    step: Step,
    parts: Vec<Outlook>,
    /// What the parts are to those that read from them, in the same order.
    inputs: Vec<Input>,
}

impl Survey<'_> {
    /// Returns what an input is called in the key of what reads from it.
    fn name(&self, input: &Input) -> String {
        match (self.inputs.iter().position(|known| known == input), input) {
            (Some(place), _) => self.parts[place].key.clone(),
            (None, Input::Stored(run)) => run.to_string(),
            (None, Input::Planned(known)) => known.params.to_string(),
        }
    }
}

impl Walker for Survey<'_> {
    fn step(&mut self, step: Step) {
        self.step = step;
    }

    fn part<S: Stage>(&mut self, name: &str, asked: Asked<S>) -> Result<Input, StageError> {
        self.refusals.begin(name);
        let seed = asked.seed;
        let input = asked.plan(self.store, &mut self.refusals)?;
        let Input::Planned(plan) = &input else {
            return Ok(input);
        };
        let inputs: Vec<(&str, String)> = (plan.inputs.iter())
            .map(|(role, input)| (role.as_str(), self.name(input)))
            .collect();
        let sources = plan.sources.iter().map(|(role, reference)| match reference {
            Reference::Digest { digest, .. } => (role, digest, ""),
            Reference::Entry(entry) => (role, &entry.name, entry.path.as_str()),
        });
        let sources: Vec<_> = sources.collect();
        let question = serde_json::json!([S::NAME, S::VERSION, plan.params, seed, inputs, sources]);
        let read = plan.inputs.iter().filter_map(|(_, input)| {
            let place = self.inputs.iter().position(|known| known == input)?;
            self.parts.get(place).map(|part| part.step)
        });
        let mut after: Vec<Step> = read.filter(|step| *step != self.step).collect();
        after.dedup();
        let known = input.answer(self.store);
        self.parts.push(Outlook {
            step: self.step,
            part: name.to_owned(),
            key: blake3::hash(question.to_string().as_bytes()).to_hex().to_string(),
            run: plan.id,
            known: known.is_some(),
            after,
        });
        let made = known.map_or_else(|| input.clone(), Input::Stored);
        self.inputs.push(made.clone());
        Ok(made)
    }
}

/// Runs the parts of one step.
struct Single<'a, 'b> {
    ctx: &'a Context<'a>,
    wanted: Step,
    step: Step,
    shard: Option<Shard>,
    each: Told<'b>,
    done: Vec<Run>,
}

impl Walker for Single<'_, '_> {
    fn step(&mut self, step: Step) {
        self.step = step;
    }

    fn part<S: Stage>(&mut self, name: &str, asked: Asked<S>) -> Result<Input, StageError> {
        let store = self.ctx.store;
        if self.step != self.wanted {
            let planned = asked.plan(store, &mut Refusals::default())?;
            return Ok(planned.settled(store));
        }
        let spec = asked.spec(store)?;
        let (run, how) = match self.shard {
            Some(shard) => run_part(self.ctx, &spec, shard)?,
            None => run(self.ctx, &spec)?,
        };
        (self.each)(name, &run, how)?;
        let id = run.id;
        self.done.push(run);
        Ok(Input::Stored(id))
    }
}
