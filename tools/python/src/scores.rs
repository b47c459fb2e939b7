//! Detection scores of arrays.

use std::sync::Arc;

use dream_ood::Kind;
use dream_ood::ood::Observed;
use dream_ood::ood::score::{self, Card, Reference, ScoreError};
use pyo3::prelude::*;

use crate::arrays::{Matrix, matrix, numbers};
use crate::columns::Memory;
use crate::errors::of_kind;
use crate::process;

/// What a classifier showed of pictures: arrays, each of them optional.
#[derive(FromPyObject)]
pub struct Shown<'py> {
    logits: Option<Bound<'py, PyAny>>,
    features: Option<Bound<'py, PyAny>>,
    labels: Option<Bound<'py, PyAny>>,
    weight: Option<Bound<'py, PyAny>>,
    bias: Option<Bound<'py, PyAny>>,
}

/// The same, as numbers.
struct Set {
    logits: Option<Matrix>,
    features: Option<Matrix>,
    labels: Option<Vec<u32>>,
    head: Option<(Vec<f32>, Vec<f32>)>,
}

impl Shown<'_> {
    fn read(&self) -> PyResult<Set> {
        let head = match (&self.weight, &self.bias) {
            (Some(weight), Some(bias)) => Some((matrix(weight)?.0, numbers(bias)?)),
            (None, None) => None,
            _ => {
                return Err(of_kind(
                    Kind::Refused,
                    "the last layer has a weight and a bias: give both",
                ));
            }
        };
        Ok(Set {
            logits: self.logits.as_ref().map(matrix).transpose()?,
            features: self.features.as_ref().map(matrix).transpose()?,
            labels: self.labels.as_ref().map(numbers).transpose()?,
            head,
        })
    }
}

impl Set {
    fn view(&self) -> Result<Observed<'_>, ScoreError> {
        let mut view = match (&self.logits, &self.features) {
            (Some((logits, classes)), None) => Observed::of_logits(logits, *classes)?,
            (Some((logits, classes)), Some((features, width))) => {
                Observed::of_logits(logits, *classes)?.with_features(features, *width)?
            }
            (None, Some((features, width))) => Observed::of_features(features, *width)?,
            (None, None) => {
                return Err(ScoreError::Missing {
                    what: "logits or features",
                });
            }
        };
        if let Some(labels) = &self.labels {
            view = view.with_labels(labels)?;
        }
        if let Some((weight, bias)) = &self.head {
            view = view.with_head(weight, bias)?;
        }
        Ok(view)
    }
}

/// A score that has learnt what it must.
#[pyclass(frozen, module = "dream_ood._native")]
pub struct Fitted {
    name: &'static str,
    fitted: Arc<dyn score::Fitted>,
}

#[pymethods]
impl Fitted {
    /// Returns the score of each picture.
    fn score(&self, py: Python<'_>, shown: Shown<'_>) -> PyResult<Memory> {
        let (set, pool) = (shown.read()?, process::pool()?);
        let scores = py.detach(|| pool.install(|| self.fitted.score(&set.view()?)));
        Ok(Memory::of(&scores.map_err(|error| refused(self.name, &error))?))
    }
}

/// Lets a score learn from training pictures and from others held out.
#[pyfunction]
#[pyo3(signature = (name, values, train, validation))]
pub fn fit(
    py: Python<'_>,
    name: &str,
    values: Vec<(String, f64)>,
    train: Option<Shown<'_>>,
    validation: Option<Shown<'_>>,
) -> PyResult<Fitted> {
    let score = score::by_name(name).ok_or_else(|| unknown(name))?;
    let name = score.card().name;
    let given: Vec<(&str, f64)> = values
        .iter()
        .map(|(name, value)| (name.as_str(), *value))
        .collect();
    let values = score.values(&given).map_err(|error| refused(name, &error))?;
    let train = train.map(|train| train.read()).transpose()?;
    let validation = validation.map(|validation| validation.read()).transpose()?;
    let pool = process::pool()?;
    let fitted = py.detach(|| {
        let reference = Reference {
            train: train.as_ref().map(Set::view).transpose()?,
            validation: validation.as_ref().map(Set::view).transpose()?,
        };
        pool.install(|| score.fit(&values, &reference))
    });
    let fitted = fitted.map_err(|error| refused(name, &error))?;
    Ok(Fitted {
        name,
        fitted: fitted.into(),
    })
}

/// What there is to know of a score.
#[derive(IntoPyObject)]
pub struct About {
    name: &'static str,
    title: &'static str,
    venue: &'static str,
    url: &'static str,
    formula: &'static str,
    needs: Vec<&'static str>,
    /// Name, what it does, what values it may have, and the one that it has.
    hyperparameters: Vec<(&'static str, &'static str, String, f64)>,
}

/// Returns what there is to know of the scores of arrays.
#[pyfunction]
pub fn cards() -> Vec<About> {
    score::SCORES.iter().map(|score| about(score.card())).collect()
}

fn about(card: &'static Card) -> About {
    let needs = [
        ("logits", card.needs.logits),
        ("features", card.needs.features),
        ("head", card.needs.head),
        ("train", card.needs.train),
        ("validation", card.needs.validation),
        ("labels", card.needs.labels),
    ];
    About {
        name: card.name,
        title: card.paper.title,
        venue: card.paper.venue,
        url: card.paper.url,
        formula: card.formula,
        needs: needs
            .into_iter()
            .filter(|(_, needed)| *needed)
            .map(|(name, _)| name)
            .collect(),
        hyperparameters: (card.hyperparameters.iter())
            .map(|h| (h.name, h.about, h.range.to_string(), h.default))
            .collect(),
    }
}

fn unknown(name: &str) -> PyErr {
    let why = match score::find(name) {
        Some(_) => format!("the score `{name}` runs the network itself: `evaluate` of a store takes it"),
        None => match score::near(name).first() {
            Some(near) => format!("there is no score `{name}`; did you mean `{near}`?"),
            None => format!("there is no score `{name}`; `names()` lists them"),
        },
    };
    of_kind(Kind::Missing, why)
}

fn refused(name: &str, error: &ScoreError) -> PyErr {
    of_kind(Kind::Refused, format!("{name}: {error}"))
}
