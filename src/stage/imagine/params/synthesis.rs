//! Vectors made from the class embeddings alone.

use serde::{Deserialize, Serialize};

use super::wrong;
use crate::stage::StageError;

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

impl Synthesis {
    pub(super) fn check(&self) -> Result<(), StageError> {
        match self {
            Self::Noise { sigma } if !(*sigma > 0.0 && *sigma <= 1000.0) => Err(wrong(format!(
                "noise {sigma}: sigma must be above 0 and at most 1000"
            ))),
            Self::Interpolation { fraction, .. } if !(*fraction > 0.0 && *fraction <= 1.0) => Err(wrong(
                format!("fraction {fraction}: it must be above 0 and at most 1"),
            )),
            Self::Noise { .. } | Self::Interpolation { .. } => Ok(()),
        }
    }
}
