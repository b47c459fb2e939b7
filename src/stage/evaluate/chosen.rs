//! Which scores are taken, by name and with values of their hyperparameters.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ood::score::{self, Card, Entry, Needs, Values};
use crate::stage::Refusals;
use crate::stage::detect::OwnScore;

/// The score phi(E(x)) of a classifier that was trained with outliers (DREAM-OOD, Eq. 8).
pub const DREAM: &str = OwnScore::Dream.name();

/// The word for every score of [`all`].
pub const ALL: &str = "all";

/// A score, and the values of its hyperparameters that are not the defaults. A preset may say the latter as
/// tables and command lines do, `knn:k=10`, too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, try_from = "Written")]
pub enum ScoreSpec {
    /// With its defaults.
    Plain(String),
    /// With other values.
    Tuned(Tuned),
}

/// A score as a preset has it.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a score, as \"knn\", \"knn:k=10\" or { name = \"knn\", values = { k = 10 } }"
)]
enum Written {
    Text(String),
    Tuned(Tuned),
}

impl TryFrom<Written> for ScoreSpec {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Text(text) => text.parse(),
            Written::Tuned(tuned) => Ok(Self::Tuned(tuned)),
        }
    }
}

/// A score with values of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuned {
    /// The score's name.
    pub name: String,
    /// Its hyperparameters by name.
    pub values: BTreeMap<String, f64>,
}

impl ScoreSpec {
    /// The score's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Plain(name) => name,
            Self::Tuned(tuned) => &tuned.name,
        }
    }

    fn values(&self) -> Vec<(&str, f64)> {
        match self {
            Self::Plain(_) => Vec::new(),
            Self::Tuned(tuned) => {
                (tuned.values.iter().map(|(name, value)| (name.as_str(), *value))).collect()
            }
        }
    }
}

/// What rows and tables call it: `knn`, or with values `knn:k=10`.
impl fmt::Display for ScoreSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        self.values()
            .iter()
            .try_for_each(|(name, value)| write!(f, ":{name}={value}"))
    }
}

/// Reads what [`Display`](fmt::Display) writes.
impl FromStr for ScoreSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default().trim().to_owned();
        let mut values = BTreeMap::new();
        for part in parts {
            let number = |(name, value): (&str, &str)| Some((name.to_owned(), value.trim().parse().ok()?));
            let (name, value) = part
                .split_once('=')
                .and_then(number)
                .ok_or_else(|| format!("`{part}` in `{text}`: expected NAME:HYPERPARAMETER=NUMBER"))?;
            if let Some(first) = values.insert(name.clone(), value) {
                return Err(format!("`{text}`: {name} is given twice, as {first} and {value}"));
            }
        }
        Ok(match values.is_empty() {
            true => Self::Plain(name),
            false => Self::Tuned(Tuned { name, values }),
        })
    }
}

/// What of the things that scores need is there.
#[derive(Clone, Copy, Debug)]
pub struct There {
    /// Training images.
    pub train: bool,
    /// ID images held out of training.
    pub validation: bool,
    /// The network, and not its activations alone.
    pub network: bool,
    /// Logits of all images.
    pub logits: bool,
    /// Features of all images.
    pub features: bool,
    /// The last layer.
    pub head: bool,
    /// Classes of all training images.
    pub labels: bool,
}

impl There {
    /// What there is of a classifier of ours, with ID images held out of training or without.
    pub fn of_classifier(validation: bool) -> Self {
        Self {
            train: true,
            validation,
            network: true,
            logits: true,
            features: true,
            head: true,
            labels: true,
        }
    }
}

/// Returns every score that needs nothing beyond what is there, and the names of the others.
pub fn all(there: There) -> (Vec<ScoreSpec>, Vec<&'static str>) {
    let possible = |needs: Needs| {
        (there.train || !needs.train)
            && (there.validation || !needs.validation)
            && (there.network || !needs.network)
            && (there.logits || !needs.logits)
            && (there.features || !needs.features)
            && (there.head || !needs.head)
            && (there.labels || !needs.labels)
    };
    let cards = score::all().map(Entry::card);
    let (taken, left): (Vec<&Card>, Vec<&Card>) = cards.partition(|card| possible(card.needs));
    let names = taken.iter().map(|card| card.name).chain(own_names());
    let specs = names.map(|name| ScoreSpec::Plain(name.to_owned())).collect();
    (specs, left.iter().map(|card| card.name).collect())
}

/// The names of the scores that come with a method of training.
fn own_names() -> impl Iterator<Item = &'static str> {
    OwnScore::ALL.iter().map(|own| own.name())
}

/// A score that is there.
pub(super) struct Chosen {
    /// Its name in rows.
    pub label: String,
    pub way: Way,
}

/// How a score is computed.
pub(super) enum Way {
    /// As the method of training says.
    Own(OwnScore),
    /// By a score of the registry.
    Of(Entry, Values),
    /// By another program: it is imported.
    Given,
}

impl Chosen {
    /// Returns what a specification means.
    ///
    /// # Errors
    /// In words: no such score, or values that it cannot have.
    pub fn of(spec: &ScoreSpec) -> Result<Self, String> {
        let (label, name) = (spec.to_string(), spec.name());
        if let Some(own) = OwnScore::from_name(name) {
            return match spec.values().is_empty() {
                true => Ok(Self {
                    label,
                    way: Way::Own(own),
                }),
                false => Err(format!("`{name}` has no hyperparameters")),
            };
        }
        let score = score::find(name).ok_or_else(|| format!("there is no score `{name}`"))?;
        let values = score
            .values(&spec.values())
            .map_err(|error| format!("{label}: {error}"))?;
        Ok(Self {
            label,
            way: Way::Of(score, values),
        })
    }

    /// Says whether it was asked for without values.
    pub fn is_plain(&self) -> bool {
        !self.label.contains(':')
    }

    /// What it reads.
    pub fn needs(&self) -> Needs {
        match &self.way {
            Way::Own(own) => own.card().needs,
            Way::Of(score, _) => score.card().needs,
            Way::Given => Needs::default(),
        }
    }
}

/// Returns the scores that are meant, refusing those that there are not and those that are named twice.
pub(super) fn check(specs: &[ScoreSpec], refusals: &mut Refusals) -> Vec<Chosen> {
    let mut chosen: Vec<Chosen> = Vec::new();
    refusals.require(!specs.is_empty(), "scores", "none", "one at least");
    for spec in specs {
        match Chosen::of(spec) {
            Ok(score) if chosen.iter().any(|known| known.label == score.label) => {
                refusals.refuse("scores", format!("`{}` is named twice", score.label));
            }
            Ok(score) => chosen.push(score),
            Err(_) if own_names().all(|own| own != spec.name()) && score::find(spec.name()).is_none() => {
                let known = score::all().map(|score| score.card().name).chain(own_names());
                refusals.require_name("scores", "score", spec.name(), known);
            }
            Err(what) => refusals.refuse("scores", what),
        }
    }
    chosen
}
