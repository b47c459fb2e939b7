//! Other ways to pictures than sampled outliers.

use serde::{Deserialize, Serialize};

use super::wrong;
use crate::stage::StageError;

/// What stands in for sampled outliers: what DREAM-OOD compares them with. All start from the class
/// embeddings.
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
    /// The prompt of the class, and sigma * e added to the text encoder's output, e ~ N(0, I) for each of its
    /// tokens: the public code's `--gaussian_scale`.
    EncoderNoise {
        /// Standard deviation of every component.
        sigma: f64,
    },
    /// Prompts of words that belong to none of the classes. A picture is stored with the class in whose place
    /// it stands, and its own prompt; the words take turns over pictures and classes.
    Disjoint {
        /// The words; of one token or several.
        words: Vec<String>,
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

impl Synthesis {
    pub(super) fn check(&self) -> Result<(), StageError> {
        match self {
            Self::Noise { sigma } | Self::EncoderNoise { sigma } if !(*sigma > 0.0 && *sigma <= 1000.0) => {
                Err(wrong(format!(
                    "noise {sigma}: sigma must be above 0 and at most 1000"
                )))
            }
            Self::Interpolation { fraction, .. } if !(*fraction > 0.0 && *fraction <= 1.0) => Err(wrong(
                format!("fraction {fraction}: it must be above 0 and at most 1"),
            )),
            Self::Disjoint { words } => check_words(words),
            Self::Noise { .. } | Self::Interpolation { .. } | Self::EncoderNoise { .. } => Ok(()),
        }
    }
}

fn check_words(words: &[String]) -> Result<(), StageError> {
    if words.is_empty() {
        return Err(wrong("disjoint prompts need a word at least"));
    }
    if words.iter().any(|word| word.trim().is_empty()) {
        return Err(wrong("one of the words of disjoint prompts is empty"));
    }
    let twice = words
        .iter()
        .enumerate()
        .find(|(at, word)| words[..*at].contains(word));
    match twice {
        Some((_, word)) => Err(wrong(format!(
            "the word `{word}` stands twice among those of disjoint prompts"
        ))),
        None => Ok(()),
    }
}
