//! What decides a picture, and the checks that need no model.

use std::collections::BTreeMap;

use dream_schema::ClassEmbedding;
use serde::{Deserialize, Serialize};

use super::{CLASS_PLACEHOLDER, NAME};
use crate::diffusion::{self, Scheduler, TokenRule};
use crate::engine::{Precision, Work};
use crate::stage::{Arithmetic, StageError};
use crate::words::words;

mod classes;
mod size;
mod synthesis;
#[cfg(test)]
pub(in crate::stage::imagine) mod tests;

pub(in crate::stage::imagine) use classes::class;
pub use size::Size;
pub use synthesis::{Partner, Synthesis};

/// How pictures are made. What is left out of the JSON has its default, so that the runs of older versions
/// keep their ids.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Pictures of each class; outliers are taken evenly from those sampled.
    pub per_class: usize,
    /// The prompt, with `<class>` where the class word goes.
    pub prompt: String,
    /// What follows the prompt for single classes, by class name (" bird" for kite), so that the object is
    /// the right one.
    pub suffixes: BTreeMap<String, String>,
    /// Prompts of single classes in place of the other one, by class name, with `<class>` as there: `... of
    /// the aquarium <class>`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prompts: BTreeMap<String, String>,
    /// The way from noise to a picture.
    pub scheduler: SchedulerName,
    /// DDIM's eta: the share of DDPM's noise that each step adds; 0 for none.
    #[serde(default)]
    pub eta: f64,
    /// Steps; 50 in the paper.
    pub steps: usize,
    /// Classifier-free guidance; 7.5 in the paper.
    pub guidance_scale: f64,
    /// Only these classes, by name or number; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// The prompt that guidance leads away from; empty in the paper.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub negative: String,
    /// The pictures' size; without it, the one that the model was trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// The size that pictures are brought to after decoding (the public code of DREAM-OOD stores 256x256);
    /// latents stay as they were sampled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<Size>,
    /// How they are brought to it.
    #[serde(default, skip_serializing_if = "ResizeBy::is_default")]
    pub resize_by: ResizeBy,
    /// Another way to pictures than the sampled outliers, or than T(y) itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synthesis: Option<Synthesis>,
    /// How UNet and autoencoder are computed; without it, in f32. `f16` is for GPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// Pictures that are evaluated at once, always: a smaller rest is filled up. On GPUs the order of sums
    /// depends on it, and so do results; on the CPU they do not, and there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// Whether all pictures start from one initial noise, that of class 0's first (the public code's
    /// `--fixed_code`); the noise of a stochastic scheduler's steps stays each picture's own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fixed_noise: bool,
    /// What becomes of the tokens of a class word of several.
    #[serde(default, skip_serializing_if = "TokenRule::is_default")]
    pub tokens: TokenRule,
}

words! {
    /// The way from noise to a picture.
    pub enum SchedulerName {
        /// Pseudo linear multistep: PNDM without Runge-Kutta steps.
        Plms = "plms",
        /// Denoising diffusion implicit models.
        Ddim = "ddim",
        /// DPM-Solver++ of second order, multistep.
        DpmSolver = "dpm-solver",
    }
}

words! {
    /// How decoded pictures are brought to another size.
    #[derive(Default)]
    pub enum ResizeBy {
        /// Catmull-Rom, as wide as the scale, of the picture's bytes.
        #[default]
        Bicubic = "bicubic",
        /// Of the numbers that are decoded, without smoothing, then cut off to bytes, as the public code of
        /// DREAM-OOD has it.
        Bilinear = "bilinear",
    }
}

impl ResizeBy {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The most pictures of a class.
const MOST: usize = 10_000_000;
/// The most pictures that are evaluated at once.
const MOST_AT_ONCE: usize = 1024;
/// Pictures that a GPU evaluates at once where nothing else is asked for. In f16, guided ones of 512x512 take
/// less than 1 GB beside the weights of Stable Diffusion 1.x, by the estimate of
/// [`Geometry`](crate::diffusion::Geometry).
pub const USUAL_BATCH: usize = 8;

pub(in crate::stage::imagine) fn wrong(message: impl Into<String>) -> StageError {
    StageError::Params {
        stage: NAME.into(),
        message: message.into(),
    }
}

impl Params {
    /// Checks what can be checked without the model.
    pub(in crate::stage::imagine) fn check(&self) -> Result<(), StageError> {
        let mut prompts = std::iter::once(&self.prompt).chain(self.prompts.values());
        if let Some(prompt) = prompts.find(|prompt| !prompt.contains(CLASS_PLACEHOLDER)) {
            return Err(wrong(format!(
                "the prompt {prompt:?} has no {CLASS_PLACEHOLDER} for the class word"
            )));
        }
        let mut suffixes = self.suffixes.iter();
        if let Some((class, suffix)) = suffixes.find(|(_, text)| text.contains(CLASS_PLACEHOLDER)) {
            return Err(wrong(format!(
                "the suffix {suffix:?} of the class `{class}` has a {CLASS_PLACEHOLDER}, which is filled in \
                 prompts alone"
            )));
        }
        if !(1..=MOST).contains(&self.per_class) {
            let count = self.per_class;
            return Err(wrong(format!("per_class {count}: it must be 1 to {MOST}")));
        }
        if let Some(batch) = self.batch.filter(|batch| !(1..=MOST_AT_ONCE).contains(batch)) {
            return Err(wrong(format!("batch {batch}: it must be 1 to {MOST_AT_ONCE}")));
        }
        if self.resize.is_none() && !self.resize_by.is_default() {
            let by = self.resize_by;
            return Err(wrong(format!(
                "resize_by {by}: there is no resize that it would do"
            )));
        }
        if self.steps == 0 {
            return Err(wrong("steps 0: at least one is needed"));
        }
        self.check_guidance()?;
        if !(0.0..=1.0).contains(&self.eta) {
            let eta = self.eta;
            return Err(wrong(format!(
                "eta {eta}: it must be 0 (no noise) to 1 (as much as DDPM)"
            )));
        }
        if self.eta > 0.0 && self.scheduler != SchedulerName::Ddim {
            let (eta, scheduler) = (self.eta, self.scheduler.name());
            return Err(wrong(format!(
                "eta {eta} with the scheduler {scheduler}: only ddim adds noise in its steps; choose ddim, \
                or leave eta out"
            )));
        }
        self.synthesis.as_ref().map_or(Ok(()), Synthesis::check)
    }

    /// Up to 1 there is no guidance: numbers between 0 and 1 would all do the same, and nothing would be led
    /// away from the negative prompt.
    fn check_guidance(&self) -> Result<(), StageError> {
        let scale = self.guidance_scale;
        if !(scale == 0.0 || (1.0..=100.0).contains(&scale)) {
            return Err(wrong(format!(
                "guidance_scale {scale}: it must be 1 (no guidance) to 100; 7.5 is usual"
            )));
        }
        if scale <= 1.0 && !self.negative.is_empty() {
            return Err(wrong(format!(
                "the negative prompt {:?} does nothing without guidance: guidance_scale is {scale}",
                self.negative
            )));
        }
        Ok(())
    }

    /// Returns what is computed, and how.
    pub(in crate::stage) fn arithmetic(&self) -> Arithmetic {
        Arithmetic {
            key: "precision",
            work: Work::Diffusion,
            precision: self.precision.unwrap_or(Precision::F32),
        }
    }

    pub(in crate::stage::imagine) fn sampling(&self) -> diffusion::Sampling {
        let scheduler = match self.scheduler {
            SchedulerName::Plms => Scheduler::Plms,
            SchedulerName::Ddim => Scheduler::Ddim { eta: self.eta },
            SchedulerName::DpmSolver => Scheduler::DpmSolver2M,
        };
        diffusion::Sampling {
            scheduler,
            steps: self.steps,
            guidance_scale: self.guidance_scale,
        }
    }

    /// Returns the prompt for a class.
    pub(in crate::stage::imagine) fn prompt_of(&self, class: &ClassEmbedding) -> String {
        self.prompt_with(class, None)
    }

    /// Returns the prompt of a picture of a class: with another word in its place, if there is one, and then
    /// without what is said of the class alone.
    pub(in crate::stage::imagine) fn prompt_with(
        &self,
        class: &ClassEmbedding,
        word: Option<&str>,
    ) -> String {
        if let Some(word) = word {
            return self.prompt.replace(CLASS_PLACEHOLDER, word);
        }
        let suffix = self.suffixes.get(&class.class_name).map_or("", String::as_str);
        let prompt = self.prompts.get(&class.class_name).unwrap_or(&self.prompt);
        prompt.replace(CLASS_PLACEHOLDER, &class.word) + suffix
    }
}
