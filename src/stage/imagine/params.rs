//! What decides a picture, and the checks that need no model.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use dream_schema::ClassEmbedding;
use serde::{Deserialize, Serialize};

use super::{CLASS_PLACEHOLDER, NAME};
use crate::diffusion::{self, Scheduler, TokenRule};
use crate::stage::classes::by_word;
use crate::stage::{StageError, did_you_mean};
use crate::words::words;

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
    /// Another way to come by the vectors than the sampled outliers, or than T(y) itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synthesis: Option<Synthesis>,
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

/// Vectors made from the class embeddings alone: what DREAM-OOD compares its outliers with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Synthesis {
    /// T(y) + sigma * e with e ~ N(0, I_m): `sigma` is the standard deviation of every component, in the
    /// units of the token table. The noise is about sigma * sqrt(m) long; nothing is scaled back to |T(y)|.
    Noise {
        /// Standard deviation of every component.
        sigma: f64,
    },
    /// (1 - fraction) * T(y) + fraction * T(y').
    Interpolation {
        /// Where y' comes from.
        with: Partner,
        /// The share of T(y'), above 0 and at most 1.
        fraction: f64,
    },
}

/// The other class of an interpolation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Partner {
    /// Drawn for every picture, evenly from all other classes of the embeddings.
    Random,
    /// That class, by name or number.
    Class(String),
}

/// A picture's size in pixels; as text `512x768` (width first), or `512` for a square.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let (width, height) = s.split_once('x').unwrap_or((s, s));
        let side = |text: &str| text.parse::<usize>().ok().filter(|n| (1..=8192).contains(n));
        match (side(width), side(height)) {
            (Some(width), Some(height)) => Ok(Self { width, height }),
            _ => Err(format!(
                "`{s}` is no size: expected WIDTHxHEIGHT or one number for a square, each 1 to 8192"
            )),
        }
    }
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(s: String) -> Result<Self, String> {
        s.parse()
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        size.to_string()
    }
}

/// The most pictures of a class.
const MOST: usize = 10_000_000;

pub(super) fn wrong(message: impl Into<String>) -> StageError {
    StageError::Params {
        stage: NAME.into(),
        message: message.into(),
    }
}

impl Params {
    /// Checks what can be checked without the model.
    pub(super) fn check(&self) -> Result<(), StageError> {
        if !self.prompt.contains(CLASS_PLACEHOLDER) {
            let prompt = &self.prompt;
            return Err(wrong(format!(
                "the prompt {prompt:?} has no {CLASS_PLACEHOLDER} for the class word"
            )));
        }
        if !(1..=MOST).contains(&self.per_class) {
            let count = self.per_class;
            return Err(wrong(format!("per_class {count}: it must be 1 to {MOST}")));
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
        match &self.synthesis {
            Some(Synthesis::Noise { sigma }) if !(*sigma > 0.0 && *sigma <= 1000.0) => Err(wrong(format!(
                "noise {sigma}: sigma must be above 0 and at most 1000"
            ))),
            Some(Synthesis::Interpolation { fraction, .. }) if !(*fraction > 0.0 && *fraction <= 1.0) => Err(
                wrong(format!("fraction {fraction}: it must be above 0 and at most 1")),
            ),
            _ => Ok(()),
        }
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

    /// Brings the names of classes into one form, that of the embeddings and in their order, so that a
    /// question has one id.
    pub(super) fn resolve_classes(&mut self, known: &[ClassEmbedding]) -> Result<(), StageError> {
        let mut chosen = self
            .classes
            .iter()
            .map(|name| class(known, name))
            .collect::<Result<Vec<_>, _>>()?;
        chosen.sort_by_key(|c| c.class_id);
        chosen.dedup_by_key(|c| c.class_id);
        let all = chosen.len() == known.len();
        self.classes = if all {
            Vec::new()
        } else {
            chosen.iter().map(|c| c.class_name.clone()).collect()
        };
        if let Some(Synthesis::Interpolation { with, .. }) = &mut self.synthesis {
            match with {
                Partner::Random if known.len() < 2 => {
                    return Err(wrong(
                        "interpolation with a random class needs two classes at least",
                    ));
                }
                Partner::Random => {}
                Partner::Class(name) => {
                    *name = class(known, name)?.class_name.clone();
                    let makes =
                        |c: &&ClassEmbedding| self.classes.is_empty() || self.classes.contains(&c.class_name);
                    if known.iter().filter(makes).any(|c| c.class_name == *name) {
                        return Err(wrong(format!(
                            "the class `{name}` cannot be interpolated with itself; choose the other \
                            classes by name"
                        )));
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns those of the classes that pictures are made of.
    pub(super) fn chosen<'a>(&self, known: &'a [ClassEmbedding]) -> Vec<&'a ClassEmbedding> {
        let wanted = |c: &&ClassEmbedding| self.classes.is_empty() || self.classes.contains(&c.class_name);
        known.iter().filter(wanted).collect()
    }

    pub(super) fn sampling(&self) -> diffusion::Sampling {
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
    pub(super) fn prompt_of(&self, class: &ClassEmbedding) -> String {
        let suffix = self.suffixes.get(&class.class_name).map_or("", String::as_str);
        self.prompt.replace(CLASS_PLACEHOLDER, &class.word) + suffix
    }
}

/// Returns the class of that name or, where none has it, of that number.
pub(super) fn class<'a>(known: &'a [ClassEmbedding], name: &str) -> Result<&'a ClassEmbedding, StageError> {
    by_word(known, name).ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|c| c.class_name.as_str()).collect();
        let near = did_you_mean(name, names.iter().copied());
        wrong(format!(
            "there is no class `{name}`; the embeddings have {}{near}",
            names.join(", ")
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Vec<ClassEmbedding> {
        ["bag", "7", "coat"]
            .iter()
            .enumerate()
            .map(|(i, name)| ClassEmbedding {
                class_id: i as u32,
                class_name: (*name).into(),
                index: 0,
                word: (*name).into(),
                token_id: 5,
                model: "m".into(),
                vector: vec![1.0],
                norm: 1.0,
            })
            .collect()
    }

    fn params() -> Params {
        serde_json::from_str(
            r#"{"per_class": 2, "prompt": "the <class>", "suffixes": {}, "scheduler": "plms", "eta": 0.0,
                "steps": 4, "guidance_scale": 3.0}"#,
        )
        .unwrap()
    }

    #[test]
    fn what_is_not_used_is_not_written() {
        // A key more here would give every stored run another id.
        let keys: Vec<String> = serde_json::json!(params())
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        let old = [
            "eta",
            "guidance_scale",
            "per_class",
            "prompt",
            "scheduler",
            "steps",
            "suffixes",
        ];
        assert_eq!(keys, old);
        let new = Params {
            classes: vec!["bag".into()],
            negative: "blurry".into(),
            size: Some("64x32".parse().unwrap()),
            resize: Some("256".parse().unwrap()),
            synthesis: Some(Synthesis::Interpolation {
                with: Partner::Class("bag".into()),
                fraction: 0.5,
            }),
            ..params()
        };
        let json = serde_json::json!(new);
        assert_eq!(json["size"], "64x32");
        assert_eq!(json["resize"], "256x256");
        assert_eq!(json["synthesis"]["interpolation"]["with"]["class"], "bag");
        assert_eq!(serde_json::from_value::<Params>(json).unwrap(), new);
        for bad in ["", "x", "0", "8x", "8x0", "-8", "8x8x8", "9000"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_question_about_classes_has_one_form() {
        let resolved = |classes: &[&str]| {
            let mut params = params();
            params.classes = classes.iter().map(|c| (*c).to_owned()).collect();
            params.resolve_classes(&known()).map(|()| params.classes)
        };
        assert_eq!(resolved(&[]).unwrap(), Vec::<String>::new());
        assert_eq!(resolved(&["coat", "0", "bag"]).unwrap(), ["bag", "coat"]);
        // A name comes before a number.
        assert_eq!(resolved(&["7"]).unwrap(), ["7"]);
        assert_eq!(
            resolved(&["0", "1", "2"]).unwrap(),
            Vec::<String>::new(),
            "all is all"
        );
        let said = resolved(&["hat"]).unwrap_err().to_string();
        assert!(said.contains("`hat`") && said.contains("bag, 7, coat"), "{said}");
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let bad = |change: &dyn Fn(&mut Params), word: &str| {
            let mut params = params();
            change(&mut params);
            let said = params.check().unwrap_err().to_string();
            assert!(said.contains(word), "{said}");
        };
        bad(&|p| p.prompt = "the class".into(), "<class>");
        bad(&|p| p.steps = 0, "steps");
        bad(&|p| p.guidance_scale = f64::NAN, "guidance_scale");
        bad(&|p| p.guidance_scale = -2.0, "guidance_scale -2");
        bad(&|p| p.guidance_scale = 0.5, "guidance_scale 0.5");
        bad(
            &|p| (p.guidance_scale, p.negative) = (1.0, "blurry".into()),
            "without guidance",
        );
        bad(&|p| p.per_class = 0, "per_class 0");
        bad(&|p| p.per_class = 1_000_000_000, "per_class 1000000000");
        bad(&|p| p.eta = 0.5, "only ddim");
        bad(&|p| (p.eta, p.scheduler) = (1.5, SchedulerName::Ddim), "eta 1.5");
        for sigma in [0.0, -1.0, f64::INFINITY] {
            bad(&|p| p.synthesis = Some(Synthesis::Noise { sigma }), "sigma");
        }
        for fraction in [0.0, 1.5, f64::NAN] {
            let with = Partner::Random;
            let synthesis = Synthesis::Interpolation { with, fraction };
            bad(&|p| p.synthesis = Some(synthesis.clone()), "fraction");
        }
        params().check().unwrap();
    }

    #[test]
    fn no_class_is_interpolated_with_itself() {
        let resolved = |classes: &[&str], with: Partner| {
            let mut params = params();
            params.classes = classes.iter().map(|c| (*c).to_owned()).collect();
            params.synthesis = Some(Synthesis::Interpolation { with, fraction: 0.5 });
            params.resolve_classes(&known())
        };
        let bag = || Partner::Class("bag".into());
        assert!(resolved(&["coat"], bag()).is_ok());
        let said = resolved(&[], bag()).unwrap_err().to_string();
        assert!(said.contains("itself"), "{said}");
        assert!(resolved(&["bag", "coat"], bag()).is_err());
        assert!(resolved(&["coat"], Partner::Class("hat".into())).is_err());
        assert!(resolved(&[], Partner::Random).is_ok());
    }
}
