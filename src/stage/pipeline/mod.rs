//! The whole pipeline from one file: a preset names the data, the model and the parameters of every stage.

mod check;
mod culprit;
mod evaluation;
mod outlook;
mod plan;
mod read;
mod sources;
mod step;
mod sweep;
mod walk;

use std::path::PathBuf;

use dream_schema::Run;
use serde::{Deserialize, Serialize};

use super::classes::{ClassRow, read_classes};
use super::{
    Context, How, Refusal, Refusals, Room, StageError, detect, embed, encode, evaluate, imagine, sample,
    select,
};
use crate::dataset::Kind;
use crate::engine::{self, Processor};
use crate::stop::Stop;
use crate::store::Store;

pub use check::check_all;
pub use evaluation::Evaluation;
pub use outlook::Outlook;
pub use plan::{Plan, Point, Task};
pub use sources::Reach;
use sources::Sources;
pub use step::Step;
pub use sweep::{Setting, Sweep};
use walk::{Check, Work};

/// A preset file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// Its name, with which the aliases of its runs begin.
    pub name: String,
    /// The image sets.
    pub data: Data,
    /// The diffusion model.
    pub model: Named,
    /// What the class embedding is for a word of several tokens.
    #[serde(default, skip_serializing_if = "embed::Tokens::is_default")]
    pub class_tokens: embed::Tokens,
    /// The encoder into the space of the class embeddings.
    pub encode: encode::Params,
    /// Sampling.
    pub sample: sample::Params,
    /// Decoding; suffixes of the class table are added.
    pub imagine: imagine::Params,
    /// Pictures of the plain class prompt, a class, for comparison.
    pub plain_per_class: usize,
    /// Has the plain classifier rate the imagined pictures, and says which of them the other one is trained
    /// with: all where there are no bounds, as without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select: Option<select::Params>,
    /// The classifier; its loss on outliers is left out for the plain one.
    pub detect: detect::Params,
    /// Scores and metrics.
    pub evaluate: evaluate::Settings,
    /// What a sweep gives its keys in turn; the values above are those without a sweep.
    #[serde(default, skip_serializing_if = "Sweep::is_empty")]
    pub sweep: Sweep,
    /// The setting of a sweep that it is.
    #[serde(skip)]
    pub setting: Setting,
    /// The file, in whose folder relative paths start.
    #[serde(skip)]
    pub file: PathBuf,
    /// The processor that it was read for, if [`Preset::on`] was told one.
    #[serde(skip)]
    processor: Option<Processor>,
    /// What the file says.
    #[serde(skip)]
    text: String,
    /// When to give up reading what it names.
    #[serde(skip)]
    stop: Stop,
}

/// The image sets of a preset.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// The in-distribution set.
    pub id: Named,
    /// Table of the classes, as [`read_classes`] reads it.
    pub classes: PathBuf,
    /// The out-of-distribution test sets, and those of the ID classes under a covariate shift.
    pub ood: Vec<Named>,
    /// OOD images beside the test sets, which hyperparameters are searched on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ood_validation: Option<Named>,
}

/// Something registered in the store, or to be registered from a path.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// Its name in the store.
    pub name: String,
    /// Where it lies, from the preset's folder; without it, it must be registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Of an OOD set, the split to test on; without it, that of `evaluate.ood_split`, else its only one or
    /// "test".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// Of an OOD set, its group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<evaluate::Group>,
    /// The reader; guessed where it is not named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Of an image folder: reads the directories of the class table only, which are named by its column
    /// `wnid` if it has one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub class_folders: bool,
    /// Leaves out images that cannot be decoded, instead of refusing the set.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip_bad: bool,
}

/// The runs of one pass through the pipeline.
#[derive(Clone, Debug)]
pub struct Runs {
    /// Class embeddings.
    pub embeddings: Run,
    /// Encoder and ID features.
    pub encoder: Run,
    /// Outlier embeddings.
    pub outliers: Run,
    /// Pictures imagined from them.
    pub imagined: Run,
    /// Pictures of the plain class prompts.
    pub plain_pictures: Run,
    /// Classifiers: plain, and trained with outliers.
    pub detectors: [Run; 2],
    /// Their evaluations, in the same order.
    pub evaluations: [Run; 2],
}

impl Preset {
    /// Returns the folder that relative paths start from.
    pub(super) fn folder(&self) -> &std::path::Path {
        self.file.parent().unwrap_or(std::path::Path::new(""))
    }

    /// Returns the preset for a kind of processor: where it says no precision, with the one that is usual
    /// there ([`usual`](engine::Work::usual)), and on a GPU with a batch of pictures.
    pub fn on(mut self, processor: Processor) -> Self {
        let usual = |work: engine::Work| work.usual(processor);
        for training in [&mut self.encode.training, &mut self.detect.training] {
            training.precision.get_or_insert(usual(training.work()));
        }
        self.imagine
            .precision
            .get_or_insert(usual(engine::Work::Diffusion));
        if processor == Processor::Cuda {
            self.imagine.batch.get_or_insert(imagine::USUAL_BATCH);
        }
        let work = self.detect.training.work();
        self.evaluate.precision.get_or_insert(usual(work));
        self.processor = Some(processor);
        self
    }

    /// Returns the preset whose sets and model are read until somebody asks to stop.
    #[must_use]
    pub fn until(self, stop: Stop) -> Self {
        Self { stop, ..self }
    }

    /// Returns the class table.
    ///
    /// # Errors
    /// If it cannot be read or is no class table.
    pub fn classes(&self) -> Result<Vec<ClassRow>, StageError> {
        read_classes(&self.folder().join(&self.data.classes))
    }

    /// Returns the parameters of the class embeddings.
    ///
    /// # Errors
    /// If the class table cannot be read.
    pub fn embed(&self) -> Result<embed::Params, StageError> {
        let word = |c: ClassRow| embed::ClassWord {
            name: c.name,
            word: c.word,
        };
        Ok(embed::Params {
            classes: self.classes()?.into_iter().map(word).collect(),
            tokens: self.class_tokens,
        })
    }

    /// Returns everything in the whole pipeline that cannot be done as it is asked for, as far as it can be
    /// known before any work: also what there is no `room` for. Nothing is registered or written.
    ///
    /// # Errors
    /// If the store fails.
    pub fn check(&self, store: &Store, seed: u64, room: Room) -> Result<Vec<Refusal>, StageError> {
        let mut refusals = Refusals::of("data").within(room);
        let id = refusals.take("id", self.id_set(store, Reach::Glance))?;
        let mut ood = Vec::new();
        for named in &self.data.ood {
            let key = format!("ood/{}", named.name);
            ood.extend(refusals.take(key, self.images(store, named, Reach::Glance))?);
        }
        let ood = Some(ood).filter(|sets| sets.len() == self.data.ood.len());
        let ood_validation = self.ood_validation_set(store, Reach::Glance);
        let ood_validation = refusals.take("ood_validation", ood_validation)?;
        refusals.begin("model");
        let model = refusals.take("path", self.model(store, Reach::Glance))?;
        if let (Some(id), Some(ood), Some(ood_validation), Some(model)) = (id, ood, ood_validation, model) {
            let sources = Sources {
                id,
                ood,
                ood_validation,
                model,
            };
            self.refuse_others(store, &mut refusals)?;
            self.refuse(store, &sources, seed, &mut refusals)?;
        }
        Ok(refusals.into_inner())
    }

    /// Refuses what cannot be done of any part, as far as is known of these sources.
    fn refuse(
        &self,
        store: &Store,
        sources: &Sources,
        seed: u64,
        refusals: &mut Refusals,
    ) -> Result<(), StageError> {
        refusals.begin(evaluate::NAME);
        let swept = !self.setting.values.is_empty();
        self.evaluation(sources).check_splits(swept, refusals);
        let mut check = Check {
            store,
            refusals,
            named: Some((self, seed)),
        };
        self.walk(store, sources, seed, &mut check)
    }

    /// What the classifiers are evaluated on.
    fn evaluation<'a>(&'a self, sources: &'a Sources) -> Evaluation<'a> {
        Evaluation {
            settings: &self.evaluate,
            id: &sources.id,
            ood: &sources.ood,
            ood_validation: sources.ood_validation.as_ref(),
        }
    }

    /// Checks the whole pipeline, then runs every stage that is not in the store yet. `each` is told of every
    /// run as it is done, with the name of its part.
    ///
    /// # Errors
    /// [`StageError::Refused`] before anything is done; then whatever a stage fails with; the runs before it
    /// stay.
    pub fn run(&self, ctx: &Context<'_>, seed: u64, each: Told<'_>) -> Result<Runs, StageError> {
        let refused = self.check(ctx.store, seed, Room::default())?;
        if !refused.is_empty() {
            return Err(StageError::Refused(refused));
        }
        // Once they are read, more is known of them: how many pictures, which labels.
        let sources = self.looked_at(ctx.store, Reach::Read)?;
        let mut refusals = Refusals::default();
        sources.check_names(ctx.store, &mut refusals)?;
        self.refuse(ctx.store, &sources, seed, &mut refusals)?;
        refusals.finish()?;
        sources.register(ctx.store)?;
        let mut work = Work {
            ctx,
            each,
            done: Vec::new(),
        };
        self.walk(ctx.store, &sources, seed, &mut work)?;
        let mut part = |name: &str| {
            let missing = || StageError::Mismatch(format!("the pipeline made no run of its part {name}"));
            let place = work.done.iter().position(|(done, _)| done == name);
            Ok::<_, StageError>(work.done.swap_remove(place.ok_or_else(missing)?).1)
        };
        Ok(Runs {
            embeddings: part("embed")?,
            encoder: part("encode")?,
            outliers: part("sample")?,
            imagined: part("imagine")?,
            plain_pictures: part("imagine-plain")?,
            detectors: [part("detect-plain")?, part("detect")?],
            evaluations: [part("evaluate-plain")?, part("evaluate")?],
        })
    }
}

/// Told of a run that is done: its part of the pipeline, the run, and how it came about.
pub type Told<'a> = &'a mut dyn FnMut(&str, &Run, How) -> Result<(), StageError>;
