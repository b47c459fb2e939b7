//! Detection metrics of arrays of scores, which are higher for in-distribution pictures.

use dream_ood::Kind;
use dream_ood::ood::{self, Convention, Interpolation, OodError, Positive, Threshold};
use pyo3::prelude::*;

use crate::arrays::{matrix, numbers};
use crate::columns::Memory;
use crate::errors::{of_kind, raised};

/// Scores of in-distribution and of other pictures, both as exact as they were given.
enum Pair {
    Single(Vec<f32>, Vec<f32>),
    Double(Vec<f64>, Vec<f64>),
}

impl Pair {
    /// Reads two arrays of one type: float32 or float64.
    fn of(id: &Bound<'_, PyAny>, ood: &Bound<'_, PyAny>) -> PyResult<Self> {
        match numbers(id) {
            Ok(id) => Ok(Self::Single(id, numbers(ood)?)),
            Err(_) => Ok(Self::Double(numbers(id)?, numbers(ood)?)),
        }
    }
}

/// Calls a function of the library with the pair as the type that it has, without the interpreter's lock.
macro_rules! of_pair {
    ($py:ident, $pair:expr, |$id:ident, $ood:ident| $value:expr) => {
        match $pair {
            Pair::Single($id, $ood) => $py.detach(|| $value),
            Pair::Double($id, $ood) => $py.detach(|| $value),
        }
        .map_err(raised)
    };
}

fn convention(name: &str) -> PyResult<Convention> {
    let unknown = || {
        let names = Convention::ALL.map(Convention::name).join(", ");
        of_kind(
            Kind::Refused,
            format!("there is no convention `{name}`; there are {names}"),
        )
    };
    Convention::from_name(name).ok_or_else(unknown)
}

#[pyfunction]
pub fn auroc(py: Python<'_>, id: &Bound<'_, PyAny>, ood: &Bound<'_, PyAny>) -> PyResult<f64> {
    of_pair!(py, Pair::of(id, ood)?, |id, ood| ood::auroc(&id, &ood))
}

#[pyfunction]
pub fn roc(py: Python<'_>, id: &Bound<'_, PyAny>, ood: &Bound<'_, PyAny>) -> PyResult<Memory> {
    let points = of_pair!(py, Pair::of(id, ood)?, |id, ood| ood::roc(&id, &ood))?;
    Ok(Memory::of(points.as_flattened()))
}

#[pyfunction]
pub fn fpr_at_tpr(
    py: Python<'_>,
    id: &Bound<'_, PyAny>,
    ood: &Bound<'_, PyAny>,
    tpr: f64,
    convention: &str,
) -> PyResult<f64> {
    let convention = self::convention(convention)?;
    of_pair!(py, Pair::of(id, ood)?, |id, ood| ood::fpr_at_tpr(
        &id, &ood, tpr, convention
    ))
}

#[pyfunction]
pub fn aupr(
    py: Python<'_>,
    id: &Bound<'_, PyAny>,
    ood: &Bound<'_, PyAny>,
    id_is_positive: bool,
    trapezoid: bool,
) -> PyResult<f64> {
    let positive = if id_is_positive {
        Positive::Id
    } else {
        Positive::Ood
    };
    let interpolation = match trapezoid {
        true => Interpolation::Trapezoid,
        false => Interpolation::Step,
    };
    of_pair!(py, Pair::of(id, ood)?, |id, ood| ood::aupr(
        &id,
        &ood,
        positive,
        interpolation
    ))
}

/// Returns FPR95, AUROC, AUPR_IN and AUPR_OUT.
#[pyfunction]
pub fn detection(
    py: Python<'_>,
    id: &Bound<'_, PyAny>,
    ood: &Bound<'_, PyAny>,
    convention: &str,
) -> PyResult<(f64, f64, f64, f64)> {
    let convention = self::convention(convention)?;
    of_pair!(py, Pair::of(id, ood)?, |id, ood| all(&id, &ood, convention))
}

fn all<T: Threshold>(id: &[T], ood: &[T], convention: Convention) -> Result<(f64, f64, f64, f64), OodError> {
    let interpolation = convention.interpolation();
    Ok((
        ood::fpr_at_tpr(id, ood, 0.95, convention)?,
        ood::auroc(id, ood)?,
        ood::aupr(id, ood, Positive::Id, interpolation)?,
        ood::aupr(id, ood, Positive::Ood, interpolation)?,
    ))
}

#[pyfunction]
pub fn detection_error(py: Python<'_>, id: &Bound<'_, PyAny>, ood: &Bound<'_, PyAny>) -> PyResult<f64> {
    of_pair!(py, Pair::of(id, ood)?, |id, ood| ood::detection_error(&id, &ood))
}

#[pyfunction]
pub fn ccr_at_fpr(
    py: Python<'_>,
    id: &Bound<'_, PyAny>,
    right: Vec<bool>,
    ood: &Bound<'_, PyAny>,
    fpr: f64,
) -> PyResult<f64> {
    of_pair!(py, Pair::of(id, ood)?, |id, ood| ood::ccr_at_fpr(
        &id, &right, &ood, fpr
    ))
}

#[pyfunction]
pub fn aurc(py: Python<'_>, id: &Bound<'_, PyAny>, right: Vec<bool>) -> PyResult<f64> {
    of_pair!(py, Pair::of(id, id)?, |id, _ood| ood::aurc(&id, &right))
}

#[pyfunction]
pub fn misclassification_auroc(
    py: Python<'_>,
    id: &Bound<'_, PyAny>,
    right: Vec<bool>,
) -> PyResult<Option<f64>> {
    of_pair!(py, Pair::of(id, id)?, |id, _ood| ood::misclassification_auroc(
        &id, &right
    ))
}

#[pyfunction]
pub fn accuracy(py: Python<'_>, logits: &Bound<'_, PyAny>, labels: &Bound<'_, PyAny>) -> PyResult<f64> {
    let ((logits, classes), labels) = (matrix(logits)?, numbers::<u32>(labels)?);
    py.detach(|| ood::accuracy(&logits, classes, &labels))
        .map_err(raised)
}
