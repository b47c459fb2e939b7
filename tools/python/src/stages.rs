//! Stages of the pipeline: asked, checked, and carried out.

use std::path::PathBuf;
use std::sync::Arc;

use dream_ood::ask::{self, AskError};
use dream_ood::dataset::Reading;
use dream_ood::stage::evaluate::{self, Observations, ScoreSpec, Settings};
use dream_ood::stage::pipeline::{Evaluation, Reach};
use dream_ood::stage::{
    self, Asked, ImageSource, ModelSource, Refusals, Role, Source as _, Stage, StageError, embed, imagine,
    lineage, sample, with_suggestion,
};
use dream_ood::store::{Readable as _, Store as Library};
use dream_ood::{Error, Kind};
use dream_schema::{RunId, RunSpec};
use pyo3::prelude::*;
use serde::de::DeserializeOwned;

use crate::errors::{of_kind, raised};
use crate::session::Machine;
use crate::store::Store;
use crate::work::{Told, work};

/// Reads parameters.
fn params<P: DeserializeOwned>(stage: &str, json: &str) -> PyResult<P> {
    let wrong = |message: &str| {
        let words = format!("{stage}: parameters: {}", with_suggestion(message));
        of_kind(Kind::Refused, words)
    };
    let mut json = serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let (path, message) = (error.path().to_string(), error.inner().to_string());
        match path.as_str() {
            "." => wrong(&message),
            path => wrong(&format!("{path}: {message}")),
        }
    })
}

/// Checks a question, registers what it reads, and returns what is asked.
fn specified<S: Stage>(
    store: &Library,
    ask: impl Fn(Reach) -> Result<Asked<S>, Error>,
) -> Result<RunSpec, Error> {
    let mut refusals = Refusals::of(S::NAME);
    ask(Reach::Glance)?.plan(store, &mut refusals)?;
    refusals.finish()?;
    Ok(ask(Reach::Register)?.spec(store)?)
}

/// Checks a question and carries it out.
fn execute<S: Stage>(
    (store, machine, told): (&Arc<Library>, &Machine, &Arc<Told>),
    ask: impl Fn(Reach) -> Result<Asked<S>, Error>,
) -> Result<RunId, Error> {
    let spec = specified(store, ask)?;
    let session = machine.session(store, told);
    Ok(stage::run(&session.context(machine.batch_size()), &spec)?.0.id)
}

/// Carries out a question, and returns the run.
fn made<S: Stage>(
    py: Python<'_>,
    (library, machine, listener): (&Arc<Library>, &Machine, &Py<PyAny>),
    ask: impl Fn(Reach) -> Result<Asked<S>, Error> + Send,
) -> PyResult<String> {
    let run = work(py, listener, |told| execute((library, machine, told), ask))?;
    Ok(run.to_string())
}

/// Samples vectors around features, by a method whose defaults `base` (of the first method) and its own are,
/// with the parameters in `json` in their place.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "Python names them")]
pub fn sampled(
    py: Python<'_>,
    store: &Bound<'_, Store>,
    machine: Machine,
    listener: Py<PyAny>,
    features: &str,
    seed: u64,
    method: &str,
    base: &str,
    json: &str,
) -> PyResult<String> {
    let (library, features) = (store.get().to_write()?, store.get().resolve(features)?);
    let base: sample::Params = params(sample::NAME, base)?;
    let defaults = base.with_method(method).ok_or_else(|| {
        let names = sample::Method::NAMES.join(", ");
        of_kind(
            Kind::Refused,
            format!("there is no method `{method}`; there are {names}"),
        )
    })?;
    let mut asked = serde_json::json!(defaults);
    let given: serde_json::Map<String, serde_json::Value> = params(sample::NAME, json)?;
    for (key, value) in given {
        asked[defaults.section()][key] = value;
    }
    let params: sample::Params = params(sample::NAME, &asked.to_string())?;
    made(py, (&library, &machine, &listener), |_| {
        Ok(sample::ask(&params, seed, features))
    })
}

/// Returns the diffusion model of that name or path, or the one that a run came from.
fn model(
    store: &Library,
    word: Option<&str>,
    from: Option<RunId>,
    reach: Reach,
) -> Result<ModelSource, Error> {
    if let Some(word) = word {
        return Ok(ask::model(store, word, reach)?.source);
    }
    let own = from
        .map(|run| lineage::source(store, run, &Role::Model))
        .transpose()?
        .flatten();
    own.ok_or_else(|| {
        let missing = "no diffusion model is named, and the vectors came from none that is at hand";
        StageError::Mismatch(missing.to_owned()).into()
    })
}

/// Takes class embeddings from a diffusion model.
#[pyfunction]
pub fn embedded(
    py: Python<'_>,
    store: &Bound<'_, Store>,
    machine: Machine,
    listener: Py<PyAny>,
    word: &str,
    json: &str,
) -> PyResult<String> {
    let library = store.get().to_write()?;
    let params: embed::Params = params(embed::NAME, json)?;
    made(py, (&library, &machine, &listener), |reach| {
        Ok(embed::ask(&params, &model(&library, Some(word), None, reach)?))
    })
}

/// Asks for vectors painted by the model of that word, or by the one that they come from.
fn painted(
    store: &Library,
    (params, seed): (&imagine::Params, u64),
    (vectors, word): (RunId, Option<&str>),
    reach: Reach,
) -> Result<Asked<imagine::Imagine>, Error> {
    let model = model(store, word, Some(vectors), reach)?;
    Ok(imagine::ask(store, params, seed, vectors, &model)?)
}

/// Paints vectors.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "Python names them")]
pub fn imagined(
    py: Python<'_>,
    store: &Bound<'_, Store>,
    machine: Machine,
    listener: Py<PyAny>,
    vectors: &str,
    word: Option<String>,
    seed: u64,
    json: &str,
) -> PyResult<String> {
    let (library, vectors) = (store.get().to_write()?, store.get().resolve(vectors)?);
    let params: imagine::Params = params(imagine::NAME, json)?;
    made(py, (&library, &machine, &listener), |reach| {
        painted(&library, (&params, seed), (vectors, word.as_deref()), reach)
    })
}

/// Checks the question for painted vectors, registers the model, and returns the question as JSON, for
/// [`parts_left`](crate::parts::parts_left) and the others.
#[pyfunction]
#[pyo3(signature = (store, listener, vectors, word, seed, json))]
pub fn imagine_asked(
    py: Python<'_>,
    store: &Bound<'_, Store>,
    listener: Py<PyAny>,
    vectors: &str,
    word: Option<String>,
    seed: u64,
    json: &str,
) -> PyResult<String> {
    let (library, vectors) = (store.get().to_write()?, store.get().resolve(vectors)?);
    let params: imagine::Params = params(imagine::NAME, json)?;
    work(py, &listener, |_| {
        let spec = specified(&library, |reach| {
            painted(&library, (&params, seed), (vectors, word.as_deref()), reach)
        })?;
        Ok(serde_json::json!(spec).to_string())
    })
}

/// Reads scores with hyperparameters that are written as one text, as in `knn:k=50`.
fn read_scores(scores: &mut [ScoreSpec]) -> PyResult<()> {
    for score in scores {
        if let ScoreSpec::Plain(text) = score {
            let wrong = |words| of_kind(Kind::Refused, format!("{}: scores: {words}", evaluate::NAME));
            *score = text.parse().map_err(wrong)?;
        }
    }
    Ok(())
}

/// Which runs an evaluation of activations reads.
#[derive(FromPyObject)]
pub struct Observed {
    id: String,
    ood: Vec<String>,
    train: Option<String>,
    validation: Option<String>,
    ood_validation: Option<String>,
}

/// Evaluates activations.
#[pyfunction]
pub fn evaluate_activations(
    py: Python<'_>,
    store: &Bound<'_, Store>,
    machine: Machine,
    listener: Py<PyAny>,
    observed: Observed,
    json: &str,
) -> PyResult<String> {
    let library = store.get().to_write()?;
    let resolve = |name: &String| store.get().resolve(name);
    let optional =
        |name: &Option<String>| PyResult::Ok(name.as_ref().map(resolve).transpose()?.map(Into::into));
    let mut params: evaluate::Params = params(evaluate::NAME, json)?;
    read_scores(&mut params.scores)?;
    let mut ood = Vec::new();
    for name in &observed.ood {
        let run = resolve(name)?;
        let row = library
            .row::<dream_schema::Activation>(run, 0, 0)
            .map_err(raised)?;
        let none = || of_kind(Kind::Missing, format!("run {run} has no activations"));
        ood.push((row.ok_or_else(none)?.dataset, run.into()));
    }
    let observations = Observations {
        id: resolve(&observed.id)?.into(),
        ood,
        train: optional(&observed.train)?,
        validation: optional(&observed.validation)?,
        ood_validation: optional(&observed.ood_validation)?,
    };
    made(py, (&library, &machine, &listener), |_| {
        Ok(evaluate::ask(&params, &observations))
    })
}

/// Evaluates a classifier of the store on registered sets.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "Python names them")]
pub fn evaluate_classifier(
    py: Python<'_>,
    store: &Bound<'_, Store>,
    machine: Machine,
    listener: Py<PyAny>,
    classifier: &str,
    id: Option<String>,
    ood: Vec<String>,
    json: &str,
) -> PyResult<String> {
    let (library, classifier) = (store.get().to_write()?, store.get().resolve(classifier)?);
    let mut settings: Settings = params(evaluate::NAME, json)?;
    read_scores(&mut settings.scores)?;
    let run = work(py, &listener, |told| {
        let id = match &id {
            Some(name) => ImageSource::named(&library, name)?,
            None => lineage::source(&library, classifier, &Role::Images)?.ok_or_else(|| {
                let missing =
                    "the images that the classifier was trained on are not where they were registered";
                StageError::Mismatch(missing.to_owned())
            })?,
        };
        let ood = ood.iter().map(|name| ImageSource::named(&library, name));
        let ood = ood.collect::<Result<Vec<_>, _>>()?;
        let evaluation = Evaluation {
            settings: &settings,
            id: &id,
            ood: &ood,
            ood_validation: None,
        };
        let mut refusals = Refusals::of(evaluate::NAME);
        evaluation.check(&library, classifier.into(), &mut refusals)?;
        refusals.finish()?;
        let session = machine.session(&library, told);
        let context = session.context(machine.batch_size());
        Ok(evaluation
            .run(&context, classifier.into(), &mut |_, _, _| Ok(()))?
            .id)
    })?;
    Ok(run.to_string())
}

/// Registers the image set at a path under a name; it stays where it is. Returns the entry as JSON.
#[pyfunction]
pub fn register(
    py: Python<'_>,
    store: &Bound<'_, Store>,
    listener: Py<PyAny>,
    name: &str,
    path: PathBuf,
    skip_bad: bool,
) -> PyResult<String> {
    let library = store.get().to_write()?;
    let path = path.canonicalize().map_err(|source| {
        raised(AskError::Path {
            path: path.clone(),
            source,
        })
    })?;
    work(py, &listener, |told| {
        let reading = Reading {
            skip_bad,
            stop: told.stop(),
            ..Reading::default()
        };
        let source = stage::register_images(&library, name, &path, &reading)?;
        Ok::<_, Error>(serde_json::json!(source.entry()).to_string())
    })
}
