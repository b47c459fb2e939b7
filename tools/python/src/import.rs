//! What other programs made, taken in from files that Python has written its arrays to.

use std::path::PathBuf;

use dream_ood::Error;
use dream_ood::stage::classes::ClassRow;
use dream_ood::stage::import::{self, ActivationsOf, Arrays, Question, Rows, ScoresOf, VectorKind};
use pyo3::prelude::*;

use crate::session::Machine;
use crate::store::Store;
use crate::work::work;

/// Takes in a file, and returns the run.
fn take(
    py: Python<'_>,
    (store, machine, listener): (&Store, &Machine, &Py<PyAny>),
    file: &std::path::Path,
    rows: Rows<'_>,
) -> PyResult<String> {
    let library = store.to_write()?;
    let run = work(py, listener, |told| {
        let session = machine.session(&library, told);
        let context = session.context(machine.batch_size());
        Ok::<_, Error>(import::import(&context, &Question { file, rows })?)
    })?;
    Ok(run.id.to_string())
}

/// Class embeddings: `[classes, width]`.
#[pyfunction]
pub fn import_class_embeddings(
    py: Python<'_>,
    store: &Bound<'_, Store>,
    machine: Machine,
    listener: Py<PyAny>,
    file: PathBuf,
    names: Vec<String>,
    words: Vec<String>,
) -> PyResult<String> {
    let row = |(name, word)| ClassRow {
        name,
        word,
        suffix: String::new(),
        folder: None,
    };
    let classes: Vec<ClassRow> = names.into_iter().zip(words).map(row).collect();
    let rows = Rows::ClassEmbeddings {
        classes: &classes,
        member: None,
    };
    take(py, (store.get(), &machine, &listener), &file, rows)
}

/// ID features or outliers: `[classes, rows, width]`, or `[rows, width]` beside `labels`.
#[pyfunction]
pub fn import_vectors(
    py: Python<'_>,
    store: &Bound<'_, Store>,
    machine: Machine,
    listener: Py<PyAny>,
    file: PathBuf,
    embeddings: &str,
    outliers: bool,
) -> PyResult<String> {
    let kind = match outliers {
        true => VectorKind::Outliers,
        false => VectorKind::Features,
    };
    let rows = Rows::Vectors {
        kind,
        embeddings: store.get().resolve(embeddings)?,
        member: None,
    };
    take(py, (store.get(), &machine, &listener), &file, rows)
}

/// Pictures: a folder with one of each class.
#[pyfunction]
pub fn import_images(
    py: Python<'_>,
    store: &Bound<'_, Store>,
    machine: Machine,
    listener: Py<PyAny>,
    folder: PathBuf,
    embeddings: &str,
) -> PyResult<String> {
    let embeddings = store.get().resolve(embeddings)?;
    take(
        py,
        (store.get(), &machine, &listener),
        &folder,
        Rows::Images { embeddings },
    )
}

/// Detection scores.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "Python names them")]
pub fn import_scores(
    py: Python<'_>,
    store: &Bound<'_, Store>,
    machine: Machine,
    listener: Py<PyAny>,
    file: PathBuf,
    dataset: &str,
    split: &str,
    score: &str,
) -> PyResult<String> {
    let of = ScoresOf {
        dataset,
        split,
        score,
        network: None,
        member: None,
    };
    take(py, (store.get(), &machine, &listener), &file, Rows::Scores(of))
}

/// Files of one array each.
#[derive(FromPyObject)]
pub struct Files {
    features: Option<PathBuf>,
    logits: Option<PathBuf>,
    labels: Option<PathBuf>,
    weight: Option<PathBuf>,
    bias: Option<PathBuf>,
}

/// What a classifier showed of images.
#[pyfunction]
pub fn import_activations(
    py: Python<'_>,
    store: &Bound<'_, Store>,
    machine: Machine,
    listener: Py<PyAny>,
    files: Files,
    dataset: &str,
    split: &str,
) -> PyResult<String> {
    let arrays = Arrays {
        features: files.features.as_deref(),
        logits: files.logits.as_deref(),
        labels: files.labels.as_deref(),
        weight: files.weight.as_deref(),
        bias: files.bias.as_deref(),
    };
    let Some((_, file)) = arrays.given().next() else {
        let words = "activations are features, logits or both: give one of them";
        return Err(crate::errors::of_kind(dream_ood::Kind::Refused, words));
    };
    let file = file.to_owned();
    let of = ActivationsOf {
        dataset,
        split,
        arrays: Some(arrays),
        network: None,
    };
    take(
        py,
        (store.get(), &machine, &listener),
        &file,
        Rows::Activations(of),
    )
}
